"""Which attempts at one configuration count, where it was run more than once."""

from collections.abc import Sequence
from dataclasses import replace

from adapterlab.reporting.reading.runs import NAMING, Run, Status
from adapterlab.reporting.reading.versions import contradictions, known_of, versions_of


def counted(attempts: Sequence[Run]) -> list[Run]:
    """Return the attempts at one configuration that count, the latest first.

    Of those on the same data, base weights and tokenizer it is the latest that has finished, or
    else the latest. Where a later one on others has finished, an earlier one from the same
    `data_dir` does not count any more: what it read is there no longer. One from another
    `data_dir` does.

    Args:
        attempts: the latest first; at least one.
    """
    order = {run.run_id: number for number, run in enumerate(attempts)}
    versions = sorted(versions_of(attempts), key=lambda version: order[version[0].run_id])
    kept: list[tuple[Run, Run]] = []
    for version in versions:
        best = next((run for run in version if run.status == Status.FINISHED), version[0])
        later = [n for n, (run, _) in enumerate(kept) if _replaces(run, best)]
        if later:
            run, _ = kept[later[-1]]
            changed = contradictions(known_of(best), known_of(run))
            changed = list(dict.fromkeys((*run.replaced, *changed)))
            kept[later[-1]] = replace(run, replaced=tuple(changed)), version[-1]
        else:
            kept.append((best, version[-1]))
    return [_told_first(run, first) for run, first in kept]


def _replaces(later: Run, run: Run) -> bool:
    places = [one.params.get("data_dir", "None") for one in (later, run)]
    return later.status == Status.FINISHED and places[0] == places[1]


def _told_first(run: Run, first: Run) -> Run:
    """Return a run with what its first attempt says of its name, which is to last."""
    told = {key: value for key, value in first.tags.items() if key == NAMING}
    kept = {key: value for key, value in run.tags.items() if key != NAMING}
    return replace(run, started=first.started, tags=kept | told)
