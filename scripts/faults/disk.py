"""A disk that fills up at every write of a run, alone and packed; it resumes with more room.

Runs lie on a small file system in memory, whose size decides which write finds it full; to mount
one takes the rights of root on Linux.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults import results, warm
from faults.trying import TINY, Setting, Trial

COUNT = 40

PACK = ("-m", "hydra/launcher=packed", "adapter.rank=1,2,4")

_KINDS: dict[str, tuple[str, ...]] = {"alone": (), "in a pack": PACK}


def tries(setting: Setting) -> Iterator[Trial]:
    """Give half of the trials to runs alone, half to packs; each finds the disk full elsewhere."""
    for kind, options in _KINDS.items():
        fault = f"disk full, {kind}"
        arguments = (*options, *TINY, "study=full", "resume=true")
        folder = setting.root(f"{kind} whole".replace(" ", "-"))
        with _disk(folder, 2**28) as root:
            ended = warm.command(root, *arguments)
            whole, needed = results.metrics(root), _used(folder)
        if ended.code or not whole:
            yield Trial(fault, False, f"the run that is to fail ended with {ended}")
            continue
        trials = setting.count // 2
        for number in range(trials):
            # From a disk that has no room for the first file to one that lacks some bytes.
            size = int(needed * (number + setting.rng.random()) / trials)
            place = setting.root(f"{kind}-{number}".replace(" ", "-"))
            with _disk(place, size) as root:
                yield Trial(fault, *_tried(root, place, arguments, whole, size))


def _tried(
    root: Path, place: Path, arguments: tuple[str, ...], whole: results.Metrics, size: int
) -> tuple[bool, str]:
    """Run on a disk of a size, make room, resume; say whether all that must hold held."""
    where = f"with {size:,} bytes, python src/train.py {' '.join(arguments)}"
    ended = warm.command(root, *arguments)
    if ended.code == 0 and results.same(results.metrics(root), whole):
        return True, "one line names the file and the disk, FAILED, exit 1; it resumes"
    wrong = ended.complaint or (f"exit {ended.code}" if ended.code != 1 else None)
    if wrong is None and " is full" not in ended.err:
        wrong = f"the disk is not named: {ended.err.strip().splitlines()[-1:]}"
    if wrong is None and (left := results.left_running(root)):
        wrong = f"{left} left RUNNING"
    if wrong is None and (parts := results.parts(root)):
        wrong = f"{parts[0].name} is left"
    if wrong is None and (broken := results.broken_files(root)):
        wrong = f"{broken[0]} is damaged"
    subprocess.run(["mount", "-o", "remount,size=256m", str(place)], check=True)
    again = warm.command(root, *arguments)
    if wrong is None and again.code:
        wrong = f"resuming ended with {again.code}: {again.err.strip().splitlines()[-1:]}"
    if wrong is None and not results.same(results.metrics(root), whole):
        wrong = "the resumed run ends elsewhere"
    if wrong is None:
        return True, "one line names the file and the disk, FAILED, exit 1; it resumes"
    return False, f"{where}: {wrong}"


@contextmanager
def _disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a file system in memory; yield a folder on it for a root."""
    options = f"size={max(size, 4096)}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        root = folder / "root"
        root.mkdir()
        yield root
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _used(folder: Path) -> int:
    stat = os.statvfs(folder)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize
