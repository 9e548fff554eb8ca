"""Processes of submitit's jobs: what they import, and those of this machine."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapterlab.base.errors import AdapterLabError


def import_paths() -> str:
    """Return where a job finds what this process imports, but for what is installed."""
    installed = tuple(str(Path(each).resolve()) for each in (sys.prefix, sys.base_prefix))
    kept = [str(Path(each or ".").resolve()) for each in sys.path]
    return os.pathsep.join(dict.fromkeys(each for each in kept if not each.startswith(installed)))


@contextmanager
def search_path() -> Iterator[None]:
    """Let what is started inside import what this process imports."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = import_paths()
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


@contextmanager
def refusals() -> Iterator[None]:
    """Say in a line why Slurm takes no jobs.

    Raises:
        AdapterLabError: it takes none.
    """
    from submitit.core.utils import FailedJobError

    try:
        yield
    except FailedJobError as error:
        said = " ".join(line.removeprefix("sbatch: error: ") for line in str(error).splitlines())
        raise AdapterLabError(f"Slurm takes no job of these options: {said}") from None


def send_signal(process: int, number: int) -> bool:
    """Send a signal to a process; say whether there is one."""
    try:
        os.kill(process, number)
    except (ProcessLookupError, PermissionError):  # the second: a number that was free again
        return False
    return not _is_a_corpse(process)


def is_controller(process: int) -> bool:
    """Say whether a process is one that submitit has started for a job."""
    import psutil

    try:
        return "submitit.local._local" in psutil.Process(process).cmdline()
    except psutil.Error:
        return False


def _is_a_corpse(process: int) -> bool:
    """Say whether only the entry of a process is left."""
    import psutil

    try:
        return bool(psutil.Process(process).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
