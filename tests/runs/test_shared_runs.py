"""Two commands at one study that ask for the same run: one of them trains it, and both have it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.multirun import MULTIRUN_VARIABLE, begin_multirun
from adapterlab.config.schema import Config
from adapterlab.runs import single, state
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.packs.queue import run_queue
from adapterlab.tracking.stores.uris import default_uri
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

Carry = Callable[[Sequence[Config]], list[Any]]

WAYS: dict[str, Carry] = {
    "alone": lambda configs: [single.run(config) for config in configs],
    "pack": run_pack,
    "queue": lambda configs: run_queue(configs, 2),
}


@pytest.fixture(params=WAYS)
def carry_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Carry:
    """Carries runs out, as a multirun that begins now."""
    monkeypatch.setenv(MULTIRUN_VARIABLE, "")
    begin_multirun()
    return WAYS[request.param]


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    return "shared-" + request.node.name.translate(str.maketrans("_[]", "-- ")).strip()


def runs(root: Path, study: str, seeds: int = 3) -> list[Config]:
    fixed = ("tracking=mlflow", "hardware.precision=64-true", "epochs=4", f"study={study}")
    return [tiny(root, *fixed, f"seed={seed}") for seed in range(seeds)]


def statuses(root: Path, study: str) -> list[str]:
    client = MlflowClient(default_uri(root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    found = client.search_runs([experiment], f"tags.study = '{study}' and tags.kind = 'run'")
    return [run.info.status for run in found]


@contextmanager
def held_until_waited_for(config: Config) -> Iterator[None]:
    """Hold a run's folder as another process does, until somebody says that it waits."""
    waited_for, begun = threading.Event(), threading.Event()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "wait" in record.getMessage():
                waited_for.set()

    def hold() -> None:
        with RunFolder.of(config).lock(wait=False):
            begun.set()
            assert waited_for.wait(60)

    logger, handler = logging.getLogger("adapterlab"), Listening()
    level = logger.level
    thread = threading.Thread(target=hold)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        thread.start()
        assert begun.wait(10)
        yield
    finally:
        waited_for.set()
        thread.join()
        logger.setLevel(level)
        logger.removeHandler(handler)


def test_what_another_command_trains_is_waited_for_and_taken(
    lab_root: Path, study: str, carry_out: Carry
) -> None:
    configs = runs(lab_root, study)
    theirs = single.run(configs[1])
    with held_until_waited_for(configs[1]):
        own = carry_out(configs)
    assert [isinstance(one, RunResult) for one in own] == [True] * 3, own
    assert own[1].run_id == theirs.run_id
    assert statuses(lab_root, study) == ["FINISHED"] * 3


def test_what_another_command_left_goes_on(lab_root: Path, study: str, carry_out: Carry) -> None:
    configs = runs(lab_root, study)

    def stop(runs: float) -> None:
        nonlocal done
        done += runs
        if done > 0.6:
            raise KeyboardInterrupt

    done = 0.0
    with pytest.raises(KeyboardInterrupt):
        run_pack(configs[1:2], on_step=stop)
    assert statuses(lab_root, study) == ["KILLED"]
    with held_until_waited_for(configs[1]):
        own = carry_out(configs)
    assert [isinstance(one, RunResult) for one in own] == [True] * 3, own
    assert statuses(lab_root, study) == ["FINISHED"] * 3


def test_what_has_been_finished_meanwhile_is_not_trained_again(
    lab_root: Path, study: str, carry_out: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = runs(lab_root, study, seeds=2)
    theirs = [single.run(config) for config in configs]
    own = carry_out(configs)
    assert [one.run_id for one in own] == [one.run_id for one in theirs]
    # The code has been edited in between.
    with monkeypatch.context() as patch:
        patch.setattr(state, "version_tags", lambda: {"code_hash": "another"})
        again = carry_out(configs[:1])
    assert again[0].run_id != theirs[0].run_id
    # A later command begins anew, as ever.
    time.sleep(0.01)
    begin_multirun()
    assert carry_out(configs[1:])[0].run_id != theirs[1].run_id


def test_one_run_by_itself_does_not_wait(lab_root: Path, study: str) -> None:
    (config,) = runs(lab_root, study, seeds=1)
    with (
        RunFolder.of(config).lock(wait=False),
        pytest.raises(AdapterLabError, match="another process is training this very run"),
    ):
        single.run(config)
