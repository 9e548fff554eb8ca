"""A study read back: its runs grouped into arms, and what of it can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapterlab.base.dotted_names import within
from adapterlab.reporting.reading.naming import NO_NAMES, methods_of, names_of
from adapterlab.reporting.reading.runs import Replicate, Run, Status
from adapterlab.reporting.reading.stored import read_runs
from adapterlab.reporting.reading.versions import deviations, versions_of

__all__ = [
    "NO_NAMES",
    "Arm",
    "Replicate",
    "Run",
    "Status",
    "arms_of",
    "read_runs",
    "same_examples",
    "within",
]

TEST_EXAMPLES = "data/test_examples"


@dataclass(frozen=True)
class Arm:
    """Runs that differ in their replicates only; an arm has at least one run, finished or not.

    Attributes:
        name: see `naming`.
        runs: those that have finished, in the order of their replicates; may be empty.
        lost: the latest attempt of every configuration that never finished.
        missing: replicates that another arm of the data set has, and that were not tried here.
        method: the name without what tells data sets and models apart; empty means the name.
        apart: what its runs computed on that is not the study's, by what it is of: a hash.
    """

    name: str
    runs: tuple[Run, ...]
    lost: tuple[Run, ...] = ()
    missing: tuple[Replicate, ...] = ()
    method: str = ""
    apart: Mapping[str, str] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        """How many of its runs have been started."""
        return len(self.runs) + len(self.lost)

    @property
    def first(self) -> Run:
        """Any of its runs, for what they share; one that has finished, if there is one."""
        return _telling([*self.runs, *self.lost])[0]

    @property
    def replicates(self) -> tuple[Replicate, ...]:
        """What the draws of its finished runs come from."""
        return tuple(run.replicate for run in self.runs)

    def values(self, metric: str) -> tuple[float, ...]:
        """Return a metric of every finished run that has it."""
        return tuple(run.metrics[metric] for run in self.runs if metric in run.metrics)

    def count(self, status: Status) -> int:
        """Return how many of its runs have come to this."""
        return sum(run.status is status for run in (*self.runs, *self.lost))


def arms_of(runs: Sequence[Run]) -> list[Arm]:
    """Group runs into arms, and name them.

    Runs of one configuration on other data, base weights or tokenizers are arms of their own.

    Args:
        runs: of a study, as `read_runs` returns them. Of two with one replicate, which older
            stores may have, the later counts.
    """
    by_arm: dict[str, list[Run]] = {}
    for run in runs:
        by_arm.setdefault(run.arm, []).append(run)
    groups: dict[str, dict[Replicate, Run]] = {}
    for arm, own in by_arm.items():
        for number, version in enumerate(versions_of(own)):
            groups[f"{arm} {number}" if number else arm] = _latest(version)
    apart = dict(zip(groups, deviations([[*g.values()] for g in groups.values()]), strict=True))
    names = names_of({arm: list(group.values()) for arm, group in groups.items()}, apart)
    # Of an arm some runs of which were killed before they were logged, as of `Arm.first`.
    data_sets = {arm: _telling([*g.values()])[0].dataset for arm, g in groups.items()}
    methods = methods_of(names, data_sets)
    tried: dict[str, set[Replicate]] = {}
    for group in groups.values():
        for run in group.values():
            tried.setdefault(run.dataset, set()).add(run.replicate)
    arms = []
    for arm, group in groups.items():
        ordered = [group[replicate] for replicate in sorted(group)]
        others = tried[ordered[0].dataset] - set(group)
        arms.append(
            Arm(
                name=str(names[arm]),
                runs=tuple(run for run in ordered if run.status is Status.FINISHED),
                lost=tuple(run for run in ordered if run.status is not Status.FINISHED),
                missing=tuple(sorted(others)),
                method=methods[arm],
                apart=apart[arm],
            )
        )
    return arms


def _latest(runs: Sequence[Run]) -> dict[Replicate, Run]:
    """Return one run of each replicate, the latest that has finished."""
    group: dict[Replicate, Run] = {}
    for run in runs:
        known = group.get(run.replicate)
        if known is None or _rank(run) > _rank(known):
            group[run.replicate] = run
    return group


def _rank(run: Run) -> tuple[bool, int]:
    """Order runs of one replicate: one that has finished counts, of several the latest."""
    return run.status is Status.FINISHED, run.started


def _telling(runs: Sequence[Run]) -> list[Run]:
    """Return runs, those first that had time to log what they are."""
    return sorted(runs, key=lambda run: not run.params)


def same_examples(a: Run, b: Run) -> str:
    """Say why two runs were not tested on the same examples; empty if they were.

    Runs from before test examples were hashed count as tested on the same ones unless the options
    of their data sets or their limits differ; their predictions tell the labels.
    """
    if a.dataset != b.dataset:
        return f"another data set: {a.dataset}, {b.dataset}"
    if a.test_hash and b.test_hash:
        if a.test_hash == b.test_hash:
            return ""
        sizes = [_size(run) for run in (a, b)]
        if None in sizes:
            return "other test examples"
        if sizes[0] == sizes[1]:
            return f"other test examples, {sizes[0]} each"
        return f"other test examples: {sizes[0]} and {sizes[1]}"
    if not (a.params and b.params):  # killed before they were logged
        return ""
    limits = [_test_limit(run.params) for run in (a, b)]
    if limits[0] != limits[1]:
        return f"other test examples: limit.test {limits[0]} and {limits[1]}"
    for key in sorted({*a.params, *b.params}):
        if within(key, ("dataset.loader", "dataset.shape", "dataset.classes")):
            mine, yours = a.params.get(key), b.params.get(key)
            if mine != yours:
                return f"other test examples: {key} {mine} and {yours}"
    return ""


def _size(run: Run) -> int | None:
    size = run.metrics.get(TEST_EXAMPLES)
    return None if size is None else int(size)


def _test_limit(params: Mapping[str, str]) -> str:
    """Return the most test examples that a run uses, as it was told."""
    return params.get("limit.test", params.get("limit", "None"))
