"""What is asked of Slurm itself, by its commands; submitit asks `sacct`, which not all have."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from adapterlab.base.errors import ConfigError

_SECONDS = 60

_ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("TIMEOUT", "REVOKED", "GONE"),
}
"""Words for jobs that are not carried out any more; a preempted one may be requeued."""

_MIB_PER_GIB = 1024


@dataclass(frozen=True)
class State:
    """What Slurm says of a job.

    Attributes:
        word: its own: ``RUNNING``; ``GONE`` for a job that it has forgotten.
        is_open: it waits, is carried out, or may be.
    """

    word: str
    is_open: bool


def require() -> None:
    """Refuse a machine that has no Slurm.

    Raises:
        ConfigError: a command is not there.
    """
    for command in ("sbatch", "srun", "squeue", "scancel"):
        if shutil.which(command) is None:
            raise ConfigError(
                f"hydra.launcher.cluster=slurm: there is no `{command}` on PATH; "
                "cluster=local tries packs out on this machine"
            )


def memory_gib(partition: str | None, threads: int) -> float:
    """Return the memory that a task has by Slurm's default, on the smallest node.

    Args:
        partition: of the task; None for the default one.
        threads: of the task.

    Raises:
        ConfigError: Slurm does not say, or has no such partition.
    """
    command = ["sinfo", "--noheader", "--format=%R|%m|%c"]
    named = [] if partition is None else [f"--partition={partition}"]
    said = _asked([*command, *named]) or ""
    found = re.findall(r"^(.+?)\|(\d+)\+?\|(\d+)", said, re.MULTILINE)
    if not found:
        which = "its default partition" if partition is None else f"partition={partition}"
        raise ConfigError(
            f"hydra.launcher.mem_gb: Slurm does not say how much memory a node of {which} has"
        )
    whole = min(int(mib) for _, mib, _ in found) / _MIB_PER_GIB
    settings = _asked(["scontrol", "show", "config"]) or ""
    for name, times in (("DefMemPerCPU", threads), ("DefMemPerNode", 1)):
        if default := re.search(rf"^{name}\s*=\s*(\d+)$", settings, re.MULTILINE):
            return min(int(default[1]) * times / _MIB_PER_GIB, whole)
    return whole


def states(jobs: Sequence[str]) -> dict[str, State] | None:
    """Return the states of jobs; None if Slurm does not answer.

    Args:
        jobs: their numbers, ``17`` or, of an array, ``17_3``.
    """
    numbers = sorted({job.partition("_")[0] for job in jobs})
    form = "--format=%i|%T"
    command = ["squeue", "--noheader", "--array", "--states=all", form, "--jobs", ",".join(numbers)]
    said = _asked(command, unknown="Invalid job id")
    if said is None:
        return None
    found = dict(re.findall(r"^(\S+)\|(\w+)$", said, re.MULTILINE))
    words = {job: found.get(job, "GONE") for job in jobs}
    return {job: State(word, word not in _ENDED) for job, word in words.items()}


def cancel(job: str) -> None:
    """End a job: SIGTERM first, SIGKILL when its time to end is over."""
    _asked(["scancel", job])


def _asked(command: Sequence[str], *, unknown: str | None = None) -> str | None:
    """Return what a command of Slurm's says; None if it fails.

    Args:
        command: with its arguments.
        unknown: what it says on stderr where it has nothing to say.
    """
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if ended.returncode and unknown is not None and unknown in ended.stderr:
        return ""
    return None if ended.returncode else ended.stdout
