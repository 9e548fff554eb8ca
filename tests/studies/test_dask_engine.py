"""Packs as tasks of Dask: on a cluster of worker processes, and on one in this process."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from adapterlab.base.errors import ConfigError
from adapterlab.studies.engines import Work
from adapterlab.studies.launching.options import launching
from engine_lab import a_cancelled_task_marks_its_runs, a_study_survives_a_worker
from lab import Outcome

distributed = pytest.importorskip(
    "distributed", reason="Dask is not installed: pip install '.[dask]'"
)


@pytest.fixture
def address() -> Iterator[str]:
    """A cluster that runs: two workers, each a process under a nanny."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        silence_logs="CRITICAL", memory_limit="2GiB",
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address


def kill_worker(process: int) -> None:
    """Kill the worker that has started a process, which is not told."""
    os.kill(psutil.Process(process).ppid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_study_survives_a_worker(
    address: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    place = launching({"engine": "dask", "address": address}).place()
    assert place is not None
    assert (place.memory_gib, place.cores, place.gpu, place.tasks) == (2.0, 1, False, 2)
    with pytest.raises(ConfigError, match=r"how much memory the GPU has.*node\.memory_gib=40 does"):
        launching({"engine": "dask", "address": address, "node": {"gpu": True}}).place()
    options = ("hydra.launcher.engine=dask", f"hydra.launcher.address='{address}'")
    a_study_survives_a_worker(tmp_path, run_cli, *options, kill=kill_worker)


def test_a_cancelled_task_marks_its_runs(tmp_path: Path) -> None:
    chosen = launching({"engine": "dask", "processes": 1})
    place = chosen.place()
    assert place is not None
    assert place.tasks == 1
    engine = chosen.start(Work(tmp_path / "tasks", "endless"))
    a_cancelled_task_marks_its_runs(engine, tmp_path, tmp_path / "tasks")


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.processes=2 is of a cluster that"):
        launching({"engine": "dask", "address": "tcp://127.0.0.1:1", "processes": 2})
    with pytest.raises(ConfigError, match="wait=false: tasks of engine=dask end with their"):
        launching({"engine": "dask", "wait": False})
    for address in ("tcp://127.0.0.1:1", "nowhere://here"):
        nobody = launching({"engine": "dask", "address": address})
        with pytest.raises(ConfigError, match=f"address={address}: no scheduler of Dask answers"):
            nobody.place()
