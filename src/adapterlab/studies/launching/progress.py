"""How far a study has come: runs done, lanes in flight, time left."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tqdm.auto import tqdm

from adapterlab.base.amounts import duration
from adapterlab.base.output import OF_ONE_RUN

log = logging.getLogger(__name__)

_LINES, _SECONDS = 10, 10.0
"""Where there is no terminal, a line for every tenth of a study, and none sooner than that."""

_ALL = 1 - 1e-6  # a sum of many small shares


class StudyProgress:
    """A bar over all runs of a study on a terminal; elsewhere a line now and then.

    Args:
        name: of the study.
        total: its runs.
        before: how many of them had ended before.
    """

    def __init__(self, name: str, total: int, *, before: int = 0) -> None:
        self.total, self.done, self.in_flight = total, before, 0
        self._moved = self._untrained = float(before)
        self._start = time.perf_counter()
        self._said, self._said_at = 0.0, self._start
        self._bar = tqdm(
            total=total,
            initial=before,
            desc=name,
            leave=False,
            disable=None,
            smoothing=0,  # the pace since the start, of what is trained here
            bar_format="{desc}: {percentage:3.0f}%|{bar}|{postfix} [{elapsed}, {remaining} left]",
        )
        self._show()

    def begin(self, lanes: int) -> None:
        """Say that runs have started."""
        self.in_flight += lanes
        self._show()

    def move(self, runs: float) -> None:
        """Say that so many runs' worth of training has been done."""
        self._moved = min(self._moved + runs, self.total)
        self._bar.update(max(self._moved - self._bar.n, 0))
        share, now = self._moved / self.total, time.perf_counter()
        if not self._bar.disable or share - self._said < 1 / _LINES:
            return
        if share < _ALL and now - self._said_at >= _SECONDS:
            self._said, self._said_at = share, now
            trained = self._moved - self._untrained
            left = (now - self._start) * (self.total - self._moved) / trained
            log.info("%s, about %s left", self._counts(), duration(left))

    def end(self, lanes: int, *, failed: int = 0) -> None:
        """Say that a pack has ended.

        Args:
            lanes: that were in flight in it.
            failed: how many of them failed; what these did not train is no measure of the pace.
        """
        self.in_flight -= lanes
        self.done += lanes
        jump = max(self.done - self._moved, 0.0)
        self._untrained += min(jump, failed)
        self._bar.initial = self._untrained
        self._moved += jump
        self._bar.update(max(self._moved - self._bar.n, 0))
        self._show()

    def writing(self) -> AbstractContextManager[None]:
        """Return a context in which lines may be printed."""
        return tqdm.external_write_mode()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def _show(self) -> None:
        self._bar.set_postfix_str(f" {self._counts()}")

    def _counts(self) -> str:
        lanes = f", {self.in_flight} in flight" if self.in_flight else ""
        return f"{self.done} of {self.total} runs done{lanes}"


@contextmanager
def quiet() -> Iterator[None]:
    """Leave the story of single runs out; what goes wrong is still said."""
    loggers = [logging.getLogger(name) for name in OF_ONE_RUN]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
