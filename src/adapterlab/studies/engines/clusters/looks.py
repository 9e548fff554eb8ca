"""Looks at tasks that may fail: a disk of others is away for a moment, a cluster does not answer.

A thread looks. An error that ended it would leave the command waiting for ever, without a word.
"""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from adapterlab.base.errors import RunLostError, with_type
from adapterlab.studies.tasks.sent import Sent

log = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds for which a task may not be looked at; then it is lost, and goes on in another."""


class Looks:
    """What has come of looking at tasks.

    Args:
        words: what carries them out, for people.
    """

    def __init__(self, words: str) -> None:
        self._words = words
        self._failing: dict[Future[list[Any]], float] = {}

    @contextmanager
    def at(self, sent: Sent) -> Iterator[None]:
        """Look at a task inside the block, which may raise: it is looked at again."""
        try:
            yield
        except Exception as error:
            self._failed(sent, error)
        else:
            self._failing.pop(sent.future, None)

    def _failed(self, sent: Sent, error: Exception) -> None:
        now = time.monotonic()
        if not self._failing:
            log.warning("%s: a task cannot be looked at now: %s", self._words, with_type(error))
        if now - self._failing.setdefault(sent.future, now) >= PATIENCE:
            lose(sent, f"{self._words}: it cannot be looked at: {with_type(error)}")


def lose(sent: Sent, why: str) -> None:
    """Give a task up that nothing is known of; what has come of it before stays."""
    future = sent.future
    if not future.done() and (future.running() or future.set_running_or_notify_cancel()):
        future.set_exception(RunLostError(why))
