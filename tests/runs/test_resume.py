"""A run that was interrupted and resumed ends where one that never stopped ends, bit for bit."""

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from adapterlab.base.errors import CheckpointError
from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.folders.folder import DATA_HASH, RunFolder, RunResult, write_config
from adapterlab.runs.folders.homes import read_elsewhere
from adapterlab.runs.state import taken_up
from adapterlab.training.fit import fit
from adapterlab.training.outcome import Training
from adapterlab.training.steps import Steps
from lab import tiny
from power_cuts import PowerCutError, cut_in

pytestmark = pytest.mark.usefixtures("no_pictures")


CASES = {
    "constant": [],
    "cosine with warm-up": [
        "optimizer.schedule=cosine",
        "optimizer.warmup=0.3",
        "optimizer.hold=0.2",
        "optimizer.floor=0.1",
        "optimizer.layer_decay=0.5",
    ],
    "linear, sgd with momentum": [
        "optimizer=sgd",
        "optimizer.momentum=0.9",
        "optimizer.schedule=linear",
    ],
    "plateau": [
        "optimizer.schedule=plateau",
        "optimizer.plateau_patience=0",
        "optimizer.floor=0.02",
        "optimizer.lr=0.3",
    ],
    "dropout in adapter and model": ["adapter.dropout=0.3", "model.dropout=0.2", "adapter=dora"],
    "augmentation": ["dataset.crop=1", "dataset.flip=true"],
    "early stopping": ["early_stopping=2", "optimizer.lr=0.3", "select_on=loss"],
    "clipping and smoothing": ["optimizer.clip_norm=0.1", "label_smoothing=0.1"],
    "double precision": ["hardware.precision=64-true"],
    "all layers trained": ["adapter=full"],
}


EARLY = ("early_stopping=1", "optimizer=sgd", "optimizer.lr=1e-12", "select_on=accuracy")
"""The first epoch stays the best: nothing changes at this rate."""


@pytest.fixture
def histories(monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """Collects what came of every training of a target task."""
    trainings: list[Training] = []

    def watched(config: Config, *args: Any, **options: Any) -> Training:
        training = fit(config, *args, **options)
        if config.study != "bases":
            trainings.append(training)
        return training

    monkeypatch.setattr("adapterlab.runs.single.fit", watched)
    return trainings


def configured(root: Path, *overrides: str, resume: bool) -> Config:
    return tiny(
        root, "epochs=5", "study=resumed", "limit=64", "batch_size=16", *overrides,
        f"resume={str(resume).lower()}",
    )  # fmt: skip


def assert_equal(one: RunResult, other: RunResult) -> None:
    measured = [
        {name: value for name, value in result.metrics.items() if not name.startswith("cost/")}
        for result in (one, other)
    ]
    assert measured[0] == measured[1]


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter.safetensors")


def set_aside(result: RunResult, tmp_path: Path) -> Path:
    """Keep a copy of a run's folder, and clear it for the same run to be made again."""
    kept = tmp_path / "uninterrupted"
    shutil.copytree(result.folder, kept)
    shutil.rmtree(result.folder)
    return kept


def assert_same_files(one: Path, other: Path) -> None:
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    tables = [pq.read_table(folder / "predictions.parquet") for folder in (one, other)]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_ends_where_one_that_never_stopped_ends(
    case: str, lab_root: Path, tmp_path: Path, histories: list[Training]
) -> None:
    whole = single.run(configured(lab_root, *CASES[case], resume=False))
    kept = set_aside(whole, tmp_path)
    config = configured(lab_root, *CASES[case], resume=True)
    cut_in(config, 3)
    torch.manual_seed(4321)  # another process has another global state
    resumed = single.run(config)
    assert_equal(whole, resumed)
    assert_same_files(kept, resumed.folder)
    assert histories[0].history == histories[-1].history
    assert histories[0].best_epoch == histories[-1].best_epoch
    for name in ("train_seconds", "wall_seconds", "samples_per_second", "peak_memory_mib"):
        assert resumed.missing[f"cost/{name}"] == "the run was interrupted and resumed"


@pytest.mark.parametrize("epoch", [1, 5])
def test_interrupted_in_the_first_and_in_the_last_epoch(
    epoch: int, lab_root: Path, tmp_path: Path, histories: list[Training]
) -> None:
    whole = single.run(configured(lab_root, "seed=1", resume=False))
    kept = set_aside(whole, tmp_path)
    config = configured(lab_root, "seed=1", resume=True)
    cut_in(config, epoch)
    resumed = single.run(config)
    assert_equal(whole, resumed)
    assert_same_files(kept, resumed.folder)
    assert histories[0].history == histories[-1].history


def test_it_goes_on_from_the_last_epoch_and_not_from_the_best(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(lab_root, "seed=8", *EARLY[1:], resume=True)  # the first stays the best
    cut_in(config, 4)
    epochs: list[int] = []
    start = Steps.on_train_epoch_start
    monkeypatch.setattr(
        Steps,
        "on_train_epoch_start",
        lambda module: (epochs.append(module.driver.current_epoch + 1), start(module))[1],
    )
    result = single.run(config)
    assert epochs == [4, 5]
    assert result.metrics["best/epoch"] == 1


def test_interrupted_again_and_again(lab_root: Path, tmp_path: Path) -> None:
    whole = single.run(configured(lab_root, "seed=2", resume=False))
    kept = set_aside(whole, tmp_path)
    config = configured(lab_root, "seed=2", resume=True)
    for epoch in (2, 2, 4, 5):
        cut_in(config, epoch)
    resumed = single.run(config)
    assert_equal(whole, resumed)
    assert_same_files(kept, resumed.folder)


@pytest.mark.parametrize("overrides", [[], EARLY], ids=["all epochs", "early stopping"])
def test_interrupted_after_the_training(
    overrides: list[str],
    lab_root: Path,
    tmp_path: Path,
    histories: list[Training],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The training had ended, early or not: it does not go on for another epoch."""
    whole = single.run(configured(lab_root, "seed=3", *overrides, resume=False))
    kept = set_aside(whole, tmp_path)
    config = configured(lab_root, "seed=3", *overrides, resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(single, "predict", lambda *_, **__: (_ for _ in ()).throw(PowerCutError))
        with pytest.raises(PowerCutError):
            single.run(config)
    resumed = single.run(config)
    assert_equal(whole, resumed)
    assert_same_files(kept, resumed.folder)
    assert histories[0].history == histories[-1].history
    assert len(histories[-1].history) == (2 if overrides else 5)


def test_a_run_whose_root_was_moved(lab_root: Path, tmp_path: Path) -> None:
    """The best so far is remembered, though its path is another now."""
    options = ["select_on=loss", "optimizer.lr=1", "adapter=full", "seed=5"]
    whole = single.run(configured(lab_root, *options, resume=False))
    shutil.copytree(lab_root / "mlruns" / "runs" / "bases", tmp_path / "a/mlruns/runs/bases")
    config = configured(tmp_path / "a", *options, resume=True)
    assert whole.metrics["best/epoch"] < 4
    cut_in(config, 5)
    shutil.move(tmp_path / "a", tmp_path / "b")
    resumed = single.run(configured(tmp_path / "b", *options, resume=True))
    assert_equal(whole, resumed)


def test_a_damaged_checkpoint_is_named_and_can_be_deleted(lab_root: Path) -> None:
    config = configured(lab_root, "seed=10", resume=True)
    cut_in(config, 3)
    last = RunFolder.of(config).checkpoints / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged; delete .*checkpoints to"):
        single.run(config)
    shutil.rmtree(last.parent)
    assert single.run(config).metrics["best/epoch"] >= 1


def test_a_finished_run_is_not_repeated(
    lab_root: Path, histories: list[Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(lab_root, "seed=5", resume=True)
    first = single.run(config)
    assert len(histories) == 1
    monkeypatch.setattr(single, "assemble", lambda *_, **__: pytest.fail("it was repeated"))
    assert single.run(config) == first


def test_without_resume_it_starts_anew(lab_root: Path, histories: list[Training]) -> None:
    config = configured(lab_root, "seed=6", resume=False)
    cut_in(config, 3)
    result = single.run(config)
    assert "cost/train_seconds" in result.metrics
    single.run(config)
    assert [len(training.history) for training in histories] == [5, 5]


def _run_in_child(config: Config) -> None:
    torch.set_num_threads(1)
    single.run(config)


@pytest.mark.slow
def test_a_killed_process_is_resumed_in_its_own_mlflow_run(lab_root: Path, tmp_path: Path) -> None:
    options = ["tracking=mlflow", "seed=7", "epochs=40"]
    whole = single.run(configured(lab_root, "seed=7", "epochs=40", resume=False))
    kept = set_aside(whole, tmp_path)
    config = configured(lab_root, *options, resume=True)
    child = multiprocessing.get_context("fork").Process(target=_run_in_child, args=(config,))
    child.start()
    last = RunFolder.of(config).checkpoints / "last.ckpt"
    deadline = time.monotonic() + 60
    while not last.exists() and time.monotonic() < deadline and child.is_alive():
        time.sleep(0.005)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL, "it had finished before it could be killed"

    client = MlflowClient(f"sqlite:///{lab_root / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("adapterlab").experiment_id

    def logged() -> list[Any]:
        return [
            each
            for each in client.search_runs([experiment])
            if each.data.params.get("seed") == "7" and each.data.tags["kind"] == "run"
        ]

    (before,) = logged()
    assert before.info.status == "RUNNING"  # nobody was left to say otherwise
    resumed = single.run(config)
    (after,) = logged()
    assert after.info.run_id == before.info.run_id == resumed.run_id
    assert after.info.status == "FINISHED"
    steps = {point.step for point in client.get_metric_history(resumed.run_id, "val/loss")}
    assert steps == set(range(1, 41))
    assert_equal(whole, resumed)
    assert_same_files(kept, resumed.folder)


def test_data_that_have_moved_are_said_not_to_be_gone_on_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A report joins both, and a resume would train all of it again."""
    own = ("base=scratch", "resume=true")
    first, moved, other = (
        tiny(tmp_path, "dataset=image_folder", f"dataset.loader.path={tmp_path / name}", *more)
        for name, more in (("a", own), ("b", own), ("b", (*own, "batch_size=7")))
    )
    folder = RunFolder.of(first)
    folder.path.mkdir(parents=True)
    write_config(folder.config, first)
    (folder.path / DATA_HASH).write_text("d1")
    assert read_elsewhere(moved, "d1") == str(tmp_path / "a")
    assert read_elsewhere(moved, "d2") is read_elsewhere(other, "d1") is None
    assert read_elsewhere(first, "d1") is None, "here"
    for _ in range(2):
        data: Any = SimpleNamespace(hash="d1")
        assert taken_up(moved, RunFolder.of(moved), data) == (False, None)
    (said,) = caplog.messages
    assert f"at {tmp_path / 'a'} are not gone on with from dataset.loader.path=" in said
