"""A run that ends badly is marked as what it was: FAILED or KILLED, never left RUNNING."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.app import cli
from adapterlab.base.errors import AdapterLabError
from adapterlab.base.interrupts import INTERRUPTED, TERMINATED
from adapterlab.runs import single
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.tracking.stores.uris import default_uri
from adapterlab.training.steps import Steps
from lab import CHECKOUT, TINY, Outcome, as_program, environment, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

LONG = ["tracking=mlflow", "base=scratch", "epochs=100000", "study=long"]


def last_run(root: Path, study: str) -> Any:
    client = MlflowClient(default_uri(root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    (run, *_) = client.search_runs([experiment], f"tags.study = '{study}'")
    return run


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_crash_is_failed_with_the_first_line_of_the_error(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full\nand a second line")

    config = tiny(lab_root, "tracking=mlflow", "base=scratch", "study=crash", "resume=true")
    with monkeypatch.context() as patch:
        patch.setattr(single, "predict", crash)
        with pytest.raises(RuntimeError, match="disk is full"):
            single.run(config)
    run = last_run(lab_root, "crash")
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "RuntimeError: the disk is full"
    assert run.info.end_time is not None
    # Resumed and finished, it is no failed run any more.
    assert single.run(config).run_id == run.info.run_id
    run = last_run(lab_root, "crash")
    assert run.info.status == "FINISHED"
    assert "error" not in run.data.tags


def test_a_diverged_training_is_failed(lab_root: Path) -> None:
    config = tiny(
        lab_root, "tracking=mlflow", "base=scratch", "study=diverged",
        "adapter=full", "optimizer=sgd", "optimizer.lr=1e30",
    )  # fmt: skip
    with pytest.raises(AdapterLabError):
        single.run(config)
    run = last_run(lab_root, "diverged")
    assert run.info.status == "FAILED"
    assert run.data.tags["error"].startswith("TrainingDivergedError: train/loss is nan in epoch 1")


@pytest.mark.parametrize("where", ["training_step", "validation_step", "on_train_epoch_end"])
def test_ctrl_c_while_training_is_killed(
    where: str, lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Steps, where, press)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        single.run(tiny(lab_root, "tracking=mlflow", "base=scratch", f"study=c-{where}"))
    run = last_run(lab_root, f"c-{where}")
    assert run.info.status == "KILLED"
    assert "error" not in run.data.tags
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_outside_the_training_is_killed(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Callable[..., Outcome]
) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(single, "predict", press)
    options = [o for o in TINY if o not in ("tracking=none", "base.epochs=2")]
    outcome = run_cli(*options, "base=scratch", "study=outside", root=lab_root)
    assert outcome.code == INTERRUPTED
    assert outcome.err.splitlines()[-1].startswith("error: interrupted; resume=true goes on")
    assert last_run(lab_root, "outside").info.status == "KILLED"


@pytest.mark.slow
def test_ctrl_c_in_a_real_process(tmp_path: Path, new_store: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    shutil.copyfile(new_store, tmp_path / "mlruns" / "mlflow.db")  # which takes a second to make
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [
                *(sys.executable, str(CHECKOUT / "src" / "train.py")),
                *(o for o in TINY if o not in ("tracking=none", "base.epochs=2", "epochs=2")),
                *LONG,
            ],
            stderr=err,
            stdout=subprocess.DEVNULL,
            env=environment(tmp_path),
            # A shell that starts the tests in the background has them ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            runs = tmp_path / "mlruns" / "runs" / "long"
            wait_for(
                lambda: any(runs.glob("*/checkpoints/last.ckpt")) or process.poll() is not None
            )
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
    lines = (tmp_path / "err").read_text().splitlines()
    assert lines[-1] == "error: interrupted; resume=true goes on from the last epoch"
    assert not any("Traceback" in line for line in lines)
    assert last_run(tmp_path, "long").info.status == "KILLED"


def _train_in_child(root: Path, *arguments: str) -> None:
    with as_program(root, *arguments):
        cli.train()


@pytest.mark.parametrize("moment", ["training", "testing"])
def test_sigterm_is_killed(
    moment: str, lab_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As schedulers send it; Lightning takes part of it only while it trains."""
    study = f"term-{moment}"
    options = [o for o in TINY if o not in ("tracking=none", "base.epochs=2", "epochs=2")]
    arguments = [*options, *LONG[:2], f"study={study}"]
    if moment == "testing":
        reached = tmp_path / "reached"
        monkeypatch.setattr(single, "predict", lambda *_, **__: (reached.touch(), time.sleep(60)))
        arguments.append("epochs=1")
    else:
        reached = RunFolder.of(tiny(lab_root, *LONG[:2], f"study={study}", "epochs=100000")).path
        reached /= "checkpoints/last.ckpt"
        arguments.append("epochs=100000")
    child = multiprocessing.get_context("fork").Process(
        target=_train_in_child, args=(lab_root, *arguments)
    )
    child.start()
    try:
        wait_for(lambda: reached.exists() or not child.is_alive())
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)
        child.join(60)
    finally:
        child.kill()
    assert child.exitcode == TERMINATED
    assert last_run(lab_root, study).info.status == "KILLED"


def test_a_run_that_is_under_way_is_not_started_twice(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    options = [o for o in TINY if o != "base.epochs=2"]
    config = tiny(lab_root, "base=scratch", "study=twice")
    with RunFolder.of(config).lock(wait=False):
        outcome = run_cli(*options, "base=scratch", "study=twice", root=lab_root)
    assert "another process is training this very run" in outcome.error


def test_a_store_that_cannot_be_reached_leaves_the_error_of_the_run(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("the first error")

    def gone(*_: object) -> None:
        raise ConnectionError("the store is gone as well")

    monkeypatch.setattr(single, "predict", crash)
    monkeypatch.setattr(MlflowClient, "set_terminated", gone)
    with pytest.raises(RuntimeError, match="the first error"):
        single.run(tiny(lab_root, "tracking=mlflow", "base=scratch", "study=null"))
