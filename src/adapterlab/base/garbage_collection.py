"""Keeping Python from looking for garbage where there is next to none."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


def collect_seldom() -> None:
    """Look for garbage seldom: among all that is imported and stays, a search takes long.

    At its end, Python would look three times.
    """
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    gc.set_threshold(50_000, *gc.get_threshold()[1:])


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Do so for as long as a command takes."""
    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
