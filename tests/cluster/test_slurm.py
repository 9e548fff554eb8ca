"""A study on a real Slurm of one node, whose jobs are killed, warned, struck and held.

It takes minutes, so `make cluster-test` runs it and `make test` does not.
"""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from adapterlab.studies.tasks.records import read_there, records
from cluster_lab import SWEEP, Cluster
from engine_lab import metrics_of

pytestmark = pytest.mark.cluster

SECONDS = 30
"""Of a pack's training: time enough to do something to it."""

ONE_BY_ONE = f"hydra.launcher.cpus_per_task={os.cpu_count()}"
"""Each task takes the whole node, so that there is always one that has not been yet."""


def epochs_for(root: Path, variables: dict[str, str]) -> int:
    """Return how many epochs a pack trains in `SECONDS` on this machine, as it is now."""
    tried = Cluster(root, "tried", variables)
    command = tried.start("adapter=dora", "seed=0,1,2,3", "epochs=12")
    said, _ = command.communicate(timeout=600)
    assert command.returncode == 0, said
    times = [point.timestamp for point in tried.points(tried.runs()[0])]
    return max(20, round(SECONDS * 1000 * (len(times) - 1) / (max(times) - min(times))))


def test_a_study_outlives_what_happens_to_its_jobs(slurm: dict[str, str], tmp_path: Path) -> None:
    epochs = epochs_for(tmp_path, slurm)
    study = (*SWEEP, f"epochs={epochs}")
    there = (*study, ONE_BY_ONE, "hydra.launcher.engine=submitit", "hydra.launcher.timeout_min=60")
    cluster = Cluster(tmp_path, "there", slurm)
    local = Cluster(tmp_path, "here", slurm).start(*study)
    said, _ = local.communicate(timeout=1800)
    assert local.returncode == 0, said

    command = cluster.start(*there)
    # One is killed.
    killed = cluster.one_going()
    cluster("scancel", str(killed.job))
    cluster.until(lambda: cluster.state(killed) == "stopped", 60)
    assert {run.info.status for run in cluster.of(killed)} == {"KILLED"}

    # One is warned, as before its limit, and Slurm holds what it requeues for two minutes.
    warned = cluster.one_going(killed.id)
    cluster("scancel", "--signal=USR2", str(warned.job))
    cluster.until(lambda: cluster.state(warned) == "stopped", 60)
    assert {run.info.status for run in cluster.of(warned)} == {"KILLED"}
    before = [len(cluster.points(run)) for run in cluster.of(warned)]
    cluster.until(lambda: "PENDING" in cluster("squeue", "-h", "-j", str(warned.job), "-o%T"), 60)
    cluster("scontrol", "update", f"jobid={warned.job}", "starttime=now")

    # The command is killed, and Slurm knows nothing of that; the node takes nothing for a while.
    command.send_signal(signal.SIGKILL)
    command.wait()
    (node,) = re.findall(r"NodeName=(\S+)", cluster("scontrol", "show", "node"))
    cluster("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    again = cluster.start(*there, "resume=true")
    time.sleep(5)
    cluster("scontrol", "update", f"nodename={node}", "state=resume")

    # One dies without a word, as on a node that is lost; what is gone is found by asking Slurm.
    lost = cluster.one_going(killed.id, warned.id)
    process = read_there(cluster.tasks, lost.id)
    assert process is not None
    os.kill(int(process.process.split("-")[2]), signal.SIGKILL)

    # One is struck by its limit. It may requeue itself at its warning, which comes with the end.
    struck = cluster.one_going(lost.id)
    cluster("scontrol", "update", f"jobid={struck.job}", "timelimit=0:01")
    cluster.until(lambda: cluster.state(struck) != "going", 180)
    assert "RUNNING" not in {run.info.status for run in cluster.of(struck)}
    cluster("scontrol", "update", f"jobid={struck.job}", "starttime=now", "timelimit=60")

    said, _ = again.communicate(timeout=1800)
    assert again.returncode == 0, said
    runs = cluster.runs()
    assert len(runs) == 24
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        assert [point.step for point in cluster.points(run)] == list(range(1, epochs + 1))
    assert all(0 < count < epochs for count in before)  # each stands there once: it went on
    for task in (killed, warned):  # what a starting command finds gone, it plans anew
        went = read_there(cluster.tasks, task.id)
        assert went is not None
        assert went.attempts > 1
    found, reference = metrics_of(tmp_path, "there"), metrics_of(tmp_path, "here")
    assert len(found) == 24
    assert found.keys() == reference.keys()
    for name, metrics in reference.items():
        assert found[name] == pytest.approx(metrics, rel=1e-8, abs=1e-10)


def test_a_base_is_made_before_what_nobody_waits_for(slurm: dict[str, str], tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "alone", slurm)
    study = ("adapter=lora,full", "seed=0,1", "pack=never", "epochs=2", "base.seed=5")
    there = (*study, "hydra.launcher.engine=submitit", "hydra.launcher.mem_gb=1")
    left = cluster.start(*there, "hydra.launcher.wait=false")
    said, _ = left.communicate(timeout=300)
    assert left.returncode == 0, said
    assert "made once for 4 tasks: the base, trained on digits, by a task of its own" in said
    first, *others = records(cluster.tasks)
    assert not first.runs
    again = cluster.start(*there, "resume=true")
    said, _ = again.communicate(timeout=600)
    assert again.returncode == 0, said
    began = [read_there(cluster.tasks, record.id) for record in (first, *others)]
    assert len(began) == 5
    assert all(one is not None and one.state == "done" for one in began)
    times = [one.began for one in began if one is not None]
    made = read_there(cluster.tasks, first.id)
    assert made is not None
    assert all(made.at <= time for time in times[1:])
    assert {run.info.status for run in cluster.runs()} == {"FINISHED"}
