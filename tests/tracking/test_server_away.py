"""An MLflow server that goes away while runs are trained: nothing is lost, and nothing waits."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

from adapterlab.app import cli
from adapterlab.app.sync_command import sync
from adapterlab.base.cache import Entry, stored
from adapterlab.base.process_identity import PROCESS_TAG
from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.folders import undelivered
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.lifecycle import OpenRun
from adapterlab.runs.packs.pack import run_pack
from adapterlab.tracking.servers import journal
from adapterlab.tracking.servers.patience import PatientClient
from adapterlab.tracking.shared_entries import sharing
from adapterlab.tracking.stores.uris import default_uri
from faults.gate import Gate, gate_before
from lab import Outcome, mlflow_process, patient, tiny

pytestmark = pytest.mark.usefixtures("no_pictures", "impatient")

EPOCHS = 4
OPTIONS = ("base=scratch", "adapter=head", "limit=32", "tracking=mlflow", f"epochs={EPOCHS}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, new_store: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")  # as after the server's own migrations
    shutil.copyfile(new_store, folder / "mlflow.db")
    store = ("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}")
    kept = ("--artifacts-destination", str(folder / "artifacts"))
    with mlflow_process(folder, "server", *store, *kept, cwd=folder) as uri:
        yield uri


@pytest.fixture
def gate(server: str) -> Iterator[Gate]:
    with gate_before(server) as gate:
        yield gate


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice soon that a server is away, and give it up soon."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("adapterlab.tracking.mlflow_run.PATIENCE", 0.5)
    monkeypatch.setattr("adapterlab.tracking.servers.patience.PATIENCE", 0.5)


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have something done after an epoch has been reported."""
    real = OpenRun.report

    def do(what: Callable[[OpenRun], None], epoch: int) -> None:
        def report(run: OpenRun, now: int, metrics: Any) -> None:
            real(run, now, metrics)
            if now == epoch:
                what(run)

        monkeypatch.setattr(OpenRun, "report", report)

    return do


def options(gate: Gate, study: str, *more: str) -> list[str]:
    return [*OPTIONS, f"tracking.uri={gate.uri}", f"study={study}", *more]


@patient()
def logged(uri: str, run_id: str | None) -> tuple[str, list[tuple[int, float]], set[str]]:
    """Return what a server has of a run: status, losses in their order, names of its files."""
    client = MlflowClient(uri)
    run = client.get_run(str(run_id))
    points = client.get_metric_history(run.info.run_id, "train/loss")
    losses = [(point.step, point.value) for point in points]
    assert losses == sorted(losses)
    return run.info.status, losses, {item.path for item in client.list_artifacts(run.info.run_id)}


@patient()
def whole(uri: str, result: RunResult) -> None:
    """Require that a server has all of a run, once and in order."""
    status, losses, files = logged(uri, result.run_id)
    assert status == "FINISHED"
    assert losses == [(epoch, row["train/loss"]) for epoch, row in result.history.items()]
    assert len(losses) == EPOCHS
    assert {"config.yaml", "result.json", "adapter", "predictions"} <= files
    assert not journal.is_there(result.folder)
    client = MlflowClient(uri)
    assert len(client.get_metric_history(str(result.run_id), "test/accuracy")) == 1
    assert client.get_run(str(result.run_id)).data.metrics.items() >= result.metrics.items()


@pytest.mark.parametrize("way", ["refuses", "hangs", "answers 500"])
def test_a_server_that_comes_back_has_all(
    way: str, server: str, gate: Gate, tmp_path: Path, after: Callable[..., None]
) -> None:
    config = tiny(tmp_path, *options(gate, f"back-{way[:4]}"))
    told: list[int] = []

    def shut_and_open(run: OpenRun) -> None:
        epoch = len(run.tracker.journal.waiting())  # type: ignore[attr-defined]
        told.append(epoch)
        gate.shut(way)

    after(shut_and_open, 2)
    ending = single.OpenRun.finish

    def reopened(*arguments: Any) -> RunResult:
        gate.open()  # only now: the training has not waited
        return ending(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenRun, "finish", reopened)
        patch.setattr("adapterlab.tracking.mlflow_run.PATIENCE", 60.0)
        result = single.run(config)
    assert told
    whole(server, result)


def test_a_server_that_never_comes_back(
    server: str,
    gate: Gate,
    tmp_path: Path,
    after: Callable[..., None],
    run_cli: Callable[..., Outcome],
) -> None:
    arguments = options(gate, "never", "hardware=cpu", "hardware.threads=1")
    after(lambda _: gate.shut(), 1)
    outcome = run_cli(*arguments, "seed=3")
    assert outcome.code == 1, outcome
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert "`python scripts/sync.py` delivers it" in line
    assert "Traceback" not in outcome.err
    (folder,) = (tmp_path / "mlruns" / "runs" / "never").iterdir()
    result = RunFolder(folder).finished()
    assert result is not None
    found = journal.read(folder)
    assert found is not None
    epochs = [entry["step"] for entry in found[1] if "train/loss" in entry.get("metrics", ())]
    assert epochs == list(range(EPOCHS - len(epochs) + 1, EPOCHS + 1))
    kept = (folder / journal.NAME).read_bytes()

    still = run_cli(program=sync)
    assert still.code == 1
    assert [line for line in still.err.splitlines() if line.startswith("error: ")], still
    assert (folder / journal.NAME).read_bytes() == kept
    report = run_cli("study=never", f"tracking_uri={gate.uri}", program=cli.report)
    assert report.code in (1, 2)
    assert report.err.splitlines()[-1].startswith(f"error: tracking.uri={gate.uri} ")

    gate.open()
    assert "delivered: " in run_cli(program=sync).out
    whole(server, result)
    assert "nothing to deliver" in run_cli(program=sync).out
    # Again, as after a process that was killed before it could write down that all is there.
    (folder / journal.NAME).write_bytes(kept)
    assert run_cli(program=sync).code == 0
    whole(server, result)


@pytest.mark.parametrize("way", ["basic", "alone", "packed"])
def test_a_multirun_whose_server_never_comes_back(
    way: str,
    server: str,
    gate: Gate,
    tmp_path: Path,
    after: Callable[..., None],
    run_cli: Callable[..., Outcome],
) -> None:
    """What is at work is finished; what comes after cannot begin, and is said so."""
    fixed = options(gate, f"away-{way}", "hardware=cpu", "hardware.threads=1", "report=false")
    packed = ("hydra/launcher=packed", "hydra.launcher.processes=1")
    launcher = {"basic": (), "alone": (*packed, "pack=never"), "packed": (*packed, "pack=always")}
    sweep = ("-m", *fixed, "order_seed=0,1,2", *launcher[way])
    after(lambda _: gate.shut(), 1)
    outcome = run_cli(*sweep)
    assert outcome.code == 1, outcome
    assert "Traceback" not in outcome.err
    assert "`python scripts/sync.py` delivers it" in outcome.err
    # However many runs it strikes: a line of the first, and how many there are.
    assert outcome.err.count(": MLflow has not got all of it (") == 1
    count = "3 runs have" if way == "packed" else "1 run has"
    assert outcome.err.count(f" {count} ended and MLflow has not got all of it (") == 1
    failed = [line for line in outcome.err.splitlines() if line.startswith("failed: ")]
    if way != "packed":
        first, rest = failed
        assert "order_seed=1" in first
        why = f"tracking.uri={gate.uri} has stopped answering: connection refused"
        assert first.endswith(why)
        assert rest == f"failed: 1 more run: {why}"
    else:
        assert not failed
    runs = tmp_path / "mlruns" / "runs" / f"away-{way}"
    results = [result for path in runs.iterdir() if (result := RunFolder(path).finished())]
    assert len(results) == (3 if way == "packed" else 1)
    gate.open()
    after(lambda _: None, 0)
    assert run_cli(*sweep, "resume=true").code == 0
    finished = [RunFolder(path).finished() for path in runs.iterdir()]
    assert len(finished) == 3
    for result in finished:
        assert result is not None
        whole(server, result)


def test_resuming_delivers_what_is_left(
    server: str, gate: Gate, tmp_path: Path, after: Callable[..., None]
) -> None:
    config = tiny(tmp_path, *options(gate, "resumed", "resume=true"))
    after(lambda _: gate.shut(), 2)
    first = single.run(config)
    assert journal.is_there(first.folder)
    gate.open()
    assert single.run(config) == first
    whole(server, first)


def test_sync_leaves_runs_at_work_and_forgets_deleted_ones(
    server: str, gate: Gate, tmp_path: Path, after: Callable[..., None], run_cli: Any
) -> None:
    config = tiny(tmp_path, *options(gate, "deleted"))
    after(lambda _: gate.shut(), 2)
    result = single.run(config)
    with RunFolder(result.folder).lock(wait=False):
        outcome = run_cli(program=sync)
        assert outcome.code == 0
        assert outcome.out.startswith("at work, and delivers by itself:")
    gate.open()
    MlflowClient(server).delete_run(str(result.run_id))
    outcome = run_cli(program=sync)
    assert outcome.code == 0
    assert "its MLflow run has been deleted" in outcome.out
    assert "nothing to deliver" in run_cli(program=sync).out


def test_a_server_that_wants_other_credentials_for_one_run(
    server: str, gate: Gate, tmp_path: Path, after: Callable[..., None]
) -> None:
    configs = [tiny(tmp_path, *options(gate, "barred", f"order_seed={seed}")) for seed in range(3)]

    def bar(run: OpenRun) -> None:
        if run.config.order_seed == 1:
            gate.only[str(run.tracker.run_id)] = 403

    after(bar, 2)
    outcomes = run_pack(configs)
    results = [outcome for outcome in outcomes if isinstance(outcome, RunResult)]
    assert len(results) == 3, outcomes
    assert [result.tags["pack_size"] for result in results] == ["3"] * 3
    whole(server, results[0])
    whole(server, results[2])
    assert journal.is_there(results[1].folder)
    gate.only.clear()
    found = undelivered.sync(tmp_path / "mlruns")
    assert found.delivered == [results[1].folder]
    whole(server, results[1])


@pytest.mark.parametrize("where", ["here", "server"])
def test_a_deleted_run_fails_alone_with_the_same_words(
    where: str, gate: Gate, tmp_path: Path, after: Callable[..., None]
) -> None:
    """The report of a deleted run fails; a courier may tell of it an epoch later."""
    more = [] if where == "here" else [f"tracking.uri={gate.uri}"]

    def config(seed: int, study: str) -> Config:
        return tiny(tmp_path, *OPTIONS, *more, f"study={study}-{where}", f"order_seed={seed}")

    def delete(run: OpenRun) -> None:
        if run.config.order_seed == 1:
            uri = run.config.tracking.uri or default_uri(tmp_path / "mlruns")
            MlflowClient(uri).delete_run(str(run.tracker.run_id))

    after(delete, 2)
    outcomes = run_pack([config(seed, "packed") for seed in range(3)])
    said = []
    with pytest.raises(Exception) as alone:  # its words are compared
        single.run(config(1, "alone"))
    for error in (outcomes[1], alone.value):
        assert type(error).__name__ == "RunRefusedError", outcomes
        said.append(str(error).replace(str(error).split()[3], "ID"))
    assert said[0] == said[1]
    assert said[0] == "its MLflow run ID has been deleted; resume=true goes on in a new one"
    others = [outcomes[number] for number in (0, 2)]
    assert all(isinstance(one, RunResult) and one.tags["pack_size"] == "3" for one in others)


def test_no_run_without_its_server_or_experiment(
    server: str, gate: Gate, run_cli: Callable[..., Outcome]
) -> None:
    gate.shut("hangs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.tracking.servers.patience.FIRST_SECONDS", 1)
        error = run_cli(*options(gate, "none", "hardware=cpu")).error
    assert error == f"tracking.uri={gate.uri} cannot be used: it did not answer in time"
    gate.open()
    client = MlflowClient(server)
    client.delete_experiment(client.create_experiment("thrown-away"))
    away = "tracking.experiment=thrown-away"
    error = run_cli(*options(gate, "none", "hardware=cpu", away)).error
    assert error.startswith(f"{away} has been deleted in MLflow; choose another")


def test_what_is_shared_waits_for_no_server(
    gate: Gate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values, made = torch.arange(1_000), list[str]()
    for root in "abc":
        config = tiny(tmp_path / root, *options(gate, "shared"))
        build = partial(lambda root: made.append(root) or Entry({"values": values}, {}), root)
        if root == "c":
            gate.shut("hangs")
        with sharing(config):
            entry = stored(config.mlruns, "one", [gate.uri], build, require=lambda _: None)
        assert torch.equal(entry.tensors["values"], values)
    assert made == ["a", "c"]
    assert caplog.text.count("each machine makes its own: it did not answer in time") == 1


def test_a_run_is_made_once_however_late_the_answer_is(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setattr("adapterlab.tracking.servers.patience.PATIENCE", 30.0)
    raw = MlflowClient(gate.uri)
    experiment = raw.create_experiment("late")
    tags = {PROCESS_TAG: "this", "config_hash": "1"}
    gate.shut("is late")
    with ThreadPoolExecutor() as threads:
        made = threads.submit(PatientClient(raw, gate.uri).create_run, experiment, tags=tags)
        time.sleep(2)  # the first request has been given up, and waits before the gate all the same
        gate.open()
    time.sleep(0.5)
    assert [run.info.run_id for run in raw.search_runs([experiment])] == [made.result().info.run_id]
