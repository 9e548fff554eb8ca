"""What a run reports to: an MLflow run, by itself or by way of a journal; or nothing."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from adapterlab.base.interrupts import undisturbed
from adapterlab.tracking.servers import delivery
from adapterlab.tracking.servers.courier import Courier
from adapterlab.tracking.servers.errors import Trouble, refused, trouble
from adapterlab.tracking.servers.journal import Entry, Journal, left
from adapterlab.tracking.stores.at_once import at_once

NOTHING: Mapping[str, Any] = {}

HELD, LAST_HELD = 1.0, 30.0
"""Seconds for which a store waits for epochs that take less, and for the last one, which comes with
the test's metrics. Each call commits to the disk twice: 0.03 s of a lane that may train in less.
"""


class Tracker:
    """Takes what a run reports. This one keeps nothing: `tracking=none`, the folder is enough."""

    run_id: str | None = None

    def log(
        self,
        *,
        params: Mapping[str, Any] = NOTHING,
        tags: Mapping[str, str] = NOTHING,
        metrics: Mapping[str, float] = NOTHING,
        step: int = 0,
        last: bool = False,
    ) -> None:
        """Log a configuration (flattened), tags, and metrics of an epoch or final ones.

        Args:
            params: the configuration.
            tags: of the run.
            metrics: of an epoch or, at step 0, of the run.
            step: the epoch.
            last: it is the last epoch, so that the run's own metrics come soon.
        """
        held = LAST_HELD if last else HELD
        is_epoch = step > 0 and not params and not tags
        self._take(delivery.logged(_now(), step, params, tags, metrics), held if is_epoch else 0.0)

    def data(self, name: str, digest: str) -> None:
        """Name the data set that the run reads, and the hash of what is in it."""
        self._take(delivery.data(name, digest))

    def flush(self) -> None:
        """Let nothing that was reported wait for more."""

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file with the run, or all that is in a folder."""

    def end(self, status: str, error: str | None = None, *, patience: float = 0.0) -> None:
        """End the run; nothing is logged after that.

        Args:
            status: FINISHED, FAILED or KILLED.
            error: what it failed by, in a line.
            patience: seconds for which a server is waited for that is away.
        """

    def _take(self, entry: Entry, held: float = 0.0) -> None:
        """Keep what is reported; an epoch that took less may wait so many seconds for more."""


class MLflowTracker(Tracker):
    """Writes to one MLflow run of a store on this machine.

    Epochs that take less than `HELD` are written together, with their own times, and a last one
    with what comes after it; what a process that is killed had not written is in the run's history.
    Its methods raise `RunRefusedError` where the store does not know the run any more.

    Args:
        client: an MLflow client.
        run_id: the run.
        parent: the run of its study, if this one is to end that too.
    """

    def __init__(self, client: Any, run_id: str, parent: str | None = None) -> None:
        self.client = client
        self.run_id: str = run_id
        self.parent = parent
        self._waiting: list[Entry] = []
        self._reported = self._wrote = time.monotonic()

    def flush(self) -> None:
        """Write what waits."""
        with self._calling():
            self._send()

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all that is in a folder, to the run's artifacts."""
        log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        with self._calling():
            self._send()
            log(self.run_id, str(path), folder)

    def end(self, status: str, error: str | None = None, *, patience: float = 0.0) -> None:
        """Set the run's status, and that of its study if it is to end with it."""
        with self._calling():
            try:
                self._send()
            except Exception:  # it may be what the run has failed by
                if status == "FINISHED":
                    raise
            ended = (self.client, self.run_id, self.parent, status, error, _now())
            at_once(self.client, partial(delivery.end_run, *ended))

    def _take(self, entry: Entry, held: float = 0.0) -> None:
        self._waiting.append(entry)
        now = time.monotonic()
        # What comes next takes as long as what came last, more or less.
        waits = max(now - self._reported, now - self._wrote) < held
        self._reported = now
        if not waits:
            with self._calling():
                self._send()

    def _send(self) -> None:
        """Write what waits; what the store does not take now waits on, until the run's end."""
        entries = list(self._waiting)
        if entries:
            at_once(self.client, partial(self._send_all, entries))
            del self._waiting[: len(entries)]
        self._wrote = time.monotonic()

    def _send_all(self, entries: Sequence[Entry]) -> None:
        for _, group in groupby(entries, key=itemgetter("what")):
            delivery.send(self.client, self.run_id, list(group))

    @contextmanager
    def _calling(self) -> Iterator[None]:
        with undisturbed():
            try:
                yield
            except Exception as error:
                if trouble(error) is not Trouble.GONE:
                    raise
                raise refused(error, self.run_id) from None


class JournalTracker(Tracker):
    """Writes to a journal, which a courier brings to a server: no call waits for that.

    Its methods raise `RunRefusedError` where MLflow has not taken what was written before, and
    never will.

    Args:
        courier: of the server.
        journal: of the run.
    """

    def __init__(self, courier: Courier, journal: Journal) -> None:
        self.courier, self.journal = courier, journal
        self.run_id: str = journal.address.run_id
        courier.add(journal)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Write down where a file is, or a folder of files; it is read when it is sent."""
        self._take(delivery.file(path, folder, self.journal.folder))

    def end(self, status: str, error: str | None = None, *, patience: float = 0.0) -> None:
        """Write the end, and wait until MLflow has all, but for a server that is away no longer.

        What it does not have then stays in the run's folder.
        """
        gone = self.journal.sending.refused
        if gone is None:
            self.journal.write(delivery.end(status, error, _now()))
        if (why := self.courier.close(self.journal, patience)) is not None:
            left.append(self.journal.folder)
            self.courier.tell_kept(self.journal, why)

    def _take(self, entry: Entry, held: float = 0.0) -> None:
        if self.journal.sending.refused is not None:
            raise self.journal.sending.refused
        self.journal.write(entry)
        self.courier.notify()


def _now() -> int:
    """Return the milliseconds that MLflow counts."""
    return int(time.time() * 1000)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys: ``{"optimizer.lr": 0.001}``.

    A mapping whose keys are patterns (``layers.*``), which MLflow does not take, stays a value.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and all(name.isidentifier() for name in value):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
