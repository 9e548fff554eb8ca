"""Whoever waits for a lock says for which process, and how to go on where it was stopped."""

import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from adapterlab.base import cache, locks
from adapterlab.base.errors import AdapterLabError
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.studies.tasks.adopted import alone_with_tasks

pytestmark = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="Linux tells who it is")

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


@pytest.fixture
def theirs(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process, which holds the lock until it is told to end."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-S", "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_wait_names_the_process_and_that_it_was_stopped(
    path: Path,
    theirs: "subprocess.Popen[str]",
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    looks: list[str] = []
    known = locks.holder

    def look(of: Path) -> str:
        """Stop it after two looks, and end it after four."""
        if len(looks) == 2:
            theirs.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, theirs.pid, os.WSTOPPED)
        if len(looks) == 4:
            theirs.kill()
            theirs.wait()
        looks.append(known(of))
        return looks[-1]

    monkeypatch.setattr(locks, "holder", look)
    with caplog.at_level(logging.WARNING), locks.waited_for(path, "the base"):
        assert known(path) == f"process {os.getpid()} of this machine"
    assert caplog.messages[:2] == [
        f"the base: waiting for process {theirs.pid} of this machine",
        f"the base: waiting for process {theirs.pid} of this machine, which is stopped "
        f"(`kill -CONT {theirs.pid}` lets it go on, `kill -KILL {theirs.pid}` ends it)",
    ]


def test_what_was_said_is_not_said_again(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred runs that one command holds are one line."""
    lock = FileLock(path)
    answers = [Timeout(str(path)), Timeout(str(path)), None]

    def acquire(timeout: float) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(lock, "acquire", acquire)
    assert locks.acquire(lock, "a run", locks.ANOTHER) == locks.ANOTHER
    assert not answers
    assert not caplog.messages


def test_a_file_system_without_locks_is_refused_in_a_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    why = "cannot be locked \\(No locks available\\), and two commands would write the same files"
    for take in (
        lambda: locks.waited_for(path, "the store"),
        lambda: cache._held(path),
        lambda: RunFolder(path.parent).lock(wait=False),
        lambda: alone_with_tasks(path.parent, "s"),
    ):
        with pytest.raises(AdapterLabError, match=why), take():
            raise AssertionError


def test_of_a_lock_that_nobody_holds_nothing_is_known(path: Path) -> None:
    assert locks.holder(path) == locks.ANOTHER
    path.touch()
    assert locks.holder(path) == locks.ANOTHER
