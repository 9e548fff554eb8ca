"""Machines that make the same and have no part in this one's disk, as the cache sees them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol


class Others(Protocol):
    """What others have made may be had from them, and they may have what is made here.

    Neither raises: where something is in the way, a line says so, and each makes its own.
    """

    def bring(self, path: Path, require: Callable[[Path], None]) -> bool:
        """Put what others have made of a file in its place; say whether they had it.

        Args:
            path: of the file, whose lock is held; its stem ends with a digest of all that it
                depends on.
            require: called with a file that is not in its place yet.

        Raises:
            DataError: it is not to be used.
        """

    def give(self, path: Path) -> None:
        """Let others have a file that was made here."""


_OTHERS: ContextVar[Others | None] = ContextVar("others", default=None)


@contextmanager
def shared_with(others: Others) -> Iterator[None]:
    """Share with others what may be shared and is made meanwhile, by this thread."""
    before = _OTHERS.set(others)
    try:
        yield
    finally:
        _OTHERS.reset(before)


def others_there() -> Others | None:
    """Return with whom this thread shares; None for nobody."""
    return _OTHERS.get()
