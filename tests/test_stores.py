"""Where MLflow's store is: under the root, behind a server, and shared by several processes."""

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from adapterlab import cli, pipeline
from adapterlab.config import Config
from adapterlab.runs import RunFolder
from adapterlab.store_uris import default_uri
from adapterlab.tracking import tracked
from lab import Outcome, compose, mlflow_process, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")


def _log_in_child(config: Config, number: int) -> None:
    with tracked(config, RunFolder.of(config), name=f"run-{number}") as tracker:
        tracker.log(params={f"option.{i}": i for i in range(150)})
        for epoch in range(1, 6):
            tracker.log(metrics={"val/loss": 1 / epoch, "train/loss": 2 / epoch}, step=epoch)
        tracker.log(tags={"number": str(number)})
        tracker.artifact(Path(__file__), "code")


@pytest.mark.slow
def test_four_processes_on_a_fresh_store_lose_nothing(tmp_path: Path) -> None:
    config = compose(tmp_path, "study=four")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_log_in_child, args=(config, i)) for i in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    client = MlflowClient(default_uri(tmp_path / "mlruns"))
    (experiment,) = [e for e in client.search_experiments() if e.name == "adapterlab"]
    found = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in found if run.data.tags.get("kind") == "study"]
    runs = [run for run in found if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    assert sorted(run.data.tags["number"] for run in runs) == ["0", "1", "2", "3"]
    for run in runs:
        assert run.info.status == "FINISHED"
        assert len([name for name in run.data.params if name.startswith("option.")]) == 150
        history = client.get_metric_history(run.info.run_id, "val/loss")
        assert [point.step for point in history] == [1, 2, 3, 4, 5]
        assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["code"]


def test_artifacts_land_under_the_root_whatever_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, elsewhere = tmp_path / "a root with spaces", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    result = pipeline.run(
        tiny(root, "tracking=mlflow", "base=scratch", "adapter=head", "limit=32", "epochs=1")
    )
    assert list(elsewhere.iterdir()) == []
    kept = root / "mlruns" / "artifacts" / str(result.run_id) / "artifacts"
    assert (kept / "adapter" / "adapter.safetensors").is_file()
    assert {path.name for path in root.iterdir()} == {"mlruns"}


def test_an_experiment_of_another_name(lab_root: Path) -> None:
    result = pipeline.run(
        tiny(
            lab_root, "tracking=mlflow", "tracking.experiment=other", "base=scratch",
            "adapter=head", "study=other",
        )
    )  # fmt: skip
    client = MlflowClient(default_uri(lab_root / "mlruns"))
    experiment = client.get_experiment_by_name("other")
    assert client.get_run(result.run_id).info.experiment_id == experiment.experiment_id
    assert experiment.artifact_location == (lab_root / "mlruns" / "artifacts").as_uri()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A tracking server on the loopback address, with a store of its own."""
    folder = tmp_path / "server"
    folder.mkdir()
    store = ("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}")
    kept = ("--artifacts-destination", str(folder / "artifacts"))
    with mlflow_process(tmp_path, "server", *store, *kept, cwd=folder) as uri:
        yield uri


@pytest.mark.slow
def test_a_run_is_logged_to_a_server_and_evaluated_from_it(
    server: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    root = tmp_path / "root"
    config = tiny(root, "tracking=mlflow", f"tracking.uri={server}", "base=scratch", "study=remote")
    torch.manual_seed(0)
    result = pipeline.run(config)
    assert not (root / "mlruns" / "mlflow.db").exists()
    client = MlflowClient(server)
    saved = client.get_run(result.run_id)
    assert saved.info.status == "FINISHED"
    assert saved.data.metrics["test/accuracy"] == result.metrics["test/accuracy"]
    stored = list((tmp_path / "server" / "artifacts").rglob("adapter.safetensors"))
    assert len(stored) == 1
    remote = [f"tracking_uri={server}"]
    outcome = run_cli(
        f"run={result.run_id}", *remote, "hardware.threads=1", program=cli.evaluate, root=root
    )
    assert "equal to the logged metrics, to the last digit" in outcome.out, outcome
    outcome = run_cli("study=remote", *remote, program=cli.report, root=root)
    assert "lora" in outcome.out, outcome
    assert not (root / "mlruns" / "mlflow.db").exists()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nonsense://x", "file:///tmp/mlruns"])
def test_a_store_that_cannot_be_used_is_one_line(uri: str, run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli(
        f"tracking.uri={uri}", "base=scratch", "limit=32", "epochs=1",
        "hardware.threads=1",
    )  # fmt: skip
    assert f"tracking.uri={uri} cannot be used: " in outcome.error
