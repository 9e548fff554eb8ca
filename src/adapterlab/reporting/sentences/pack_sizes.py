"""Of which packs arms' seconds are: a lane of a large pack takes less than one of a small pack."""

from collections.abc import Sequence

from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.formatting import listed

LANE_SECONDS = "cost/lane_seconds"

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
