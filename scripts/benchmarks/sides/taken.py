"""What a side of a benchmark takes of CPU and memory inside, told to who has started it.

Loads next to nothing, so that a process that is timed as a whole pays nothing for it. What a
process of its own takes as a whole is seen from outside (`benching.processes`).
"""

import json
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOLD = "ADAPTERLAB_BENCH_TOLD"
"""The variable that names the file for what a process tells."""

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_told: dict[str, float] = {}
_telling: list[int] = []


def begin() -> None:
    """Let this process tell; those that it starts tell nothing."""
    _telling[:] = [os.getpid()]


def cpu() -> float:
    """Return the CPU seconds, user and system, of this process and of children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mib() -> float:
    """Return the most that has been resident since `forget_peak`; 0 where that is not known."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def forget_peak() -> None:
    """Count the peak of memory anew, keeping what it was for the whole process."""
    tell(whole_mib=max(_told.get("whole_mib", 0.0), peak_mib()))
    try:
        _CLEAR.write_text("5")  # proc(5): the peak of the resident set, since Linux 4.0
    except OSError:
        return


@contextmanager
def training() -> Iterator[None]:
    """Count what is in the block as training; of several blocks, the sum and the highest peak."""
    torch = _torch_on_gpu()
    if torch is not None:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    forget_peak()
    before, start = cpu(), time.perf_counter()
    try:
        yield
    finally:
        torch = _torch_on_gpu()
        if torch is not None:
            torch.cuda.synchronize()
        used, seconds = cpu() - before, time.perf_counter() - start
        peak = peak_mib() if torch is None else torch.cuda.max_memory_allocated() / 2**20
        tell(
            training_cpu=_told.get("training_cpu", 0.0) + used,
            training_wall=_told.get("training_wall", 0.0) + seconds,
            training_mib=max(_told.get("training_mib", 0.0), peak),
        )


def tell(**values: float) -> None:
    """Write figures down at once: a program may end without a word."""
    place = os.environ.get(TOLD)
    if place is None or _telling != [os.getpid()]:
        return
    _told.update(values)
    Path(place).write_text(json.dumps(_told))


def _torch_on_gpu() -> Any:
    """Return torch where it computes on a GPU; None where it is not even loaded."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None
