"""A second Ctrl-C ends a process at once, a closed terminal as SIGTERM does; children follow."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterlab.base.end_line import GOES_ON
from adapterlab.base.signals import at_sudden_end, hangups_held, is_ending, listening
from adapterlab.tracking.study_run import status_after

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def program(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


@pytest.fixture(autouse=True)
def _interrupts_arrive() -> Iterator[None]:
    """In the background of a script SIGINT is ignored, by its children too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield  # and a command that a signal has ended leaves SIGINT to end the process
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("then", ["", GOES_ON])
@pytest.mark.parametrize("number", CODES)
def test_the_first_signal_ends_by_an_exception_and_one_line(
    number: signal.Signals, then: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("ignored here, as under nohup, and it stays so")
    before = signal.getsignal(number)
    statuses = []
    with pytest.raises(SystemExit) as stop, listening(then):  # noqa: PT012  # its end is the point
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        except SystemExit as error:
            statuses = [status_after(error), status_after(RuntimeError("a worker died of it"))]
            if number != signal.SIGINT:
                os.kill(os.getpid(), number)  # once more, on the way out
            raise
    assert stop.value.code == CODES[number]
    assert statuses == ["KILLED", "KILLED"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert ("; resume=true goes on from the last epoch" in line) == bool(then)
    if number != signal.SIGINT:
        assert signal.getsignal(number) is before
    assert not is_ending()


@pytest.mark.parametrize("why", [OSError(errno.EIO, "no terminal"), RuntimeError("reentrant call")])
def test_a_signal_ends_a_command_to_which_nobody_listens(
    why: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A closed terminal takes no line, nor does Python while it is writing another one."""

    class Deaf(io.StringIO):
        def write(self, text: str) -> int:
            raise why

    monkeypatch.setattr(sys, "stderr", Deaf())
    with pytest.raises(SystemExit) as stop, listening(GOES_ON):  # noqa: PT012  # its end is the point
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    assert stop.value.code == CODES[signal.SIGTERM]
    assert capfd.readouterr().err.startswith("error: terminated; ")


def test_what_was_ignored_stays_ignored() -> None:
    """As `nohup` starts a command."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_says_how_it_ended_and_takes_its_children_along(tmp_path: Path) -> None:
    """The main thread never comes to it: its way out takes an hour."""
    said = tmp_path / "said"
    process = subprocess.Popen(
        program(
            "import pathlib, subprocess, sys, time",
            "from adapterlab.base.signals import at_sudden_end, listening",
            f"said = pathlib.Path({str(said)!r})",
            "with listening(), at_sudden_end(lambda: said.write_text('KILLED')):",
            "    child = subprocess.Popen(['sleep', '3600'])",
            "    try:",
            "        print(child.pid, flush=True)",
            "        time.sleep(3600)",
            "    finally:",
            "        print('out', flush=True)",
            "        time.sleep(3600)",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "out\n"
    time.sleep(0.2)  # two in less are one: `timeout` signals a process and then its group
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.read_text() == "KILLED"
    assert [line.partition(";")[0] for line in err.splitlines()] == [
        "error: interrupted",
        "error: interrupted twice",
    ]
    assert ended(child)


def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    helper = (
        "import os, signal, time; from adapterlab.base.signals import end_with_parent; "
        "end_with_parent(); print(os.getpid(), flush=True); "
        "signal.signal(signal.SIGTERM, lambda *_: None); time.sleep(3600)"
    )
    process = subprocess.Popen(
        program(
            "import subprocess, sys, time",
            f"child = subprocess.Popen([sys.executable, '-c', {helper!r}])",
            "time.sleep(3600)",
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    assert ended(child), "it did not mind SIGTERM, and was left"


def test_what_is_started_inside_hears_of_no_closed_terminal() -> None:
    held = program(
        "import signal; print(signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    with hangups_held():
        inside = subprocess.run(held, capture_output=True, text=True, check=True).stdout
    after = subprocess.run(held, capture_output=True, text=True, check=True).stdout
    assert (inside, after) == ("True\n", "False\n")


def test_nothing_is_called_after_its_block() -> None:
    from adapterlab.base import signals

    with at_sudden_end(lambda: None):
        assert len(signals._at_sudden_end) == 1
    assert not signals._at_sudden_end


def ended(pid: int) -> bool:
    """Wait for the end of a process that is nobody's child any more."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False
