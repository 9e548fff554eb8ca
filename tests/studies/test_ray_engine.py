"""Packs as tasks of Ray: on a cluster that is started for them, and on one that runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapterlab.base.errors import ConfigError
from adapterlab.studies.engines import Work
from adapterlab.studies.launching.options import launching
from engine_lab import a_cancelled_task_marks_its_runs, a_study_survives_a_worker
from lab import Outcome

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_study_survives_a_worker(
    tmp_path: Path, run_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    options = ("hydra.launcher.engine=ray", "hydra.launcher.processes=2")
    a_study_survives_a_worker(tmp_path, run_cli, *options)
    assert not ray.is_initialized()  # the cluster has ended with the study
    assert not list(home.iterdir())


@pytest.fixture
def address() -> Iterator[str]:
    """A cluster of one worker that runs, to which this process is connected."""
    ray.init(
        address="local", num_cpus=1, include_dashboard=False, object_store_memory=2 * 10**8,
        log_to_driver=False, logging_level="ERROR",
    )  # fmt: skip
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def test_a_cancelled_task_marks_its_runs(address: str, tmp_path: Path) -> None:
    chosen = launching({"engine": "ray", "address": address})
    place = chosen.place()
    assert place is not None
    assert (place.cores, place.gpu, place.tasks) == (1, False, 1)
    assert 0 < place.memory_gib < 4096
    engine = chosen.start(Work(tmp_path / "tasks", "endless"))
    a_cancelled_task_marks_its_runs(engine, tmp_path, tmp_path / "tasks")
    assert ray.is_initialized()  # it was not the engine's own
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1: this process is connected to Ray at"):
        launching({"engine": "ray", "address": "127.0.0.1:1"}).place()

    with pytest.raises(ConfigError, match=r"no node of Ray has 64 CPUs .* have: 1 CPUs, 0 GPUs$"):
        launching({"engine": "ray", "address": address, "cpus_per_task": 64}).place()
    gpu = {"engine": "ray", "address": address, "gpus_per_node": 1}
    with pytest.raises(ConfigError, match=r"node\.memory_gib=40 does$"):
        launching(gpu).place()
    with pytest.raises(ConfigError, match="no node of Ray has 1 CPUs and a GPU for a task"):
        launching(gpu | {"node": {"memory_gib": 40.0}}).place()


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.processes=2 is of a cluster that"):
        launching({"engine": "ray", "address": "auto", "processes": 2})
    with pytest.raises(ConfigError, match="wait=false: tasks of engine=ray end with their command"):
        launching({"engine": "ray", "wait": False})
    nobody = launching({"engine": "ray", "address": "127.0.0.1:1"})
    with pytest.raises(ConfigError, match=r"address=127\.0\.0\.1:1: nobody answers there"):
        nobody.place()
