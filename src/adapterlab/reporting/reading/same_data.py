"""Runs that read one and the same data set from several places: one data set, and its arms.

A colleague's study goes on on another machine, or a file is moved: paths differ, and with them the
name that own data has from its path, and the hash of the arm. What was read is the same where its
hash is (`runs.provenance`), and then seeds of both places are replicates.
"""

from collections.abc import Sequence
from dataclasses import replace

from adapterlab.base.dotted_names import within
from adapterlab.config.own_data import own_name
from adapterlab.reporting.reading.naming import NO_NAMES
from adapterlab.reporting.reading.runs import Run
from adapterlab.reporting.reading.versions import TAGS

PATH, NAME = "dataset.loader.path", "dataset.name"
_PLACES = (PATH, NAME, "base.dataset.loader", "base.dataset.name")
"""Options that say where data lie, of which the hash says what they are: the base's too."""


def in_one_place(runs: Sequence[Run]) -> list[Run]:
    """Return runs, those of data that others have read elsewhere as if they had read it there.

    The place is that of the earliest run. Data sets that a user has named keep their names: two
    names are two data sets.

    Args:
        runs: of a study.
    """
    data = _Data(runs)
    moved = {run.run_id for run in runs if data.moved(run)}
    # Options are compared where that tells anything: a store may have thousands of runs.
    several = {data.first(run).run_id for run in runs if run.run_id in moved}
    computed = {r.run_id: data.computed(r) for r in runs if data.first(r).run_id in several}
    arms: dict[tuple[object, ...], str] = {}
    for run in sorted(runs, key=lambda run: (run.run_id in moved, *_when(run))):
        if run.run_id in computed:
            arms.setdefault(computed[run.run_id], run.arm)
    return [
        _as_at(run, data.first(run), arms[computed[run.run_id]]) if run.run_id in moved else run
        for run in runs
    ]


def _when(run: Run) -> tuple[int, str]:
    return run.started, run.run_id


def _has_name_of_path(run: Run) -> bool:
    path = run.params.get(PATH)
    return path is not None and run.dataset == own_name(path)


class _Data:
    """The runs of each data set: those with one hash, but for other names that a user gave."""

    def __init__(self, runs: Sequence[Run]) -> None:
        # A name that some path gave may have been copied from a report: it is no other name.
        self._of_paths = {run.dataset for run in runs if _has_name_of_path(run)}
        self._first: dict[tuple[str, str], Run] = {}
        for run in sorted(runs, key=_when):
            self._first.setdefault(self._key(run), run)

    def _key(self, run: Run) -> tuple[str, str]:
        known = run.tags.get(TAGS["data"], "")
        if PATH not in run.params or not known:
            return "", run.run_id
        return known, "" if run.dataset in self._of_paths else run.dataset

    def first(self, run: Run) -> Run:
        """Return the earliest run that read the same."""
        return self._first[self._key(run)]

    def moved(self, run: Run) -> bool:
        """Say whether a run read its data elsewhere than the earliest."""
        return run.params.get(PATH) != self.first(run).params.get(PATH)

    def computed(self, run: Run) -> tuple[object, ...]:
        """Return what tells a run's arm, wherever its data lie."""
        options = (
            (key, value)
            for key, value in run.params.items()
            if not within(key, (*NO_NAMES, *_PLACES))
        )
        return (self.first(run).run_id, run.precision, *sorted(options))


def _as_at(run: Run, there: Run, arm: str) -> Run:
    name = {} if NAME not in there.params else {NAME: there.params[NAME]}
    return replace(
        run,
        arm=arm,
        tags={**run.tags, "dataset": there.dataset},
        params={**run.params, PATH: there.params[PATH], **name},
        read_at=run.params[PATH],
    )
