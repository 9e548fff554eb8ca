"""A study on a real Ray and a real Dask of two workers, one of which is killed in the middle.

The clusters are started as people start them, by commands of their own. It takes minutes, so
`make cluster-test` runs it and `make test` does not.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from adapterlab.studies.tasks.records import read_there, records
from cluster_lab import SWEEP, Cluster
from engine_lab import metrics_of, until
from lab import environment

pytestmark = pytest.mark.cluster

EPOCHS = 24
STUDY = (*SWEEP, f"epochs={EPOCHS}")

Options = tuple[str, ...]
Variables = dict[str, str]


@contextmanager
def started(*command: str, variables: Variables, folder: Path) -> Iterator[None]:
    """Run a program of the environment beside, and end it with all that it has started."""
    program = Path(sys.executable).parent / command[0]
    with (folder / f"{command[0]}-{secrets.token_hex(2)}.log").open("w") as log:
        process = subprocess.Popen(
            [program, *command[1:]], cwd=folder, env=environment(folder, **variables),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        _, left = psutil.wait_procs(family, timeout=10)
        for one in left:
            one.kill()


@contextmanager
def ray_cluster(folder: Path) -> Iterator[tuple[Options, Variables]]:
    """Start a Ray of two workers, which asks for a token."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as short,  # names of sockets have an end
        started(
            "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=2",
            "--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--temp-dir={short}",
            "--object-store-memory=200000000", "--disable-usage-stats",
            variables=token, folder=folder,
        ),
    ):  # fmt: skip
        until(lambda: answers(port))
        yield (f"hydra.launcher.address=127.0.0.1:{port}",), token


@contextmanager
def dask_cluster(folder: Path) -> Iterator[tuple[Options, Variables]]:
    """Start a scheduler of Dask and two workers, each under a nanny that replaces it."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[dask]'")
    file = folder / "scheduler.json"
    found = (f"--scheduler-file={file}", "--no-dashboard")
    worker = ("--nworkers=1", "--nthreads=1", "--memory-limit=2GiB", f"--local-directory={folder}")
    with ExitStack() as stack:

        def start(*command: str) -> None:
            stack.enter_context(started("dask", *command, *found, variables={}, folder=folder))

        start("scheduler", "--host=127.0.0.1", "--port=0")
        until(file.is_file)
        for _ in range(2):
            start("worker", *worker)
        address = json.loads(file.read_text())["address"]
        yield (f"hydra.launcher.address='{address}'",), {}


def answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def kill_ray_worker(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def kill_dask_worker(process: int) -> None:
    """Kill the worker that has started a process, which is not told."""
    os.kill(psutil.Process(process).ppid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """The same study on this machine."""
    root = tmp_path_factory.mktemp("here")
    local = Cluster(root, "here", {}).start(*STUDY)
    said, _ = local.communicate(timeout=1200)
    assert local.returncode == 0, said
    return metrics_of(root, "here")


@pytest.mark.parametrize(
    ("engine", "cluster_of", "kill"),
    [("ray", ray_cluster, kill_ray_worker), ("dask", dask_cluster, kill_dask_worker)],
    ids=["ray", "dask"],
)
def test_a_study_outlives_a_worker(
    engine: str,
    cluster_of: Callable[[Path], AbstractContextManager[tuple[Options, Variables]]],
    kill: Callable[[int], None],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    with cluster_of(tmp_path) as (options, variables):
        study = Cluster(tmp_path, "there", variables)
        command = study.start(*STUDY, f"hydra.launcher.engine={engine}", *options)
        killed = study.one_going()
        before = [len(study.points(run)) for run in study.of(killed)]
        there = read_there(study.tasks, killed.id)
        assert there is not None
        kill(int(there.process.split("-")[2]))
        said, _ = command.communicate(timeout=1200)
    assert command.returncode == 0, said
    assert "it goes on in another" in said
    assert len(killed.runs) > 1
    assert len(before) == len(killed.runs)
    assert all(0 < count < EPOCHS for count in before)

    tasks = {record.id: record for record in records(study.tasks)}
    assert {record.state for record in tasks.values()} == {"done"}
    assert {name for name, record in tasks.items() if record.attempts > 1} == {killed.id}
    runs = study.runs()
    assert len(runs) == 24
    assert {run.info.status for run in study.logged()} == {"FINISHED"}
    for run in runs:  # each epoch stands there once: what was interrupted went on
        assert [point.step for point in study.points(run)] == list(range(1, EPOCHS + 1))
    found, reference = metrics_of(tmp_path, "there"), request.getfixturevalue("reference")
    assert len(found) == 24
    assert found.keys() == reference.keys()
    for name, metrics in reference.items():
        assert found[name] == pytest.approx(metrics, rel=1e-8, abs=1e-10)


def test_a_ray_that_asks_for_a_token_says_so(tmp_path: Path) -> None:
    with ray_cluster(tmp_path) as (options, _):
        command = Cluster(tmp_path, "shut", {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64})
        said, _ = command.start("adapter=head", "hydra.launcher.engine=ray", *options).communicate()
    line = said.splitlines()[-1]
    assert line.startswith(f"error: {options[0]}: it asks for a token, and was shown another or ")
    assert not (tmp_path / "mlruns" / "runs").exists()
