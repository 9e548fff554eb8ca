"""What to take of a study's arms, or what it would take to know."""

from collections.abc import Sequence
from itertools import combinations

from adapterlab.evidence.contributions import SOURCE
from adapterlab.evidence.verdicts import MIN_SEEDS, Verdict
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.formatting import confident, gap, listed

_BOTH = 0.35, 0.65
"""Shares of the seeds in the uncertainty between which neither seeds nor examples rule."""

_GOOD = (Verdict.BETTER, Verdict.EQUIVALENT, Verdict.NOT_WORSE)
_USUAL = 0.05


def advice(findings: Findings) -> str:
    """Recommend the cheapest arm that was shown to be good enough, or say what is missing."""
    if not findings.others:
        return ""
    tested = tested_arms(findings)
    if len(tested) < 2:
        return _to_test(findings)
    good = _good(findings)
    steady = [arm for arm in good if not arm.unsteady]
    if steady:
        return _take(min(steady, key=lambda arm: arm.trained), tested, findings)
    if good:
        return (
            f"{listed([f'{arm.name} ({arm.unsteady})' for arm in good])} would be good enough, but "
            "nothing is recommended before that is mended (a lower learning rate, say)."
        )
    if (only := only_best(findings)) is not None:
        other = f"no other arm{_tested_only(tested, findings)} may be best"
        return f"Take {only.name}{_cost(only)}: {other} ({confidence(findings)})."
    if is_planned(findings):
        name = findings.reference.name
        why = f"the plan compares others with {name} only, which was not shown to be as good"
        return f"No arm is recommended: {why}. {_remedy(tested, findings)}".rstrip()
    within = f"within {gap(findings.margin, findings.compared_on)} of every other"
    remedy = _remedy(tested, findings)
    return f"No arm is recommended: none was shown to be {within}. {remedy}".rstrip()


def takes_the_best(findings: Findings) -> bool:
    """Say whether the advice is to take an arm that it calls the best."""
    only = only_best(findings) is not None and not _good(findings)
    return winner(findings) is not None or only


def winner(findings: Findings) -> ArmFindings | None:
    """Return the arm that is better than all others that were tested, and can be relied on."""
    tested = tested_arms(findings)
    if len(tested) < 2:
        return None
    for arm in tested:
        rest = [other for other in tested if other is not arm]
        if not arm.unsteady and all(_is(arm, o, findings, Verdict.BETTER) for o in rest):
            return arm
    return None


def only_best(findings: Findings) -> ArmFindings | None:
    """Return the only arm of those tested that may be best, if none of its runs was bad.

    An arm may be out of the best, which is one-sided, and yet not told apart from it by the
    intervals of all pairs.
    """
    best = findings.best
    if len(best) != 1 or best[0].unsteady or is_planned(findings):
        return None
    return best[0] if len(tested_arms(findings)) > 1 else None


def tested_arms(findings: Findings) -> list[ArmFindings]:
    """Return the arms that were tested against others, or against the one that was planned."""
    if not is_planned(findings):
        return [arm for arm in findings.arms if arm.may_be_best is not None]
    others = [a for a in findings.others if a.comparison and a.comparison.interval]
    return [findings.reference, *others]


def is_planned(findings: Findings) -> bool:
    """Say whether only comparisons with one arm were planned."""
    return findings.family is not None and findings.family.control is not None


def confidence(findings: Findings) -> str:
    """Write how sure what holds for all arms at once is: ``95% confidence``."""
    level = _USUAL if findings.family is None else findings.family.level
    alone = "" if abs(level - _USUAL) < 1e-9 else " in this look taken alone"
    return f"{confident(level)} confidence{alone}"


def _to_test(findings: Findings) -> str:
    """Say what a test of these arms takes."""
    family = findings.family
    few = [] if family is None else [arm for arm in family.arms if arm.runs < MIN_SEEDS]
    if family is not None and len(family.arms) > 1 and few:
        return f"To learn it, give each arm {MIN_SEEDS} seeds or more: seed=0,1,2,3,4."
    return "To learn it, arms need predictions on the same test examples, of 3 seeds each or more."


def _take(arm: ArmFindings, tested: Sequence[ArmFindings], findings: Findings) -> str:
    rest = [other for other in tested if other is not arm]
    every = f"every other arm{_tested_only(tested, findings)}"
    if winner(findings) is arm:
        why = f"it is better than {every} ({confidence(findings)})"
    else:
        within = f"within {gap(findings.margin, findings.compared_on)}"
        why = f"it was shown to be {within} of {every}, or better"
        if not any(other.trained < arm.trained for other in rest):
            why += ", and none trains fewer"
    return f"Take {arm.name}{_cost(arm)}: {why}."


def _tested_only(tested: Sequence[ArmFindings], findings: Findings) -> str:
    """Write that arms are those that could be tested, where there are others."""
    return "" if len(tested) == len(findings.all_arms) else " that could be tested"


def _cost(arm: ArmFindings) -> str:
    """Write how many parameters an arm trains, in brackets; nothing where it is not known."""
    if arm.trained == float("inf"):
        return ""
    total = arm.figure("params/total")
    share = ""
    if total is not None and arm.trained != total.mean:
        share = f", {arm.trained / total.mean:.2%} of the model's"
    return f" ({arm.trained:,.0f} parameters{share})"


def _remedy(tested: Sequence[ArmFindings], findings: Findings) -> str:
    """Say what would decide more, seeds or test examples, by which dominates the errors."""
    rivals = [arm for arm in tested if arm.may_be_best is not False]
    shares = []
    for a, b in combinations(rivals, 2):
        if _decided(a, b, findings) or findings.family is None:
            continue
        share = findings.family.share_for_seeds(a.name, b.name)
        if share is not None:
            shares.append(share)
    if not shares:
        return ""
    share = sum(shares) / len(shares)
    if _BOTH[0] < share < _BOTH[1]:
        return (
            f"Seeds make {share:.0%} of the uncertainty and test examples the rest: it takes more "
            "of both."
        )
    if share >= _BOTH[1]:
        more = "it takes more of them (seed=0,1,...)"
        return f"Seeds make {_part(share)} of the uncertainty: {more}."
    more = f"it takes a larger test split{_of_source(findings)}"
    if (limit := _limits(findings)) is not None:
        more = f"raise {limit}"
    return f"Test examples make {_part(1 - share)} of the uncertainty, more than seeds: {more}."


def _limits(findings: Findings) -> str | None:
    """Return the option that keeps the test split small; None if there are no more examples."""
    assert findings.family is not None
    examples = findings.family.arms[0].examples
    for limit in ("limit.test", "limit"):
        most = findings.reference.param(limit) or "None"
        if most != "None":
            return limit if float(most) <= examples else None
    return None


def _part(share: float) -> str:
    return f"{share:.0%}" if share < 0.995 else "nearly all"


def _of_source(findings: Findings) -> str:
    return " of the source task" if findings.compared_on == SOURCE else ""


def _good(findings: Findings) -> list[ArmFindings]:
    """Return the arms that were shown to be as good as every other, but for the margin."""
    tested = tested_arms(findings)
    return [arm for arm in tested if all(_holds(arm, other, findings) for other in tested)]


def _holds(arm: ArmFindings, other: ArmFindings, findings: Findings) -> bool:
    """Say whether an arm was shown not to be worse than another by more than the margin."""
    return arm is other or _is(arm, other, findings, *_GOOD)


def _is(arm: ArmFindings, other: ArmFindings, findings: Findings, *kinds: Verdict) -> bool:
    return findings.verdict(arm, other) in kinds


def _decided(a: ArmFindings, b: ArmFindings, findings: Findings) -> bool:
    return any(
        _is(one, other, findings, Verdict.BETTER, Verdict.EQUIVALENT)
        for one, other in ((a, b), (b, a))
    )
