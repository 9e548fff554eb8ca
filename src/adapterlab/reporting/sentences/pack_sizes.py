"""What arms' seconds hang on besides the arms: the sizes of packs, and who computed a prefix."""

from collections.abc import Sequence
from statistics import fmean

from adapterlab.base.amounts import duration
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.formatting import listed
from adapterlab.reporting.reading.study import Run

LANE_SECONDS = "cost/lane_seconds"
ALONE, PREFIX = "cost/train_seconds", "cost/prefix_seconds"

_MUCH = 0.05
"""Share of a run's seconds from which on it is said that a prefix makes it."""

_PACK_SIZE = "pack_size"
"""A run's tag: how many lanes its pack had."""


def unlike_packs(arms: Sequence[ArmFindings]) -> dict[str, list[str]]:
    """Return the arms by the lanes of the packs that their runs were in; nothing if all are alike.

    Args:
        arms: any; those without seconds in a pack are left out.

    Returns:
        Names of arms by sizes in words, ``2 and 8``, the smaller packs first.
    """
    by_sizes: dict[tuple[int, ...], list[str]] = {}
    for arm in arms:
        sizes = {run.tags.get(_PACK_SIZE, "") for run in arm.arm.runs}
        if arm.figure(LANE_SECONDS) is not None and all(size.isdigit() for size in sizes):
            by_sizes.setdefault((*sorted(map(int, sizes)),), []).append(arm.name)
    if len(by_sizes) < 2:
        return {}
    return {listed([str(n) for n in sizes]): names for sizes, names in sorted(by_sizes.items())}


def on_pack_sizes(findings: Findings) -> list[str]:
    """Say where arms' seconds in a pack are of packs of unlike sizes.

    What the lanes of a pack share, such as the frozen base, is divided among them, so that the
    same run has fewer seconds in a larger pack (`docs/benchmarks.md`).
    """
    found = unlike_packs(findings.arms)
    if not found:
        return []
    said = "; ".join(f"{listed(names)} in packs of {sizes}" for sizes, names in found.items())
    return [
        f"seconds in a pack are less in a larger one, and these do not compare over arms: {said}"
    ]


def on_prefixes(findings: Findings) -> list[str]:
    """Say whose seconds have a frozen prefix in them that others have found ready.

    It is computed once, by the run that comes first, be it of whichever arm.
    """
    computed = {arm.name: _with_prefix(arm, "computed") for arm in findings.arms}
    computed = {name: runs for name, runs in computed.items() if runs}
    every = [run for runs in computed.values() for run in runs]
    found = [run for arm in findings.arms for run in _with_prefix(arm, "found")]
    if not (every and found) or max(map(_part_of_prefix, every)) < _MUCH:
        return []
    sizes = {arm.name: len(arm.arm.runs) for arm in findings.arms}
    whose = [f"{name} in {len(runs)} of {sizes[name]} runs" for name, runs in computed.items()]
    took, again = (duration(fmean(r.metrics[PREFIX] for r in runs)) for runs in (every, found))
    return [
        "seconds hold the frozen prefix, which who comes first computes for all: "
        f"{listed(whose)} ({took} on average), others found it ({again}); arms' seconds differ by "
        f"that too ({PREFIX} in runs.csv)"
    ]


def _with_prefix(arm: ArmFindings, how: str) -> list[Run]:
    """Return the runs that came to a prefix so, by what their tag says."""
    return [
        run
        for run in arm.arm.runs
        if f", {how} in " in run.tags.get("frozen_prefix", "") and PREFIX in run.metrics
    ]


def _part_of_prefix(run: Run) -> float:
    """Return how much of a run's seconds the prefix is, of which a pack's lanes share one."""
    whole, lanes = run.metrics.get(ALONE), 1
    if whole is None:
        whole, lanes = run.metrics.get(LANE_SECONDS), int(run.tags.get(_PACK_SIZE) or 1)
    return run.metrics[PREFIX] / lanes / whole if whole else 0.0
