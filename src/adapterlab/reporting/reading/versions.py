"""Runs of one configuration on other data, base weights or tokenizers: told apart, never averaged.

What a run computed on stands in its tags (`runs.provenance`). What is not known of a run, as
of one from before it was recorded, contradicts nothing.
"""

from collections.abc import Iterable, Mapping, Sequence

from adapterlab.base.dotted_names import within
from adapterlab.reporting.reading.runs import Run

TAGS = {"data": "data_hash", "base weights": "weights_hash", "tokenizer": "tokenizer_hash"}
"""The tags that say what a run computed on, by what a person would call it."""

SHORT = {"data": "data", "base weights": "weights", "tokenizer": "tokenizer"}
"""How each is called in an arm's name."""

DECIDE = {
    "data": ("dataset.loader", "dataset.shape", "dataset.classes", "base.kind", "base.dataset"),
    "base weights": ("dataset", "model", "base", "limit", "hardware.precision"),
    "tokenizer": ("dataset", "model", "base", "limit"),
}
"""Options that decide which each of them should be; runs that share these should share it."""

DRAWN = ("dataset.validation_seed", "base.dataset.validation_seed")
"""The cut: a base that is trained here, and a vocabulary made here, are of the rows it leaves."""

Known = dict[tuple[str, int], str]
"""Hashes by what they are of; but for the data, what is made here may differ from cut to cut."""


def known_of(run: Run) -> Known:
    """Return what is known of what a run computed on."""
    return {
        (what, 0 if what == "data" else run.replicate.cut): run.tags[tag]
        for what, tag in TAGS.items()
        if run.tags.get(tag)
    }


def versions_of(runs: Sequence[Run]) -> list[list[Run]]:
    """Group runs of one configuration by what they computed on, the earliest group first.

    A run of which not all is known joins the largest group that it does not contradict.

    Args:
        runs: in any order; they keep it within a group.
    """
    groups: list[tuple[Known, list[Run]]] = []
    for run in sorted(runs, key=lambda run: (-len(known_of(run)), run.started, run.run_id)):
        known = known_of(run)
        fitting = [group for group in groups if not contradictions(group[0], known)]
        if fitting:
            group = max(fitting, key=lambda group: len(group[1]))
            group[0].update(known)
            group[1].append(run)
        else:
            groups.append((known, [run]))
    place = {id(run): number for number, run in enumerate(runs)}
    ordered = sorted(groups, key=lambda group: min((run.started, run.run_id) for run in group[1]))
    return [sorted(group, key=lambda run: place[id(run)]) for _, group in ordered]


def contradictions(one: Mapping[tuple[str, int], str], other: Known) -> list[str]:
    """Return what two runs are known to have computed on otherwise."""
    found = [key[0] for key, value in other.items() if one.get(key, value) != value]
    return list(dict.fromkeys(found))


def deviations(versions: Iterable[Sequence[Run]]) -> list[dict[str, str]]:
    """Return of each group of runs in what it is not of the study's version, and in which it is.

    The study's version is that of the first run whose options should give the same.

    Args:
        versions: of all arms, each of runs that share what they computed on.
    """
    groups = list(versions)
    first: dict[tuple[object, ...], str] = {}
    runs = [run for group in groups for run in group if run.params]
    for run in sorted(runs, key=lambda run: (run.started, run.run_id)):
        for key, value in known_of(run).items():
            first.setdefault(_should_share(run, key), value)
    found = []
    for group in groups:
        other: dict[str, str] = {}
        for run in group:
            if run.params:
                for key, value in known_of(run).items():
                    if first[_should_share(run, key)] != value:
                        other.setdefault(key[0], value)
        found.append(other)
    return found


def _should_share(run: Run, key: tuple[str, int]) -> tuple[object, ...]:
    options = (
        (name, value)
        for name, value in run.params.items()
        if name not in DRAWN and within(name, DECIDE[key[0]])
    )
    return (*key, run.dataset, *sorted(options))
