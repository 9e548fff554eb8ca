"""Which process carries out a run, written down so that others can tell when it is gone."""

import hashlib
import os
import re
import socket
from functools import cache
from pathlib import Path

PROCESS_TAG = "process"
"""Of an MLflow run: the process that carries it out, or did so last."""

DIED = "its process has died"
"""What is said of a run that nobody carries out any more."""

_MACHINE = Path("/etc/machine-id")

_FORM = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})-(\d+)-(\d+)")


def this_process() -> str:
    """Return what tells this process from all others: host, boot, process id, start."""
    return f"{_hosts()[0]}-{_boot()}-{os.getpid()}-{_started(os.getpid())}"


def is_gone(process: str | None) -> bool:
    """Say whether a process has ended for certain.

    False where it cannot be known: of another machine, another container, or from before the tag.

    Args:
        process: as `this_process` wrote it there.
    """
    if process is None or (found := _FORM.fullmatch(process)) is None:
        return False
    host, boot, number, start = found[1], found[2], int(found[3]), int(found[4])
    return host in _hosts() and boot == _boot() and _started(number) != start


def is_elsewhere(process: str | None) -> bool:
    """Say whether a process belongs to another host; its files may be here all the same."""
    found = _FORM.fullmatch(process or "")
    return found is not None and found[1] not in _hosts()


def may_be_at_work(process: str | None) -> bool:
    """Say whether another process may be carrying out what it has written its name on.

    One that goes on here is, and of one of another host nothing is known. What a process of this
    host wrote before it ended, before a restart or before there was the tag, may be taken up by
    who holds its lock.
    """
    return is_elsewhere(process) or number_here(process) not in (None, os.getpid())


def host_of(process: str | None) -> str | None:
    """Return 8 hex digits that stand for a process's host; None if they are not known."""
    found = _FORM.fullmatch(process or "")
    return None if found is None else found[1]


def number_here(process: str | None) -> int | None:
    """Return the id of a process of this host, boot and container that goes on; None of others."""
    found = _FORM.fullmatch(process or "")
    if found is None or found[1] not in _hosts() or found[2] != _boot() or is_gone(process):
        return None
    return int(found[3])


@cache
def _hosts() -> tuple[str, ...]:
    """Return 8 hex digits for this host; then those that earlier versions had for it.

    Machines that are called alike, as rented ones are, have numbers of their own.
    """
    name = socket.gethostname()
    try:
        number = _MACHINE.read_text().strip()
    except (OSError, ValueError):  # not Linux, or a small container
        number = ""
    return _digits(f"{name}\n{number}" if number else name), _digits(name)


@cache
def _boot() -> str:
    """Return 8 hex digits for what process ids count in: a boot of the host, and a container."""
    parts = []
    for path in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text().strip())
        except OSError:  # not Linux
            parts.append("")
    return _digits("\n".join(parts))


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _started(number: int) -> int | None:
    """Return when a process started, in the system's own count; None if it is not there."""
    try:
        # Of a process that has ended and that nobody has asked after, only the entry is left.
        state, *fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        if Path("/proc/self/stat").exists():
            return None
    import psutil

    try:
        return int(psutil.Process(number).create_time())
    except psutil.Error:
        return None
