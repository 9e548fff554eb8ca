"""A store that was moved or copied with the files of its runs: where these are from then on.

MLflow writes the place of an experiment's files down when the experiment is made, as an absolute
URI. After ``mv A B`` new files would be written into A again, and old ones not be found.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from adapterlab.tracking.stores import sqlite_files
from adapterlab.tracking.stores.uris import sqlite_file

log = logging.getLogger(__name__)

BESIDE_STORE = "adapterlab.artifacts"
"""Tag of an experiment whose files lie beside its store; its value is the place."""

ELSEWHERE = "elsewhere"
"""The tag's value where the files lie anywhere else, because that was asked for."""

_COLUMNS = (
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""What names a place beside experiments and runs: models that were logged or registered."""

_DEEPEST = 3
"""Parts of a path that a place of files may lie below the folder that was moved."""


@dataclass(frozen=True)
class _Place:
    """Where an experiment's files are said to be, and where they are if they came along.

    Attributes:
        experiment: its id.
        said: the URI or the folder, as MLflow has it.
        there: the same as a folder.
        here: where it is if it was moved with the store.
        store: where the store was then.
        mark: what the experiment's tag says of it; None of an older version's.
    """

    experiment: int
    said: str
    there: Path
    here: Path
    store: Path
    mark: str | None

    @property
    def new(self) -> str:
        """What MLflow should have in place of `said`."""
        return self.here.as_uri() if self.said.startswith("file:") else str(self.here)

    @property
    def by_default(self) -> bool:
        """Whether it was beside the store, and nobody's choice."""
        if self.mark is not None:
            return self.mark == self.said
        usual = self.store.parts[-2:] == ("mlruns", "mlflow.db")
        return usual and self.there == self.store.parent / "artifacts"

    def inside(self, uri: str) -> str | None:
        """Return what follows the place in the URI of a run's files; None if it is elsewhere."""
        start = self.said.rstrip("/") + "/"
        return uri.removeprefix(start) if uri.startswith(start) else None


def follow_files(file: Path, named: Path) -> None:
    """Correct the places of files in a store that was moved or copied, and say so.

    Nothing is changed for an experiment whose files lie elsewhere on purpose. A run whose files
    were left behind keeps its place.

    Args:
        file: of the store, links followed; it is whole, and its lock is held.
        named: the same file as it was named.
    """
    try:
        with closing(sqlite_files.connected(file)) as store:
            moved = list(_moved(store, file, named))
            if not moved:
                return
            store.execute("BEGIN IMMEDIATE")
            left = sum(_corrected(store, place) for place in moved)
            store.execute("COMMIT")
    except sqlite3.Error as error:
        log.warning(
            "%s was moved or copied, and the places of its runs' files cannot be corrected: %s",
            file, error,
        )  # fmt: skip
        return
    for place in {place.there: place for place in moved}.values():
        log.warning(
            "%s was moved or copied here: files of runs are in %s from now on, not in %s",
            file, place.here, place.there,
        )  # fmt: skip
    if left:
        log.warning("runs whose files are in the old place still, and are kept there: %d", left)


def beside_store(uri: str, location: str | None) -> dict[str, str]:
    """Return the tag of a new experiment that says whether its files lie beside a sqlite store.

    Args:
        uri: of the store.
        location: where the experiment keeps its files; None where a server knows.
    """
    file, there = sqlite_file(uri), _folder(location)
    if file is None or location is None:
        return {}
    beside = there is not None and there.resolve().parent == file.parent
    return {BESIDE_STORE: location if beside else ELSEWHERE}


def _moved(store: sqlite3.Connection, file: Path, named: Path) -> Iterator[_Place]:
    """Yield the experiments whose files came along with the store."""
    marks = store.execute(
        "SELECT experiment_id, value FROM experiment_tags WHERE key = ?", (BESIDE_STORE,)
    )
    mark = dict(marks.fetchall())
    rows = store.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
    for experiment, said in rows:
        there = _folder(said)
        if there is None or there.resolve().is_relative_to(file.parent):
            continue
        runs = _runs(store, experiment)
        for here, before in _candidates(there, file, named):
            place = _Place(experiment, said, there, here, before, mark.get(experiment))
            if _came_along(place, file, runs):
                yield place
                break


def _candidates(there: Path, file: Path, named: Path) -> Iterator[tuple[Path, Path]]:
    """Yield where files may be now, and where the store was then.

    They lie as deep below the folder that was moved as they did.
    """
    for store in dict.fromkeys((named, file)):
        for anchor in (store.parent, store.parent.parent):
            for depth in range(1, min(_DEEPEST, len(there.parts) - 1) + 1):
                home, inside = Path(*there.parts[:-depth]), Path(*there.parts[-depth:])
                yield anchor / inside, home / store.relative_to(anchor)


def _came_along(place: _Place, file: Path, runs: list[str]) -> bool:
    """Say whether an experiment's files are with the store, rather than where they were.

    A folder of the same name proves nothing, and a copy that somebody keeps neither.
    """
    if place.store.exists() and place.store.samefile(file):
        return False
    names = [name for uri in runs if (name := place.inside(uri)) is not None]
    if any((place.here / name).is_dir() for name in names):
        return place.by_default or place.store.exists() or not place.there.exists()
    beside = place.by_default and place.here.resolve().parent == file.parent
    return beside and (place.mark is not None or not place.store.parent.exists())


def _corrected(store: sqlite3.Connection, place: _Place) -> int:
    """Correct what names an experiment's place; return how many runs keep their files there."""
    new = place.new
    store.execute(
        "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
        (new, place.experiment),
    )
    store.execute(
        "UPDATE experiment_tags SET value = ? WHERE experiment_id = ? AND key = ?",
        (new, place.experiment, BESIDE_STORE),
    )
    left = 0
    for uri in _runs(store, place.experiment):
        name = place.inside(uri)
        if name is None:
            continue
        if (place.there / name).exists() and not (place.here / name).exists():
            left += 1
            continue
        store.execute(
            "UPDATE runs SET artifact_uri = ? WHERE artifact_uri = ?", (f"{new}/{name}", uri)
        )
    known = sqlite_files.tables(store)
    for table, column in _COLUMNS:
        if table not in known:
            continue
        found = store.execute(f'SELECT DISTINCT "{column}" FROM "{table}"').fetchall()
        for (uri,) in found:
            name = place.inside(uri or "")
            if name is not None and (place.here / name).exists():
                store.execute(
                    f'UPDATE "{table}" SET "{column}" = ? WHERE "{column}" = ?',
                    (f"{new}/{name}", uri),
                )
    return left


def _runs(store: sqlite3.Connection, experiment: int) -> list[str]:
    """Return where the files of an experiment's runs are said to be."""
    rows = store.execute("SELECT artifact_uri FROM runs WHERE experiment_id = ?", (experiment,))
    return [str(uri) for (uri,) in rows if uri]


def _folder(said: str | None) -> Path | None:
    """Return the folder that a place of files names; None if it is on no disk of this machine."""
    if said is None:
        return None
    if said.startswith("/"):
        return Path(said)
    parts = urlsplit(said)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path:
        return None
    return Path(unquote(parts.path))
