"""Streams that were closed, or whose reader goes, fail nothing."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from adapterlab.base.interrupts import UNREAD

SPEAKS = (
    "import sys",
    "from adapterlab.base.streams import open_streams, outlive_readers",
    "open_streams(); outlive_readers()",
    "print('begun', sys.stdout.isatty(), flush=True)",
    "open(sys.argv[1]).read()",  # a pipe: until what reads is gone
    "print('to nobody', file=sys.stderr); print('nor this', flush=True); print('or this')",
    "open(sys.argv[2], 'w').write('went on')",
)


def spoken(tmp_path: Path, **streams: int) -> subprocess.Popen[bytes]:
    os.mkfifo(tmp_path / "gone")
    source = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(SPEAKS), tmp_path / "gone", tmp_path / "end"],
        env=os.environ | {"PYTHONPATH": source, "PYTHONUNBUFFERED": ""},  # or a line comes in parts
        start_new_session=True,
        **streams,
    )


def test_a_terminal_that_was_closed_takes_nothing_along(tmp_path: Path) -> None:
    outer, inner = pty.openpty()
    process = spoken(tmp_path, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    assert os.read(outer, 100).startswith(b"begun True")
    os.close(outer)
    (tmp_path / "gone").write_text("")
    assert process.wait(60) == 0
    assert (tmp_path / "end").read_text() == "went on"


@pytest.mark.parametrize("unread", ["stdout", "stderr"])
def test_a_pipe_that_nobody_reads_ends_what_is_printed(unread: str, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    others = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL} | {unread: writes}
    process = spoken(tmp_path, stdin=subprocess.DEVNULL, **others)
    os.close(writes)
    assert os.read(reads, 100) == b"begun False\n" if unread == "stdout" else True
    os.close(reads)
    (tmp_path / "gone").write_text("")
    assert process.wait(60) == (UNREAD if unread == "stdout" else 0)
    assert (tmp_path / "end").exists() == (unread == "stderr")


def test_streams_that_were_closed_are_there_and_keep_their_numbers(tmp_path: Path) -> None:
    told = tmp_path / "told"
    lines = (
        "import os, sys",
        "from adapterlab.app import cli",
        "numbers = [sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()]",
        "cli.set_up_output(); print('to nobody'); print('nor this', file=sys.stderr)",
        "open(sys.argv[1], 'w').write(f'{numbers} {[os.get_inheritable(one) for one in numbers]}')",
    )
    code = "\n".join(lines)
    source = os.pathsep.join(path for path in sys.path if path)
    closed = ["sh", "-c", 'exec "$0" -c "$1" "$2" <&- >&- 2>&-', sys.executable, code, told]
    subprocess.run(closed, env=os.environ | {"PYTHONPATH": source}, check=True, timeout=60)
    assert told.read_text() == "[0, 1, 2] [True, True, True]"


@pytest.mark.parametrize("at_once", ["", "1"])
def test_lines_are_written_at_once_where_python_was_told_to(at_once: str) -> None:
    lines = (
        "import os",
        "from adapterlab.base.streams import outlive_readers",
        "outlive_readers(); print('printed'); os.write(1, b'written\\n')",
    )
    source = os.pathsep.join(path for path in sys.path if path)
    found = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env=os.environ | {"PYTHONPATH": source, "PYTHONUNBUFFERED": at_once},
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    )
    assert found.stdout.split() == (
        [b"printed", b"written"] if at_once else [b"written", b"printed"]
    )
