"""A study read back from a store: every run counts, whatever came of it, and once."""

import importlib
import itertools
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import adapterlab
from adapterlab.base.errors import AdapterLabError
from adapterlab.reporting.reading.stored import OWN_ERRORS
from adapterlab.reporting.reading.study import (
    Arm,
    Replicate,
    Run,
    Status,
    arms_of,
    read_runs,
    same_examples,
)
from adapterlab.tracking.client import connect

COUNTER = itertools.count(1)
EXPERIMENT = "studies"

DIVERGED = "TrainingDivergedError: val/loss is nan in epoch 1; try a lower optimizer.lr than 1e+06"


@pytest.fixture(scope="module")
def client(lab_root: Path) -> MlflowClient:
    return connect(None, lab_root / "mlruns")


def store(client: MlflowClient, study: str, status: str = "FINISHED", **values: Any) -> str:
    """Put a run into the store as it is left there; `tags` None: killed before it had any."""
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    tags = {"study": study}
    if values.get("tagged", True):
        seed = str(values.get("seed", 0))
        tags |= {"kind": "run", "arm": values.get("arm", "a"), "strategy": "lora", "seed": seed}
        tags |= {"config_hash": values.get("config", f"{tags['arm']}{seed}"), "dataset": "digits"}
    if "told" in values:
        tags["arm_options"] = values["told"]
    if "error" in values:
        tags["error"] = values["error"]
    run_id = client.create_run(experiment, start_time=next(COUNTER), tags=tags).info.run_id
    for key, value in values.get("params", {}).items():
        client.log_param(run_id, key, value)
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    return str(run_id)


def read(client: MlflowClient, study: str) -> dict[str, Run]:
    return {run.run_id: run for run in read_runs(client, study, EXPERIMENT)}


OUTCOMES = {
    ("FINISHED", None): (Status.FINISHED, ""),
    ("KILLED", None): (Status.KILLED, "interrupted"),
    ("RUNNING", None): (
        Status.RUNNING,
        "unless its process has died: it has not said which that is",
    ),
    ("FAILED", None): (Status.FAILED, "it failed and left no reason"),
    ("FAILED", "RuntimeError: no memory: 3 GiB"): (Status.FAILED, "RuntimeError: no memory: 3 GiB"),
    ("FAILED", "DataError: digits is gone"): (Status.FAILED, "digits is gone"),
    ("FAILED", "RunLostError: the process that trained it ended with code -9"): (
        Status.FAILED,
        "the process that trained it ended with code -9",
    ),
    ("FAILED", DIVERGED): (Status.DIVERGED, DIVERGED.partition(": ")[2]),
    ("FAILED", "KeyError: "): (Status.FAILED, "KeyError: "),
}


def test_what_came_of_a_run_and_why(client: MlflowClient) -> None:
    expected = {}
    for seed, ((status, error), outcome) in enumerate(OUTCOMES.items()):
        more = {} if error is None else {"error": error}
        expected[store(client, "outcomes", status, seed=seed, **more)] = outcome
    found = read(client, "outcomes")
    assert {key: (run.status, run.reason) for key, run in found.items()} == expected
    (arm,) = arms_of(list(found.values()))
    assert (len(arm.runs), len(arm.lost), arm.tried) == (1, 8, 9)
    counted = {status: arm.count(status) for status in Status}
    assert counted == {
        Status.FINISHED: 1, Status.FAILED: 5, Status.DIVERGED: 1, Status.KILLED: 1,
        Status.PRUNED: 0, Status.RUNNING: 1,
    }  # fmt: skip


def test_errors_of_our_own_are_known_by_name() -> None:
    for module in pkgutil.walk_packages(adapterlab.__path__, "adapterlab."):
        importlib.import_module(module.name)

    def names(kind: type[Exception]) -> set[str]:
        # Scripts that another test has loaded have errors of their own.
        own = {kind.__name__} if kind.__module__.startswith("adapterlab.") else set()
        return own.union(*(names(below) for below in kind.__subclasses__()))

    ours = {name for name in names(AdapterLabError) if not name.startswith("_")}
    assert ours == set(OWN_ERRORS)


def test_a_configuration_counts_once(client: MlflowClient) -> None:
    store(client, "once", config="repeated")
    latest = store(client, "once", config="repeated")
    done = store(client, "once", config="then failed", seed=1)
    store(client, "once", "FAILED", config="then failed", seed=1)
    store(client, "once", "FAILED", config="never", seed=2)
    attempt = store(client, "once", "KILLED", config="never", seed=2)
    store(client, "twice", config="of another study")
    runs = read(client, "once")
    assert set(runs) == {latest, done, attempt}
    (arm,) = arms_of(list(runs.values()))
    assert [run.run_id for run in arm.runs] == [latest, done]
    assert [run.run_id for run in arm.lost] == [attempt]


def test_a_repeated_run_leaves_the_names_as_they_are(client: MlflowClient) -> None:
    store(client, "again", arm="a", told="none", params={"epochs": 1})
    store(client, "again", arm="b", told="none", params={"epochs": 2})
    before = {arm.first.arm: arm.name for arm in arms_of(list(read(client, "again").values()))}
    assert before == {"a": "lora", "b": "lora epochs=2"}
    store(client, "again", arm="a", told="epochs=1", params={"epochs": 1})
    after = {arm.first.arm: arm.name for arm in arms_of(list(read(client, "again").values()))}
    assert after == before


def test_a_run_that_was_never_described_is_left_out(
    client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    known = store(client, "strange")
    store(client, "strange", "KILLED", tagged=False)
    with caplog.at_level("WARNING", "adapterlab"):
        assert set(read(client, "strange")) == {known}
    store(client, "strangers", "KILLED", tagged=False)
    with pytest.raises(AdapterLabError, match="study=strangers: no runs in experiment studies; "):
        read(client, "strangers")


def test_a_study_of_which_nothing_has_finished_is_read(client: MlflowClient) -> None:
    store(client, "lost", "FAILED", arm="a", error=DIVERGED)
    store(client, "lost", "KILLED", arm="b", seed=3, params={"init_seed": 3, "order_seed": 4})
    arms = {arm.first.arm: arm for arm in arms_of(list(read(client, "lost").values()))}
    assert arms["a"].runs == arms["b"].runs == ()
    assert arms["a"].first.status is Status.DIVERGED
    assert arms["a"].missing == (Replicate(3, 4),)
    assert arms["b"].missing == (Replicate(0, 0),)
    assert arms["b"].lost[0].replicate == Replicate(3, 4)


def test_replicates_are_what_draws_come_from(client: MlflowClient) -> None:
    for init, order, cut in ((1, 0, 0), (0, 0, 0), (0, 0, 7), (0, 1, 0)):
        params = {"init_seed": init, "order_seed": order, "dataset.validation_seed": cut}
        store(client, "replicates", config=f"{init}{order}{cut}", params=params)
    (arm,) = arms_of(list(read(client, "replicates").values()))
    assert [str(replicate) for replicate in arm.replicates] == [
        "seed 0",
        "seed 0, cut 7",
        "init 0, order 1",
        "init 1, order 0",
    ]
    assert [run.seed for run in arm.runs] == [0, 0, 0, 0]


def a_run(arm: str = "a", **values: Any) -> Run:
    tags = {"strategy": "lora", "dataset": "digits"} | values.pop("tags", {})
    return Run(str(next(COUNTER)), arm, tags, values.pop("params", {"p": "1"}),
               values.pop("metrics", {}), **values)  # fmt: skip


def test_of_two_runs_of_one_replicate_the_later_counts() -> None:
    early, late = a_run(started=1), a_run(started=2)
    lost = a_run(started=3, status=Status.FAILED)
    for runs in itertools.permutations((early, late, lost)):
        (arm,) = arms_of(runs)
        assert (arm.runs, arm.lost) == ((late,), ())


def test_what_is_missing_is_missing_on_the_same_data_set() -> None:
    def seeds(arm: str, count: int, dataset: str = "digits") -> list[Run]:
        tags = {"dataset": dataset}
        return [a_run(arm, tags=tags, replicate=Replicate(n, n)) for n in range(count)]

    tried = replace(a_run("b"), replicate=Replicate(1, 1), status=Status.DIVERGED)
    runs = [*seeds("a", 3), *seeds("b", 1), tried, *seeds("c", 5, "mnist")]
    missing = {arm.first.arm: arm.missing for arm in arms_of(runs)}
    assert missing == {"a": (), "b": (Replicate(2, 2),), "c": ()}


def test_an_arm_is_told_by_a_run_that_had_time_to_log_itself() -> None:
    early = replace(a_run(params={}), replicate=Replicate(0, 0), status=Status.KILLED)
    later = replace(a_run(params={"epochs": "3"}), replicate=Replicate(1, 1), status=Status.FAILED)
    (arm,) = arms_of([early, later])
    assert arm.first is later
    assert Arm("one", (), (early,)).first is early


def hashed(test_hash: str, size: int | None = None, **tags: str) -> Run:
    metrics = {} if size is None else {"data/test_examples": float(size)}
    return a_run(tags={"test_hash": test_hash, **tags}, metrics=metrics)


def older(dataset: str = "digits", **params: str) -> Run:
    params = {key.replace("__", "."): value for key, value in params.items()}
    return a_run(tags={"dataset": dataset}, params={"p": "1"} | params)


DIFFERENT = [
    (hashed("one"), hashed("one"), ""),
    (hashed("one", 50), hashed("two", 360), "other test examples: 50 and 360"),
    (hashed("one", 50), hashed("two", 50), "other test examples, 50 each"),
    (hashed("one", 50), hashed("two"), "other test examples"),
    (hashed("one"), hashed("one", dataset="mnist"), "another data set: digits, mnist"),
    (older(), older("mnist"), "another data set: digits, mnist"),
    (older(), older(), ""),
    (older(), hashed("one"), ""),
    (older(limit="96"), older(limit="96"), ""),
    (older(limit="96"), older(limit__test="96", limit__train="5"), ""),
    (older(limit="96"), older(limit="None"), "other test examples: limit.test 96 and None"),
    (older(limit__train="96"), older(limit="None"), ""),
    (
        older(dataset__loader__rotation="90"),
        older(dataset__loader__rotation="180"),
        "other test examples: dataset.loader.rotation 90 and 180",
    ),
    (older(limit="96"), a_run(params={}), ""),
]


@pytest.mark.parametrize(("one", "other", "why"), DIFFERENT)
def test_what_was_tested_on_other_examples_says_why(one: Run, other: Run, why: str) -> None:
    assert same_examples(one, other) == why
    assert bool(same_examples(other, one)) == bool(why)
