"""A study from MLflow: which runs count, how arms are named, and the table that people read."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.app import cli
from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.reporting.reading.study import Replicate, Run, arms_of, read_runs
from adapterlab.reporting.report import Report, make_report, parse_request
from adapterlab.tracking.client import connect
from lab import TINY, Outcome

COUNTER = itertools.count(1)


def a_run(arm: str = "a", seed: int = 0, strategy: str = "lora", **options: Any) -> Run:
    """A run with the given parameters, as MLflow keeps them: text."""
    accuracy = options.pop("accuracy", 0.5)
    params = {key.replace("__", "."): str(value) for key, value in options.items()}
    return Run(
        run_id=str(next(COUNTER)),
        arm=arm,
        replicate=Replicate(seed, seed),
        tags={"strategy": strategy, "seed": str(seed)},
        params={"seed": str(seed), "init_seed": str(seed), **params},
        metrics={"test/accuracy": accuracy, "params/trainable": 100.0},
    )


def names(*runs: Run) -> list[str]:
    return [arm.name for arm in arms_of(runs)]


def test_runs_that_differ_in_seeds_are_one_arm() -> None:
    (arm,) = arms_of([a_run(seed=2, accuracy=0.7), a_run(seed=0, accuracy=0.5), a_run(seed=1)])
    assert arm.name == "lora"
    assert [run.seed for run in arm.runs] == [0, 1, 2]
    assert arm.values("test/accuracy") == (0.5, 0.5, 0.7)
    assert arm.values("source/accuracy_after") == ()


def test_arms_are_named_by_what_tells_them_apart() -> None:
    assert names(
        a_run("a", adapter__rank=4, adapter__alpha=16, adapter__label="lora-r4"),
        a_run("b", adapter__rank=8, adapter__alpha=16, adapter__label="lora-r8"),
        a_run("c", strategy="full"),
    ) == ["lora rank=4", "lora rank=8", "full"]
    assert names(
        a_run("a", adapter__rank=4, optimizer__lr=0.1), a_run("b", adapter__rank=4, optimizer__lr=1)
    ) == ["lora optimizer.lr=0.1", "lora optimizer.lr=1"]


def test_a_label_stands_for_many_options() -> None:
    many = [
        {"adapter__init": init, "adapter__scaling": scaling, "adapter__alpha": alpha}
        for init, scaling, alpha in (("kaiming", "alpha", 1), ("gaussian", "alpha_over_rank", 2))
    ]
    labelled = [
        a_run(name, adapter__label=name, **options)
        for name, options in zip(("lora-mine", "lora-yours"), many, strict=True)
    ]
    assert names(*labelled) == ["lora-mine", "lora-yours"]
    alike = [a_run(name, adapter__label="lora", **o) for name, o in zip("ab", many, strict=True)]
    assert names(*alike)[0] == "lora alpha=1 init=kaiming scaling=alpha"


def test_how_a_run_was_kept_tells_nothing_apart() -> None:
    kept = [
        {"resume": "True", "root": "/a", "hardware__threads": "1", "tracking__uri": "None"},
        {"resume": "False", "root": "/b", "hardware__threads": "2", "tracking__uri": "http://x"},
    ]
    assert names(a_run("a", seed=0, **kept[0]), a_run("a", seed=1, **kept[1])) == ["lora"]
    assert names(
        a_run("a", adapter__rank=4, **kept[0]), a_run("b", adapter__rank=8, **kept[1])
    ) == ["lora rank=4", "lora rank=8"]


def test_another_notation_tells_nothing_apart() -> None:
    assert names(
        a_run("a", seed=0, adapter__alpha="16"), a_run("a", seed=1, adapter__alpha="16.0")
    ) == ["lora"]


def test_a_choice_stands_for_its_group() -> None:
    def on(dataset: str, rotation: int) -> dict[str, Any]:
        return {
            "dataset__name": dataset,
            "dataset__loader__rotation": rotation,
            "base__source": "digits" if rotation else "digits_rotated",
            "base__dataset__loader__rotation": 90 - rotation,
        }

    assert names(a_run("a", **on("digits", 0)), a_run("b", **on("digits_rotated", 90))) == [
        "lora dataset.name=digits",
        "lora dataset.name=digits_rotated",
    ]
    assert names(
        a_run("a", optimizer__name="sgd", optimizer__momentum=0.9, optimizer__lr=1),
        a_run("b", optimizer__name="adam", optimizer__lr=2),
    ) == ["lora optimizer.name=sgd", "lora optimizer.name=adam"]
    assert names(
        a_run("a", strategy="full", base__kind="trained"),
        a_run("b", strategy="full", base__kind="scratch"),
    ) == ["full", "full from scratch"]
    assert names(
        a_run("a", base__source="mnist", base__dataset__name="mnist"),
        a_run("b", base__source="digits", base__dataset__name="digits"),
    ) == ["lora base.source=mnist", "lora base.source=digits"]


@pytest.fixture(scope="module")
def client(lab_root: Path) -> MlflowClient:
    return connect(None, lab_root / "mlruns")


def store(client: MlflowClient, study: str, *, status: str = "FINISHED", **values: Any) -> str:
    """Put a run into the store as the pipeline would."""
    experiment = client.get_experiment_by_name("reports")
    identity = experiment.experiment_id if experiment else client.create_experiment("reports")
    tags = {
        "study": study,
        "kind": "run",
        "arm": values.get("arm", "a"),
        "config_hash": values.get("config_hash", "c"),
        "seed": str(values.get("seed", 0)),
        "strategy": values.get("strategy", "lora"),
        "hardware.id": values.get("hardware", "h"),
        "data_notes": values.get("notes", ""),
    }
    run = client.create_run(identity, start_time=next(COUNTER), tags=tags)
    metrics = {"params/trainable": 1234.0, "test/accuracy": 0.5, "best/val_accuracy": 0.5}
    for name, value in (metrics | values.get("metrics", {})).items():
        client.log_metric(run.info.run_id, name, value)
    client.set_terminated(run.info.run_id, status)
    return str(run.info.run_id)


def report_on(root: Path, study: str, reference: str | None = None) -> Report:
    values = {"study": study, "experiment": "reports", "tracking_uri": None, "root": str(root)}
    return make_report(parse_request(values | {"reference": reference}))


def test_the_latest_run_of_a_configuration_counts(client: MlflowClient) -> None:
    store(client, "latest", config_hash="c1", metrics={"test/accuracy": 0.1})
    newest = store(client, "latest", config_hash="c1", metrics={"test/accuracy": 0.2})
    other = store(client, "latest", config_hash="c2", seed=1)
    assert {run.run_id for run in read_runs(client, "latest", "reports")} == {newest, other}


@pytest.mark.parametrize(("study", "experiment"), [("nothing", "reports"), ("latest", "nowhere")])
def test_a_study_without_runs(client: MlflowClient, study: str, experiment: str) -> None:
    with pytest.raises(AdapterLabError, match=f"study={study}: no runs in .*{experiment}"):
        read_runs(client, study, experiment)


def test_the_table_has_the_best_arm_first(client: MlflowClient, lab_root: Path) -> None:
    for seed, accuracy in ((0, 0.90), (1, 0.94)):
        store(
            client, "table", arm="a", config_hash=f"a{seed}", seed=seed, strategy="lora",
            metrics={
                "test/accuracy": accuracy,
                "best/val_accuracy": 0.6,
                "source/accuracy_before": 0.97,
                "source/accuracy_after": 0.5,
                "cost/train_seconds": 2.0 + seed,
            },
        )  # fmt: skip
    store(client, "table", arm="b", config_hash="b", strategy="full", notes="a note on the data",
          metrics={"test/accuracy": 0.95}, hardware="other")  # fmt: skip
    report = report_on(lab_root, "table")
    table = report.table()
    full, lora = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert full["arm"] == "full"
    assert full["test accuracy"] == "95.00%"
    assert full["kept on source"] == "not measured"
    assert full["verdict"] == "not comparable"  # it kept no predictions
    assert lora["arm"] == "lora"
    assert lora["test accuracy"] == "92.00% (66.59 to 100.00)"  # 12.706 * 0.0283 / sqrt(2)
    assert lora["kept on source"] == "50.00%"
    assert lora["seconds alone"] == "2.5"
    assert lora["verdict"] == "reference"
    assert "seconds in a pack" not in table.header
    notes = "\n".join(report.page.notes)
    assert "the base had 97.00% on the source task before" in notes
    assert "different hardware" in notes
    assert "a note on the data" in notes
    assert "lora is compared with no arm: the run of seed 0 " in notes
    assert report.html is not None
    assert report.html.is_relative_to(lab_root / "mlruns" / "reports" / "table")


def test_a_reference_is_an_arm(client: MlflowClient, lab_root: Path) -> None:
    for name in ("full", "lora"):
        store(client, "named", arm=name, config_hash=name, strategy=name)
    assert report_on(lab_root, "named", "lora").findings.reference.name == "lora"
    with pytest.raises(ConfigError, match="reference=dora is no arm; allowed: full, lora"):
        report_on(lab_root, "named", "dora")


def test_a_study_from_the_command_line(
    run_cli: Callable[..., Outcome], lab_root: Path, no_pictures: None
) -> None:
    options = [option for option in TINY if option != "tracking=none"]
    sweep = ["adapter=lora", "adapter.rank=2,4", "seed=0,1", "study=cli"]
    outcome = run_cli("-m", *options, *sweep, root=lab_root)
    assert outcome.code == 0, outcome.err
    again = run_cli("-m", *options, *sweep, "resume=true", root=lab_root)
    assert again.out == outcome.out
    table = run_cli("study=cli", program=cli.report, root=lab_root).out
    assert "that takes 3 seeds of each" in table.replace("\n", " ")
    folder = lab_root / "mlruns" / "reports" / "cli"
    rows = (folder / "report.md").read_text().splitlines()
    for name in ("lora rank=2", "lora rank=4"):
        (row, *_) = [row for row in rows if row.startswith(f"| {name} |")]
        assert row.split("|")[3].strip() == "2"
    assert str(folder / "report.html") in table.replace("\n", "")
    assert len((folder / "runs.csv").read_text().splitlines()) == 5
    assert len((folder / "arms.csv").read_text().splitlines()) == 3
    client = connect(None, lab_root / "mlruns")
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    (parent,) = client.search_runs([experiment], "tags.study = 'cli' and tags.kind = 'study'")
    kept = {file.path for file in client.list_artifacts(parent.info.run_id, "report")}
    assert {"report/report.html", "report/report.md", "report/arms.csv"} <= kept
    assert "that takes 3 seeds of each" in parent.data.tags["mlflow.note.content"]
