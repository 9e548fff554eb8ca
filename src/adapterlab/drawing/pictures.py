"""Who draws the pictures of a run: this process, one beside it while this one computes, or nobody.

matplotlib is loaded by whoever draws.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterlab.base.workers import submit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MakeFigure = Callable[[], "Figure"]
"""Makes a figure; a function of a module and its arguments, if another process is to call it."""


class Pictures:
    """The pictures of one run, drawn as they are asked for."""

    are_drawn = True
    """Whether there will be any."""

    def draw(self, make: MakeFigure, path: Path) -> None:
        """Draw a figure, and write it as PNG.

        Raises:
            OSError: the file cannot be written.
        """
        paint(make, path)

    def drawn(self) -> bool:
        """Say whether `wait` would find nothing left to do."""
        return True

    def wait(self) -> None:
        """Return when all pictures that were asked for are written."""


class NoPictures(Pictures):
    """No pictures: what they are drawn from is in the run's other files."""

    are_drawn = False

    def draw(self, make: MakeFigure, path: Path) -> None:
        """Leave the figure out."""


class PicturesBeside(Pictures):
    """The pictures of one run, drawn by a process beside this one.

    The process serves all runs. If it dies, what it has not drawn is drawn here.
    """

    def __init__(self) -> None:
        self._asked: list[tuple[Any, MakeFigure, Path]] = []

    def draw(self, make: MakeFigure, path: Path) -> None:
        """Have a figure drawn."""
        self._asked.append((submit(paint, make, path), make, path))

    def drawn(self) -> bool:
        """Say whether `wait` would find nothing left to do."""
        return all(future is not None and future.done() for future, _, _ in self._asked)

    def wait(self) -> None:
        """Return when all pictures that were asked for are written.

        Those that the other process has not begun are drawn here.

        Raises:
            OSError: a file cannot be written.
        """
        from concurrent.futures.process import BrokenProcessPool

        later = []
        for future, make, path in self._asked:
            if future is None or future.cancel():
                paint(make, path)
            else:
                later.append((future, make, path))
        for future, make, path in later:
            try:
                future.result()
            except BrokenProcessPool:
                paint(make, path)
        self._asked = []


def paint(make: MakeFigure, path: Path) -> None:
    """Make a figure and write it as PNG."""
    from adapterlab.drawing.canvas import save

    save(make(), path)


def get_ready() -> None:
    """Have the process beside load what it needs to draw while this one does other things."""
    submit(_load)


def _load() -> None:
    """Load what drawing needs."""
    import adapterlab.drawing.figures
    import adapterlab.drawing.mistakes  # noqa: F401
