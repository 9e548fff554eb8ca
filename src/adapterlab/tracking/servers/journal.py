"""What a run has reported and its MLflow server has not taken yet: lines in the run's folder.

A line is written before anything is sent, so neither a server that is away nor a killed process
loses any. Sending a line twice changes nothing: metrics carry the time at which they were
reported, and parameters, tags and files are what they were.
"""

import json
import os
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapterlab.base.files import write_bytes

NAME = "undelivered.jsonl"
"""The file, in the run's folder; not there when MLflow has all."""

left: list[Path] = []
"""Folders of this process's runs that have ended, and of which MLflow has not taken all."""

Entry = dict[str, Any]


@dataclass
class SendingState:
    """What has come of sending a journal's lines.

    Attributes:
        why: they could not be sent, in a line; None if they could.
        waiting_helps: whether the server may take them by itself; False if it wants other
            credentials.
        failed: attempts in a row.
        again_at: when to try again, on the monotonic clock.
        refused: why they are never taken; None otherwise.
    """

    why: str | None = None
    waiting_helps: bool = True
    failed: int = 0
    again_at: float = 0.0
    refused: Exception | None = None


@dataclass(frozen=True)
class Address:
    """Where the lines of a journal belong.

    Attributes:
        run_id: of the MLflow run.
        uri: of its tracking server, without a password.
        name: of the run.
        parent: the run of its study, if the run is to end that too.
    """

    run_id: str
    uri: str
    name: str
    parent: str | None = None


class Journal:
    """Writes and forgets the lines of one run. The lock of the run's folder is held meanwhile.

    Attributes:
        sending: what has come of sending them.

    Args:
        folder: of the run.
        address: where the lines belong. Lines that an earlier process left for another run are
            dropped.
    """

    def __init__(self, folder: Path, address: Address) -> None:
        self.folder, self.address, self.sending = folder, address, SendingState()
        self._lock = threading.Lock()
        before = read(folder)
        known = before is not None and before[0].run_id == address.run_id
        lines = before[1] if before is not None and known else []
        # It goes on: an end that an earlier process came to is none any more.
        self._pending = deque(line for line in lines if line["what"] != "end")
        folder.mkdir(parents=True, exist_ok=True)
        head = (json.dumps(asdict(address)) + "\n").encode()
        self._empty = len(head)
        # In place of the one that was there at once: a process that is killed here loses no line.
        write_bytes(folder / NAME, head + b"".join(map(_line, self._pending)))
        self._file = (folder / NAME).open("r+b")
        self._file.seek(0, os.SEEK_END)

    def write(self, entry: Entry) -> None:
        """Add a line.

        Raises:
            OSError: the disk does not take it.
        """
        with self._lock:
            self._file.write(_line(entry))
            self._file.flush()
            self._pending.append(entry)

    def waiting(self) -> list[Entry]:
        """Return the lines that MLflow has not taken, in their order."""
        with self._lock:
            return list(self._pending)

    @property
    def is_waiting(self) -> bool:
        """Whether there are lines that MLflow has not taken."""
        return bool(self._pending)

    def took(self, count: int) -> None:
        """Forget the first lines: MLflow has them."""
        with self._lock:
            for _ in range(count):
                self._pending.popleft()
            if not self._pending and not self._file.closed:
                self._file.seek(self._empty)
                self._file.truncate()

    def close(self) -> bool:
        """Write no more; say whether MLflow has all. The file goes then, and stays otherwise."""
        with self._lock:
            self._file.close()
            if not self._pending:
                (self.folder / NAME).unlink(missing_ok=True)
            return not self._pending

    def drop(self) -> None:
        """Forget all lines: there is no run that they belong to any more."""
        self.took(len(self.waiting()))


def read(folder: Path) -> tuple[Address, list[Entry]] | None:
    """Return what lies undelivered in a run's folder; None if nothing does.

    What a process that was killed had not written to the end of its line is left out.
    """
    try:
        lines = (folder / NAME).read_bytes().splitlines()
    except OSError:
        return None
    entries: list[Any] = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    try:
        return Address(**entries[0]), entries[1:]
    except (IndexError, TypeError):
        return None


def is_there(folder: Path) -> bool:
    """Say whether a run's folder has something that MLflow has not taken."""
    return (folder / NAME).is_file()


def take_left() -> list[Path]:
    """Return the folders of `left` of which MLflow has still not taken all, and forget them."""
    kept = [path for path in left if is_there(path)]
    left.clear()
    return kept


def remove(folder: Path) -> None:
    """Forget what lies undelivered in a run's folder."""
    (folder / NAME).unlink(missing_ok=True)


def folders(mlruns: Path, studies: Collection[str] | None = None) -> Iterator[Path]:
    """Yield the run folders that have undelivered lines.

    Args:
        mlruns: the folder that everything is written under.
        studies: only of these; None for all.
    """
    for study in sorted((mlruns / "runs").iterdir()) if (mlruns / "runs").is_dir() else ():
        if studies is None or study.name in studies:
            yield from sorted(path.parent for path in study.glob(f"*/{NAME}"))


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry) + "\n").encode()
