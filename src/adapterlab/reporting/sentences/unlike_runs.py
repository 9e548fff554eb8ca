"""Differences that hang on runs being normal: of few runs, unlike in number or in spread."""

import numpy as np

from adapterlab.evidence.verdicts import Family
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.formatting import listed

_FEW = 20
"""Runs from which on the skew of their scores is no more than a few false studies in 100."""

_UNLIKE = 2.0
"""Times as many runs, or as wide a spread: equal skews no longer cancel in a difference."""

_RULES = 0.5
"""Part of the variance of a difference that is the runs', from which on it hangs on them."""

_SURE = 0.01
"""Adjusted p below which a difference holds all the same: fewer than 5 in 100 such studies are
false, by the same simulations."""

_PAIRS = 3


def on_unlike_runs(findings: Findings) -> list[str]:
    """Say which differences would be found too often if an arm's scores are skewed.

    Simulated with scores whose worst runs are rare, up to 15 in 100 studies have a false difference
    where the arms are unlike, and 1 to 3 where they are alike (`scripts/simulations/designs.py`).
    That spreads look alike is no proof: a few runs without a bad one show neither it nor them.
    Differences of an adjusted p below 0.01 are left out: they hold all the same.
    """
    family = findings.family
    if family is None or family.pairs is None:
        return []
    pairs, names = family.pairs, [family.arms[place].name for place in family.tested]
    decided = (pairs.low > 0) | (pairs.high < 0)
    doubtful = np.flatnonzero(decided & (pairs.p_adjusted >= _SURE))
    near = [(names[pairs.first[m]], names[pairs.second[m]]) for m in doubtful]
    found = [f"{a} and {b}" for a, b in near if _unlike(family, a, b)]
    if not found:
        return []
    return [
        f"{listed(found, _PAIRS)} differ by runs that are few, and unlike in number or in spread: "
        "if bad runs are rare and far below the others, up to 15 in 100 such studies find a "
        f"difference where there is none, not 5; as many runs for each, {_FEW} or more, tell"
    ]


def _unlike(family: Family, a: str, b: str) -> bool:
    one, other = (next(arm for arm in family.arms if arm.name == name) for name in (a, b))
    share = family.share_of_runs(a, b)
    if share is None or share < _RULES or min(one.runs, other.runs) >= _FEW:
        return False
    spreads = [float(np.std(arm.scores, ddof=1)) for arm in (one, other)]
    runs = sorted((one.runs, other.runs))
    return runs[1] >= _UNLIKE * runs[0] or max(spreads) >= _UNLIKE * min(spreads)
