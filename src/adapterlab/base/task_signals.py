"""How a task of a cluster ends by signals, in a process that is not this program's own."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from adapterlab.base.interrupts import HELD, TERMINATED
from adapterlab.base.signals import _state  # whether a process is ending is asked of one place


@contextmanager
def stopped_by_signals() -> Iterator[list[signal.Signals]]:
    """End what is inside by SIGTERM, SIGHUP or a warning of SIGUSR2, as an exception, once.

    For a task in a process of a cluster's: its runs are marked on the way out. Handlers are what
    they were afterwards. In another thread than the main one signals are not heard.

    Yields:
        The signals that have been heard: none, or one.

    Raises:
        SystemExit: a signal has been heard.
    """
    heard: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    numbers = [number for number in HELD if number != signal.SIGINT]
    before = {number: signal.getsignal(number) for number in numbers}

    def stop(number: int, _: FrameType | None) -> None:
        if not heard:
            heard.append(signal.Signals(number))
            _state.update(ending=True, code=TERMINATED)
            sys.exit(TERMINATED)

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield heard
        # Its exception may have been lost where Python can raise none, or in a library.
        if heard:
            sys.exit(TERMINATED)
    except Exception:
        if heard:
            sys.exit(TERMINATED)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            _state.update(ending=False)
