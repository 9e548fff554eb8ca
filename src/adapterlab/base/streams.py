"""stdin, stdout and stderr that are there, whoever started this process and whoever has left it.

A command may be started without them (``>&-``, some services), and outlive its terminal
(``disown``). What it has to say is then for nobody, and no reason to fail a run.
"""

import contextlib
import errno
import io
import os
import sys
from typing import Any

from adapterlab.base.interrupts import UNREAD

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_streams() -> None:
    """Have those that were closed lead to nowhere.

    Python has None in their place, which libraries write to; and the next file that is opened, a
    checkpoint say, has the number at which libraries in C leave their warnings.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115  # it stays
            if stream.fileno() == number:  # unless another file was opened before
                os.set_inheritable(number, True)
            setattr(sys, name, stream)


def outlive_readers() -> None:
    """Have what is printed to a terminal that was closed lead to nowhere from then on.

    Where nobody reads what is piped any more, as after ``| head``, stdout ends this process, with
    the code that others have then, and stderr leads to nowhere.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and _number(stream) == number:
            stream.flush()
            lasting: Any = _Lasting(number, "w", closefd=False)
            # By PYTHONUNBUFFERED, as in containers, nothing waits to be written.
            at_once = isinstance(stream.buffer, io.RawIOBase)
            replaced = io.TextIOWrapper(
                lasting if at_once else io.BufferedWriter(lasting),
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, replaced)


def tell(line: str) -> None:
    """Print a line to stderr, wherever this process is and whether or not somebody reads it.

    A closed terminal takes nothing any more, nor does a pipe that nobody reads; and a signal may
    have come while Python was writing to stderr, which it does not do twice at once.
    """
    try:
        print(line, file=sys.stderr)
    except Exception:  # whatever it is, something else ends this process
        with contextlib.suppress(OSError):
            os.write(2, f"{line}\n".encode())


class _Lasting(io.FileIO):
    """A stream whose reader may go."""

    def write(self, data: Any, /) -> int:
        """Write what there is a reader for.

        Raises:
            SystemExit: there is none for what was piped.
        """
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EPIPE):
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if error.errno == errno.EPIPE and self.fileno() == 1:
                sys.exit(UNREAD)
            return len(data)


def _number(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None
