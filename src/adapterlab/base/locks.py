"""Locks of files that are waited for: whoever waits says for which process, and how to go on.

A wait has no limit, for what is waited for may take days. A process that was stopped (SIGSTOP, a
debugger, Ctrl-Z) holds its locks for ever, and one that waits would be silent for as long.
"""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from adapterlab.base.errors import AdapterLabError

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds after which it is said what is waited for, and between two looks at who holds it."""

ANOTHER = "another process"
"""Is all that is known of one of another machine or container."""

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
"""What the system says where a file system keeps no locks; where it has no call, it is made do."""

_LOCKS = Path("/proc/locks")


@contextmanager
def waited_for(path: Path, what: str) -> Iterator[None]:
    """Hold a lock that ends with its process; what another holds for long is said.

    Args:
        path: of the file that is locked.
        what: is waited for, in words that a line begins with.
    """
    lock = FileLock(path)
    acquire(lock, what)
    try:
        yield
    finally:
        lock.release()


def try_lock(lock: FileLock) -> None:
    """Take a lock that nobody holds.

    Raises:
        Timeout: somebody does.
        AdapterLabError: there are no locks on its file system.
    """
    with _lockable(lock):
        lock.acquire(timeout=0)


def acquire(lock: FileLock, what: str, said: str | None = None) -> str | None:
    """Wait for a lock; say who holds it, and again when that is another, was stopped or goes on.

    Args:
        lock: is held afterwards.
        what: is waited for, in words that a line begins with.
        said: of the holder, before.

    Returns:
        What has been said of the holder last.

    Raises:
        AdapterLabError: there are no locks on its file system.
    """
    while True:
        try:
            with _lockable(lock):
                lock.acquire(timeout=PATIENCE)
        except Timeout:
            if (now := holder(Path(lock.lock_file))) != said:
                log.warning("%s: waiting for %s", what, now)
                said = now
        else:
            return said


@contextmanager
def _lockable(lock: FileLock) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise AdapterLabError(
            f"{lock.lock_file} cannot be locked ({error.strerror}), and two commands would write "
            "the same files: its file system must be mounted with locks (for NFS without `nolock`, "
            "for Lustre with `flock`), or root be on another"
        ) from None


def holder(path: Path) -> str:
    """Say who holds a lock, as far as this machine knows; else `ANOTHER`."""
    number = _holder(path)
    return ANOTHER if number is None else process_here(number)


def process_here(number: int) -> str:
    """Name a process of this machine; of one that was stopped, say how to go on."""
    if is_stopped(number):
        on = f"`kill -CONT {number}` lets it go on, `kill -KILL {number}` ends it"
        return f"process {number} of this machine, which is stopped ({on})"
    return f"process {number} of this machine"


def is_stopped(number: int) -> bool:
    """Say whether a process of this machine was stopped, and does nothing until it is let go on."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] in ("T", "t")


def _holder(path: Path) -> int | None:
    """Return the process that holds a lock; None if it is unknown, or of another container."""
    try:
        of, lines = path.stat(), _LOCKS.read_text().splitlines()
    except OSError:  # not Linux, or not to be read
        return None
    file = f"{os.major(of.st_dev):02x}:{os.minor(of.st_dev):02x}:{of.st_ino}"
    for line in lines:
        _, *fields = line.split()
        # One that waits in the system has an arrow there; one of another container the number 0.
        if len(fields) > 4 and fields[0] == "FLOCK" and fields[4] == file and int(fields[3]) > 0:
            return int(fields[3])
    return None
