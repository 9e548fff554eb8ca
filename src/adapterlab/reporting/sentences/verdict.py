"""A study's answer in a few sentences: what may be best, what to do, what is really different.

Every sentence follows from the comparisons. What was not decided is called so, with what it would
take; what did not finish is said.
"""

from collections.abc import Sequence
from math import isclose

from adapterlab.base.amounts import counted
from adapterlab.evidence.verdicts import MIN_SEEDS, Comparison, Family, Verdict
from adapterlab.reporting.findings import ArmFindings, Findings, headline
from adapterlab.reporting.formatting import (
    MOST_NAMES,
    gap,
    listed,
    measured,
    percents,
    span,
    title_of,
    titled,
)
from adapterlab.reporting.sentences.advice import (
    advice,
    confidence,
    is_planned,
    takes_the_best,
    tested_arms,
)
from adapterlab.reporting.tables.arms import fate

_SEVERAL = 3
"""Arms from which on all pairs are more than the reference's."""


def verdict(findings: Findings) -> tuple[str, ...]:
    """Return the sentences, the answer first."""
    answer = " ".join(part for part in (_best(findings), advice(findings)) if part)
    said = (
        *(answer, _leads(findings), _differs(findings), _alike(findings)),
        *(_collapsed(findings), _no_better(findings), _lost(findings)),
    )
    return tuple(sentence for sentence in said if sentence)


def _best(findings: Findings) -> str:
    """Say which arms may be best."""
    if not findings.others:
        return ""
    if is_planned(findings):
        known = len(tested_arms(findings)) > 1
        return "" if known else "Whether others are better than the reference is not known."
    best, tested = findings.best, tested_arms(findings)
    if takes_the_best(findings):
        return ""
    if len(tested) < 2:
        return "Which arm is best is not known."
    of = f"{len(tested)} arms"
    if len(tested) < len(findings.all_arms):
        of += " that could be tested"
    sure = f"({confidence(findings)})"
    if len(best) == len(tested):
        return f"{'Either' if len(tested) == 2 else 'Any'} of the {of} may be the best {sure}."
    if len(best) == 1:
        return f"The best of {of} is {best[0].name} {sure}."
    if len(best) <= MOST_NAMES:
        return f"The best of {of} is {listed([arm.name for arm in best], joint='or')} {sure}."
    return f"The best of {of} is one of {len(best)} {sure}: {_listed(best)}."


def _leads(findings: Findings) -> str:
    """Say what the reference reaches, with an interval that allows for its being picked."""
    reference, others, metric = findings.reference, findings.others, findings.compared_on
    if not others:
        role = "the only arm that finished" if findings.lost else "the only arm"
    elif findings.chosen:
        role = "the reference that was named"
    elif reference.selection is None:  # as no arm that it is compared with
        role = f"the first by name, for none is known to be selected by {findings.selected_on}"
    elif tied := _as_good_on_validation(findings):
        more = f"as good as {_short(tied)} on validation ({findings.selected_on})"
        role = f"{more} and the first of them by name"
    else:
        role = f"the best on validation ({findings.selected_on})"
    seeds = counted(len(reference.score.values), "seed")
    interval, among = headline(findings)
    if interval is None:
        ends = "no interval"
    elif among > 1:
        ends = f"95% interval, for the pick of {among} arms: {span(interval, metric)}"
    else:
        ends = f"95% interval {span(interval, metric)}"
    if len(reference.score.values) < 2:
        seeds += ", whose luck it does not show"
    if not reference.tested_on:
        seeds += ", not over test examples"
    value = measured(reference.score.mean, metric)
    return f"{reference.name}, {role}, has {titled(metric)} of {value} ({ends}; {seeds})."


def _as_good_on_validation(findings: Findings) -> list[ArmFindings]:
    """Return the arms that are compared and have the reference's mean on validation."""
    best = findings.reference.selected
    return [
        arm
        for arm in findings.others
        if arm.comparison
        and arm.comparison.verdict is not Verdict.NOT_COMPARABLE
        and isclose(arm.selected, best, rel_tol=1e-12)
    ]


def _differs(findings: Findings) -> str:
    """Say what is known of the other arms against the reference."""
    others, name = findings.others, findings.reference.name
    if not others and findings.lost:
        return ""  # there are others, and what came of them is said
    if not others:
        return "Other arms would tell what that is worth: adapter=full,head,lora, say."
    parts = []
    if arms := _of(others, Verdict.WORSE):
        parts.append(f"{name} is better than {_which(arms, findings)}{_gaps(arms, findings)}")
    if arms := _of(others, Verdict.BETTER):
        parts.append(f"{_listed(arms)} {_are(arms)} better than {name}{_gaps(arms, findings)}")
    margin = gap(findings.margin, findings.compared_on)
    if arms := _of(others, Verdict.EQUIVALENT):
        parts.append(f"{_listed(arms)} {_are(arms)} equivalent to {name} (within {margin})")
    if arms := _of(others, Verdict.NOT_WORSE):
        parts.append(f"{_listed(arms)} {_are(arms)} not worse than {name} by {margin} or more")
    undecided = _of(others, Verdict.UNDECIDED)
    behind = [arm for arm in undecided if _not_better(arm, findings)]
    if behind:
        parts.append(f"{_listed(behind)} {_are(behind)} not better than {name} by {margin} or more")
    out = [arm for arm in undecided if arm.may_be_best is False and arm not in behind]
    if not findings.reference.may_be_best:
        out = []
    if out:
        parts.append(
            f"{_short(out)} {_are(out)} not among those that may be best (a one-sided test), yet "
            f"not told apart from {name} (a two-sided one)"
        )
    if arms := [arm for arm in undecided if arm not in (*behind, *out)]:
        hidden = _hidden(arms, findings)
        start = "between" if parts else "Between"
        parts.append(f"{start} {name} and {_short(arms, 'other ')} nothing is decided{hidden}")
    tested = f"{'; '.join(parts)}." if parts else ""
    return " ".join(part for part in (tested, _few(findings), _apart(findings)) if part)


def _alike(findings: Findings) -> str:
    """Say how far apart arms may be at most, where there are three or more, and none is told apart.

    With too few test examples the examples that would tell may be missing (`enough_examples`).
    """
    family, arms = findings.family, len(tested_arms(findings))
    if family is None or family.widest is None or arms < _SEVERAL:
        return ""
    if len(set(family.letters.values()) - {""}) > 1 or _short_of_examples(family):
        return ""
    return (
        f"No two of the {arms} arms are told apart, and none are further apart than "
        f"{gap(family.widest, findings.compared_on)} ({confidence(findings)})."
    )


def _short_of_examples(family: Family) -> bool:
    return family.arms[0].examples < family.enough_examples


def _few(findings: Findings) -> str:
    """Say what is known of arms with too few seeds for a test."""
    others, name = findings.others, findings.reference.name
    better, worse = _of(others, Verdict.TRAINED_BETTER), _of(others, Verdict.TRAINED_WORSE)
    few = _of(others, Verdict.TOO_FEW_SEEDS)
    said = []
    for arms, how in ((worse, "worse"), (better, "better")):
        if arms:
            said.append(
                f"Each trained model of {_which(arms, findings)} is {how} than each of {name}"
                f"{_gaps(arms, findings)}; other seeds may tell otherwise."
            )
    if few:
        differ = "differs" if len(few) == 1 else "differ"
        said.append(
            f"Whether {_which(few, findings)} {differ} from {name} was not tested: that takes "
            f"{MIN_SEEDS} seeds of each."
        )
    return " ".join(said)


def _apart(findings: Findings) -> str:
    """Say which arms cannot be compared with the reference, and why."""
    reasons: dict[str, list[str]] = {}
    for arm in _of(findings.others, Verdict.NOT_COMPARABLE):
        why = arm.comparison.why if arm.comparison else ""
        reasons.setdefault(why, []).append(arm.name)
    name = findings.reference.name
    return " ".join(
        f"Not comparable with {name}: {listed(names)} ({why})." for why, names in reasons.items()
    )


def _collapsed(findings: Findings) -> str:
    """Say which arms have runs that learnt nothing."""
    arms = [arm for arm in findings.arms if arm.collapsed]
    if not arms:
        return ""
    which = listed([f"{arm.name} ({arm.collapsed} of {len(arm.arm.runs)})" for arm in arms])
    return f"Runs that answer one class only, whatever they are shown: {which}."


def _no_better(findings: Findings) -> str:
    """Say that a linear model does as well, where no arm's mean is above that on its own rows.

    Arms may have other test splits, or other limits, and a floor that is another's says nothing.
    """
    floors = {arm.name: arm.arm.values(f"data/baseline_{arm.main}") for arm in findings.arms}
    values = {value for own in floors.values() for value in own}
    if not values or any(
        arm.accuracy.mean > max(floors[arm.name] or values) for arm in findings.arms
    ):
        return ""
    return (
        f"No arm's mean {title_of(findings.main)} is above that of a linear model on the same "
        f"rows, {percents(values, joint='or')}."
    )


def _lost(findings: Findings) -> str:
    """Say what did not finish."""
    arms = [arm for arm in findings.all_arms if arm.lost]
    if not arms:
        return ""
    count = sum(len(arm.lost) for arm in arms)
    return (
        f"{counted(count, 'run')} of {findings.tried} did not finish and "
        f"{'is' if count == 1 else 'are'} in no mean: "
        f"{listed([f'{arm.name} ({fate(arm)})' for arm in arms])}."
    )


def _of(arms: Sequence[ArmFindings], verdict: Verdict) -> list[ArmFindings]:
    return [arm for arm in arms if arm.comparison and arm.comparison.verdict is verdict]


def _not_better(arm: ArmFindings, findings: Findings) -> bool:
    """Say whether the reference is not worse than an arm, by more than the margin."""
    return findings.verdict(findings.reference, arm) is Verdict.NOT_WORSE


def _listed(arms: Sequence[ArmFindings]) -> str:
    return listed([arm.name for arm in arms])


def _which(arms: Sequence[ArmFindings], findings: Findings) -> str:
    """Write names, or of three or more that are all others, that they are."""
    if len(arms) == len(findings.others) >= 3 and not findings.lost:
        return f"all {len(arms)} others"
    return _listed(arms)


def _short(arms: Sequence[ArmFindings], other: str = "") -> str:
    """Write names, or of many how many they are; the table has them."""
    return f"{len(arms)} {other}arms" if len(arms) > MOST_NAMES else _listed(arms)


def _are(arms: Sequence[ArmFindings]) -> str:
    return "is" if len(arms) == 1 else "are"


def _comparisons(arms: Sequence[ArmFindings]) -> list[Comparison]:
    return [arm.comparison for arm in arms if arm.comparison]


def _gaps(arms: Sequence[ArmFindings], findings: Findings) -> str:
    """Write by how much arms differ, smallest to largest."""
    sizes = sorted(abs(one.difference) for one in _comparisons(arms))
    metric = findings.compared_on
    low, high = (gap(size, metric) for size in (sizes[0], sizes[-1]))
    return f" (by {low if low == high else f'{low.split()[0]} to {high}'})"


def _hidden(arms: Sequence[ArmFindings], findings: Findings) -> str:
    """Say what differences could have gone unseen."""
    sizes = [one.smallest_detectable for one in _comparisons(arms) if one.smallest_detectable]
    if not sizes:
        return ""
    low, high = (gap(size, findings.compared_on) for size in (min(sizes), max(sizes)))
    what = f"a true difference of {high}"
    if max(sizes) > 1.2 * min(sizes):
        what = f"true differences of {low.split()[0]} to {high}, by arm,"
    return f" ({what} would have been found 4 times in 5)"
