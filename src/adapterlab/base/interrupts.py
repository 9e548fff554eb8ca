"""Letting Ctrl-C, SIGTERM and SIGHUP wait for what must not be torn apart."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED, TERMINATED, HUNG_UP, UNREAD = 130, 143, 129, 141
"""Exit codes after Ctrl-C, SIGTERM, SIGHUP and SIGPIPE, as a shell gives them."""

SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
"""What ends a command."""

if hasattr(signal, "SIGHUP"):
    SIGNALS += (signal.SIGHUP,)

HELD = SIGNALS
"""What `undisturbed` holds back: what ends a command, and what warns a task of a cluster."""

if hasattr(signal, "SIGUSR2"):
    HELD += (signal.SIGUSR2,)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back interrupts until the block has ended.

    An exception that a signal handler raises in the middle of a database transaction leaves it
    open, and its lock held, for as long as the exception is on its way; other processes, and what
    this one still has to write, would wait for it in vain.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread only
        return
    held: list[int] = []
    before = {number: signal.getsignal(number) for number in HELD}
    for number in HELD:
        signal.signal(number, lambda number, _: held.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for caught in held[:1]:
            handler = before[signal.Signals(caught)]
            if callable(handler):  # raised once more, it would count as a second signal
                handler(caught, None)
            else:
                signal.raise_signal(caught)
