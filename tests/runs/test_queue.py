"""Runs that wait for a lane: each as it is alone, whoever was stopped to make room for it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import TrialPrunedError
from adapterlab.config.bookkeeping import TrialPruner
from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs import queue
from adapterlab.runs.packs.lanes import Outcome
from adapterlab.runs.packs.queue import run_queue
from adapterlab.runs.trial_pruner import journals
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.tracking.tuning_tags import PRUNED_BEST, PRUNED_EPOCH
from lab import tiny
from reviews import small, write_reviews

pytestmark = pytest.mark.usefixtures("no_pictures")

HALVING = TrialPruner(rule="successive_halving", among="arm", options={"reduction_factor": 2})
FIXED = ("tracking=mlflow", "hardware.precision=64-true", "epochs=4", "limit=96")
EACH = (
    "optimizer.lr=1e-5 adapter=lora adapter.rank=2",
    "optimizer.lr=3e-2 adapter=lora adapter.rank=3",
    "optimizer.lr=1e-4 adapter=full",
    "optimizer.lr=1e-2 adapter=lora adapter.rank=1 order_seed=3",
    "optimizer.lr=3e-3 adapter=dora adapter.rank=2 optimizer.schedule=cosine",
    "optimizer.lr=2e-2 adapter=full",
)


def trials(
    root: Path, study: str, *each: str, pruner: TrialPruner | None = HALVING
) -> list[Config]:
    configs = [tiny(root, *FIXED, f"study={study}", *one.split()) for one in each or EACH]
    return [replace(config, trial_pruner=pruner) for config in configs]


def logged(root: Path, study: str) -> dict[str, Any]:
    """Return the runs of a study by their rates."""
    client = MlflowClient(default_uri(root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    found = client.search_runs([experiment], f"tags.study = '{study}' and tags.kind = 'run'")
    return {run.data.params["optimizer.lr"]: run for run in found}


def pruned(outcomes: Sequence[Outcome]) -> dict[int, int]:
    return {n: one.epoch for n, one in enumerate(outcomes) if isinstance(one, TrialPrunedError)}


def require_as_alone(outcome: Outcome, config: Config) -> None:
    """Compare with the same run, alone and to its end."""
    assert isinstance(outcome, RunResult), outcome
    alone = single.run(replace(config, study=f"{config.study}-alone", trial_pruner=None,
                               tracking=replace(config.tracking, enabled=False)))  # fmt: skip
    assert outcome.history.keys() == alone.history.keys()
    for epoch, metrics in alone.history.items():
        assert outcome.history[epoch] == pytest.approx(metrics, rel=1e-12, abs=1e-12)
    for name, value in alone.metrics.items():
        if not name.startswith("cost/"):
            assert outcome.metrics[name] == pytest.approx(value, rel=1e-10, abs=1e-10), name


def test_what_is_not_stopped_is_as_alone_and_what_is_says_so(lab_root: Path) -> None:
    configs = trials(lab_root, "queued")
    moved: list[float] = []
    outcomes = run_queue(configs, 2, on_step=moved.append)
    stopped = pruned(outcomes)
    assert stopped
    assert set(stopped.values()) <= {1, 2}
    going_on = set(range(len(configs))) - set(stopped)
    assert len(going_on) >= 2
    for number in going_on:
        require_as_alone(outcomes[number], configs[number])
    assert sum(moved) <= len(configs)
    runs = logged(lab_root, "queued")
    assert len(runs) == len(configs)
    for number, config in enumerate(configs):
        run = runs[str(config.optimizer.lr)]
        if number in stopped:
            assert run.info.status == "KILLED"
            epoch = stopped[number]
            said = f"successive_halving after epoch {epoch} of 4"
            assert run.data.tags["trial.pruned"] == said
            assert run.data.metrics[PRUNED_EPOCH] == epoch
            accuracies = MlflowClient(default_uri(lab_root / "mlruns")).get_metric_history(
                run.info.run_id, "val/accuracy"
            )
            assert [one.step for one in accuracies] == list(range(1, epoch + 1))
            assert run.data.metrics[PRUNED_BEST] == max(one.value for one in accuracies)
            assert "error" not in run.data.tags
            assert not any(name.startswith("test/") for name in run.data.metrics)
        else:
            assert run.info.status == "FINISHED"
            assert "trial.pruned" not in run.data.tags
            assert "others began and ended" in run.data.tags["missing.cost/pack_seconds"]


def test_more_lanes_and_one_lane_give_the_same_runs(lab_root: Path) -> None:
    """Who is stopped hangs on who was there before; what a run measures does not."""
    results: dict[int, list[RunResult]] = {}
    for lanes in (1, 3, 6):
        outcomes = run_queue(trials(lab_root, f"lanes-{lanes}"), lanes)
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, RunResult):
                results.setdefault(number, []).append(outcome)
    assert any(len(several) > 1 for several in results.values())
    for several in results.values():
        for one in several[1:]:
            assert one.metrics["test/nll"] == pytest.approx(
                several[0].metrics["test/nll"], rel=1e-10
            )


def test_a_queue_that_is_killed_goes_on_to_the_same_decisions(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_queue(trials(lab_root, "not-killed"), 2)
    steps = 0

    def step(runs: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 9:
            raise KeyboardInterrupt

    configs = trials(lab_root, "killed")
    with pytest.raises(KeyboardInterrupt):
        run_queue(configs, 2, on_step=step)
    assert "RUNNING" not in {run.info.status for run in logged(lab_root, "killed").values()}
    again = [replace(config, resume=True) for config in configs]
    outcomes = run_queue(again, 2)
    assert pruned(outcomes) == pruned(whole)
    for one, other in zip(outcomes, whole, strict=True):
        if isinstance(one, RunResult) and isinstance(other, RunResult):
            assert one.metrics["test/nll"] == pytest.approx(other.metrics["test/nll"], rel=1e-10)
    runs = logged(lab_root, "killed")
    assert len(runs) == len(configs)  # none has two
    assert sum("trial.pruned" in run.data.tags for run in runs.values()) == len(pruned(whole))


def test_without_the_pruner_what_was_stopped_is_trained_on(lab_root: Path) -> None:
    configs = trials(lab_root, "trained-on")
    stopped = pruned(run_queue(configs, 2))
    assert stopped
    on = [replace(config, resume=True, trial_pruner=None) for config in configs]
    for number in stopped:
        require_as_alone(single.run(on[number]), configs[number])
    runs = logged(lab_root, "trained-on")
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert not any("trial.pruned" in run.data.tags for run in runs.values())
    # And with it, they count as what they are by now.
    again = run_queue([replace(config, resume=True) for config in configs], 2)
    assert not pruned(again)


def test_one_that_was_killed_before_it_was_marked_is_marked(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = trials(lab_root, "unmarked")

    class PowerCutError(BaseException):
        pass

    def cut(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(queue.Lanes, "close", cut)
        patch.setattr(queue.Lanes, "__exit__", lambda *_: False)
        with pytest.raises(PowerCutError):
            run_queue(configs, 3)
    whole = run_queue([replace(config, resume=True) for config in configs], 3)
    runs = logged(lab_root, "unmarked")
    for number in pruned(whole):
        run = runs[str(configs[number].optimizer.lr)]
        assert run.info.status == "KILLED"
        assert "trial.pruned" in run.data.tags


def test_a_run_alone_is_stopped_at_the_end_of_an_epoch(lab_root: Path) -> None:
    """By its rivals of a pack, which it meets in the journal."""
    rate = "optimizer.lr=1e-6 adapter=lora adapter.rank=2"
    configs = trials(lab_root, "alone", *EACH, rate)
    run_queue(configs[:-1], 3)
    with pytest.raises(TrialPrunedError, match="pruned by successive_halving after epoch 1 of 4"):
        single.run(configs[-1])
    run = logged(lab_root, "alone")["1e-06"]
    assert (run.info.status, run.data.metrics[PRUNED_EPOCH]) == ("KILLED", 1)
    with pytest.raises(TrialPrunedError, match="after epoch 1 of 4"):
        single.run(replace(configs[-1], resume=True))
    (journal,) = journals(lab_root / "mlruns", "alone").glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert sum(bool(line.get("pruned")) for line in lines) >= 1
    on = replace(configs[-1], resume=True, trial_pruner=None)
    require_as_alone(single.run(on), configs[-1])


def test_a_run_that_fails_makes_room_and_is_no_rival(lab_root: Path) -> None:
    configs = trials(
        lab_root, "failing", "optimizer.lr=1e300 optimizer=sgd adapter=full",
        *(f"optimizer.lr={lr} optimizer=sgd adapter=full" for lr in (0.1, 0.05, 0.02)),
    )  # fmt: skip
    failed, *others = run_queue(configs, 1)
    assert isinstance(failed, Exception)
    assert not isinstance(failed, TrialPrunedError)
    assert isinstance(others[0], RunResult)
    status = {lr: run.info.status for lr, run in logged(lab_root, "failing").items()}
    assert status.pop("1e+300") == "FAILED"
    assert set(status.values()) <= {"FINISHED", "KILLED"}


@pytest.mark.parametrize("adapter", ["adapter=head", "adapter=last_layers"])
def test_texts_wait_until_all_of_a_pack_have_ended(
    adapter: str, lab_root: Path, tmp_path: Path
) -> None:
    """Their batches differ in length from epoch to epoch; with the frozen prefix as well."""
    texts = write_reviews(tmp_path / "reviews")
    study = f"study=texts-in-turn-{adapter.removeprefix('adapter=')}"
    fixed = ("tracking=none", "epochs=3", study, "select_on=loss", adapter)
    double = "hardware.precision=64-true"
    configs = [
        replace(small(lab_root, texts, *fixed, double, f"optimizer.lr={lr}"), trial_pruner=HALVING)
        for lr in (1e-3, 0.1, 0.01, 0.03, 1e-5)
    ]
    outcomes = run_queue(configs, 2)
    assert pruned(outcomes)
    finished = [n for n, one in enumerate(outcomes) if isinstance(one, RunResult)]
    assert len(finished) >= 2
    for number in finished:
        require_as_alone(outcomes[number], configs[number])
