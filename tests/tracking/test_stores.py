"""Where MLflow's store is: under the root, behind a server, and shared by several processes."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from adapterlab.app import cli
from adapterlab.base.errors import AdapterLabError
from adapterlab.config.schema import Config
from adapterlab.reporting.reading.logged import read_answers
from adapterlab.reporting.reading.stored import read_runs
from adapterlab.runs import single
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.runs.lifecycle import OpenRun
from adapterlab.tracking.client import connect
from adapterlab.tracking.mlflow_run import tracked
from adapterlab.tracking.stores.uris import default_uri
from faults.old_stores import revisions
from faults.postgresql import PASSWORD, Cluster, cluster, missing
from lab import Outcome, compose, mlflow_process, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")


def _log_in_child(config: Config, number: int) -> None:
    folder = RunFolder(config.mlruns / "runs" / str(number))
    folder.path.mkdir(parents=True)
    with tracked(config, folder.link, name=f"run-{number}") as tracker:
        tracker.log(params={f"option.{i}": i for i in range(150)})
        for epoch in range(1, 6):
            tracker.log(metrics={"val/loss": 1 / epoch, "train/loss": 2 / epoch}, step=epoch)
        tracker.log(tags={"number": str(number)})
        (folder.path / "kept.txt").write_text(str(number))
        tracker.artifact(folder.path / "kept.txt", "code")


@pytest.fixture(scope="module")
def database() -> Iterator[Cluster]:
    """Makes empty databases in a PostgreSQL of Debian's packages, and returns their addresses."""
    if (why := missing()) is not None:
        pytest.skip(why)
    with cluster() as make:
        yield make


@pytest.mark.slow
@pytest.mark.usefixtures("stores_are_made")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_four_processes_on_a_fresh_store_lose_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = default_uri(tmp_path / "mlruns")
    if kind == "postgresql":
        uri = request.getfixturevalue("database")()
    config = compose(tmp_path, "study=four", f"tracking.uri='{uri}'")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_log_in_child, args=(config, i)) for i in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    client = MlflowClient(uri)
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
    odd = 'it\'s "odd" \\ :b 50% \N{LATIN SMALL LETTER U WITH DIAERESIS}'  # SQL, URIs
    root, elsewhere = tmp_path / f"root {odd}", tmp_path / f"elsewhere {odd}"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    result = single.run(
        tiny(root, "tracking=mlflow", "base=scratch", "adapter=head", "limit=32", "epochs=1")
    )
    assert list(elsewhere.iterdir()) == []
    kept = root / "mlruns" / "artifacts" / str(result.run_id) / "artifacts"
    assert (kept / "adapter" / "adapter.safetensors").is_file()
    assert {path.name for path in root.iterdir()} == {"mlruns"}


def test_an_experiment_of_another_name(lab_root: Path) -> None:
    result = single.run(
        tiny(
            lab_root, "tracking=mlflow", "tracking.experiment=other", "base=scratch",
            "adapter=head", "study=other",
        )
    )  # fmt: skip
    client = MlflowClient(default_uri(lab_root / "mlruns"))
    experiment = client.get_experiment_by_name("other")
    assert client.get_run(result.run_id).info.experiment_id == experiment.experiment_id
    assert experiment.artifact_location == (lab_root / "mlruns" / "artifacts").as_uri()


@dataclass(frozen=True)
class Remote:
    """A store that is not a file under the root, and the folder that its artifacts are in."""

    uri: str
    artifacts: Path

    @property
    def option(self) -> str:
        return f"tracking.uri='{self.uri}'"


def _server(folder: Path, *options: str) -> AbstractContextManager[str]:
    """A tracking server on the loopback address, with a store of its own, which keeps files too."""
    store = ("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}")
    kept = ("--serve-artifacts", "--artifacts-destination", str(folder / "artifacts"))
    return mlflow_process(folder.parent, "server", *store, *kept, *options, cwd=folder)


@pytest.fixture(params=["server", "server with basic auth", "postgresql"])
def remote(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Remote]:
    """Each kind of store that several machines can share."""
    folder = tmp_path / "server"
    folder.mkdir()
    if request.param == "postgresql":
        database = request.getfixturevalue("database")
        yield Remote(database(), tmp_path / "root" / "mlruns" / "artifacts")
        return
    options: tuple[str, ...] = ()
    if request.param != "server":
        pytest.importorskip("flask_wtf", reason="basic auth needs mlflow[auth]")
        options = ("--app-name", "basic-auth")
        settings = folder / "auth.ini"
        settings.write_text(
            f"[mlflow]\ndatabase_uri = sqlite:///{folder / 'auth.db'}\ndefault_permission = READ\n"
            "admin_username = admin\nadmin_password = a password of the test\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "auth_cache_ttl_seconds = 600\n"  # a password is hashed once, not at each request
        )
        monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(settings))
        monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "of the test")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a password of the test")
    # As it is after the server's own migrations, which take two seconds.
    shutil.copyfile(request.getfixturevalue("new_store"), folder / "mlflow.db")
    with _server(folder, *options) as uri:
        yield Remote(uri, folder / "artifacts")


@pytest.mark.slow
def test_a_run_is_logged_to_a_store_elsewhere_and_evaluated_from_it(
    remote: Remote,
    tmp_path: Path,
    run_cli: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "root"
    config = tiny(root, "tracking=mlflow", remote.option, "base=scratch", "study=remote")
    torch.manual_seed(0)
    result = single.run(config)
    assert not (root / "mlruns" / "mlflow.db").exists()
    client = MlflowClient(remote.uri)
    saved = client.get_run(result.run_id)
    assert saved.info.status == "FINISHED"
    assert saved.data.metrics["test/accuracy"] == result.metrics["test/accuracy"]
    assert len(list(remote.artifacts.rglob("adapter.safetensors"))) == 1
    where = [f"tracking_uri='{remote.uri}'"]
    outcome = run_cli(
        f"run={result.run_id}", *where, "hardware.threads=1", program=cli.evaluate, root=root
    )
    assert "equal to the logged metrics, to the last digit" in outcome.out, outcome
    outcome = run_cli("study=remote", *where, program=cli.report, root=root)
    assert "lora" in outcome.out, outcome
    assert not (root / "mlruns" / "mlflow.db").exists()
    # A report compares by the predictions, which it has to get from where they are kept.
    answers, why = read_answers(read_runs(client, "remote", "adapterlab"), "accuracy")
    assert answers is not None, why
    assert answers.correct.mean() == result.metrics["test/accuracy"]
    if "MLFLOW_TRACKING_PASSWORD" in os.environ:
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another")
        outcome = run_cli("study=remote", *where, program=cli.report, root=root)
        assert "MLFLOW_TRACKING_USERNAME" in outcome.error


@pytest.mark.slow
def test_files_of_a_database_elsewhere_go_where_others_reach_them(
    database: Callable[[], str],
    tmp_path: Path,
    run_cli: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapterlab.tracking.stores.uris._is_here", lambda _: False)
    uri, shared = database(), tmp_path / "shared" / "files"
    arguments = (
        f"tracking.uri='{uri}'", "dataset=digits_rotated", "base=scratch", "limit=32", "epochs=1",
        "hardware.threads=1", "report=false",
    )  # fmt: skip
    outcome = run_cli(*arguments, root=tmp_path / "one")
    assert "others would not reach the files of runs" in outcome.error
    assert PASSWORD not in outcome.error
    assert not (tmp_path / "one" / "mlruns" / "runs").exists()
    outcome = run_cli(*arguments, f"tracking.artifacts={shared}", root=tmp_path / "one")
    assert outcome.code == 0, outcome
    outcome = run_cli(*arguments, "seed=1", root=tmp_path / "two")  # the experiment knows
    assert outcome.code == 0, outcome
    assert len(list(shared.rglob("adapter.safetensors"))) == 2
    monkeypatch.chdir(tmp_path)  # what is made of a relative path is made there
    outcome = run_cli(*arguments, "tracking.artifacts=elsewhere", root=tmp_path / "two")
    assert "tracking.artifacts=elsewhere comes too late" in outcome.error
    shared.rename(tmp_path / "not mounted")
    outcome = run_cli(*arguments, "seed=2", root=tmp_path / "two")
    assert "which this machine does not have" in outcome.error


def test_a_database_of_another_mlflow_is_refused_in_one_line(
    database: Callable[[], str], tmp_path: Path
) -> None:
    from sqlalchemy import create_engine, text

    uri = database()
    engine = create_engine(uri)
    for revision, words in (("ffffffffffff", "a newer MLflow"), (revisions()[-3], "db upgrade")):
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS runs (run_uuid VARCHAR(32))"))
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
            connection.execute(text(f"INSERT INTO alembic_version VALUES ('{revision}')"))
        with pytest.raises(AdapterLabError, match=words) as caught:
            connect(uri, tmp_path)
        assert "\n" not in str(caught.value)
        assert PASSWORD not in str(caught.value)
    engine.dispose()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nonsense://x", "file:///tmp/mlruns"])
def test_a_store_that_cannot_be_used_is_one_line(uri: str, run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli(
        f"tracking.uri={uri}", "base=scratch", "limit=32", "epochs=1",
        "hardware.threads=1",
    )  # fmt: skip
    assert f"tracking.uri={uri} cannot be used: " in outcome.error


@pytest.mark.slow
def test_a_database_that_goes_away_and_comes_back_has_all(
    database: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = OpenRun.report

    def report(run: OpenRun, epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch == 2:
            database.stop()
        real(run, epoch, metrics)
        if epoch == 4:
            database.start()

    monkeypatch.setattr(OpenRun, "report", report)
    uri = database()
    options = ("base=scratch", "adapter=head", "epochs=6", "study=away", f"tracking.uri='{uri}'")
    result = single.run(tiny(tmp_path, "tracking=mlflow", *options))
    client = MlflowClient(uri)
    run = client.get_run(str(result.run_id))
    points = client.get_metric_history(run.info.run_id, "train/loss")
    assert (run.info.status, [point.step for point in points]) == ("FINISHED", list(range(1, 7)))
