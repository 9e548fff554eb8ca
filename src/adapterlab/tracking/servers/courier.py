"""A thread that brings to an MLflow server what runs report, so that no training waits for it.

A server that is away is asked again until it answers; lines wait in the runs' folders meanwhile.
What it takes from one run does not depend on what it says to another.
"""

import logging
import threading
import time
from typing import Any

from adapterlab.tracking.servers.delivery import deliver
from adapterlab.tracking.servers.errors import Trouble, briefly, refused, trouble
from adapterlab.tracking.servers.journal import Journal, SendingState

log = logging.getLogger(__name__)

AGAIN_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""After which a server that is away is asked again; the last of them from then on."""

BARRED_SECONDS = 60.0
"""After which a server is asked again that wants other credentials for a run."""

STALLED_SECONDS = 300.0
"""Without a line taken, after which a run's end is not waited for any longer, whatever is said."""


class Courier:
    """Delivers journals to one server until each is closed.

    Args:
        client: an MLflow client that the thread has for itself.
        uri: of the server, as people read it.
    """

    def __init__(self, client: Any, uri: str) -> None:
        self.client, self.uri = client, uri
        self._changed = threading.Condition()
        self._journals: list[Journal] = []
        self._away: str | None = None
        self._taken = 0
        self._told = False
        self._thread: threading.Thread | None = None

    def add(self, journal: Journal) -> None:
        """Deliver a journal's lines from now on."""
        with self._changed:
            self._journals.append(journal)

    def notify(self) -> None:
        """Look at the journals: one has a new line."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="courier")
                self._thread.start()
            self._changed.notify_all()

    def close(self, journal: Journal, patience: float) -> str | None:
        """Wait until MLflow has all of a journal, and let go of it.

        Args:
            journal: in which nothing is written any more.
            patience: seconds to wait for a server that is away.

        Returns:
            None if MLflow has all; else why not, in a line.

        Raises:
            RunRefusedError: MLflow does not take it, and never will.
        """
        self.notify()
        why: str | None = None
        try:
            why = self._wait(journal, patience)
        finally:  # an interrupt may end the waiting
            with self._changed:
                self._journals.remove(journal)
            if journal.sending.refused is not None:
                journal.drop()
            complete = journal.close()
        if journal.sending.refused is not None:
            raise journal.sending.refused
        return None if complete else why or "it was not waited for"

    def tell_kept(self, journal: Journal, why: str) -> None:
        """Say that a run has ended of which MLflow has not got all.

        Of all that end before the server answers again, one is named: who has started them counts
        what is kept.
        """
        with self._changed:
            told, self._told = self._told, True
        log.log(
            logging.DEBUG if told else logging.WARNING,
            "%s: MLflow has not got all of it (%s); the rest is kept in %s",
            journal.address.name, why, journal.folder,
        )  # fmt: skip

    def _wait(self, journal: Journal, patience: float) -> str | None:
        state = journal.sending
        with self._changed:
            begun, taken = time.monotonic(), self._taken
            while journal.is_waiting and state.refused is None:
                if self._taken != taken:
                    begun, taken = time.monotonic(), self._taken
                waited, why = time.monotonic() - begun, state.why or self._away
                if why is not None and (waited >= patience or not state.waiting_helps):
                    return why
                if waited >= STALLED_SECONDS:
                    return f"it took nothing for {STALLED_SECONDS:.0f} s"
                self._changed.wait(0.2)
        return None

    def _work(self) -> None:
        while True:
            with self._changed:
                while (journal := self._next()) is None:
                    self._changed.wait(self._idle())
            self._deliver(journal)

    def _next(self) -> Journal | None:
        now = time.monotonic()
        return next((one for one in self._waiting() if one.sending.again_at <= now), None)

    def _idle(self) -> float | None:
        """Return the seconds until a server that was away is to be asked again."""
        times = [one.sending.again_at for one in self._waiting()]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _waiting(self) -> list[Journal]:
        return [one for one in self._journals if one.sending.refused is None and one.is_waiting]

    def _deliver(self, journal: Journal) -> None:
        def took(count: int) -> None:
            journal.took(count)
            with self._changed:
                self._taken += count
                self._back(journal.sending)

        address = journal.address
        try:
            deliver(
                self.client,
                address.run_id,
                address.parent,
                journal.folder,
                journal.waiting(),
                took,
            )
        except Exception as error:  # whatever it is, the thread has other runs to serve
            with self._changed:
                self._failed(journal, error)

    def _back(self, state: SendingState) -> None:
        if self._away is not None:
            log.warning("%s answers again", self.uri)
        self._away, self._told = None, False
        state.why, state.waiting_helps, state.failed = None, True, 0
        self._changed.notify_all()

    def _failed(self, journal: Journal, error: Exception) -> None:
        state, kind = journal.sending, trouble(error)
        pause = AGAIN_SECONDS[min(state.failed, len(AGAIN_SECONDS) - 1)]
        state.why, state.failed = briefly(error), state.failed + 1
        if kind is Trouble.AWAY:
            if self._away is None:
                log.warning(
                    "%s does not answer; what runs report is kept on disk meanwhile", self.uri
                )
            self._away = state.why
        elif kind is Trouble.BARRED:
            state.waiting_helps, pause = False, BARRED_SECONDS
        else:
            state.refused = refused(error, journal.address.run_id)
        state.again_at = time.monotonic() + pause
        self._changed.notify_all()
