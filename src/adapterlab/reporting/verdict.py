"""A study's answer in three sentences: what leads, what is really different, what to do.

Every sentence follows from the tests. A tie is called one, whatever the means say, and says what
difference it could have hidden.
"""

from collections.abc import Sequence

from adapterlab.evidence.verdicts import MIN_SEEDS, Verdict
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.words import between, counted, listed, percent


def verdict(findings: Findings) -> tuple[str, str, str]:
    """Return the three sentences."""
    return _leads(findings), _differs(findings), _advice(findings)


def _leads(findings: Findings) -> str:
    reference, others = findings.reference, findings.others
    accuracy = reference.accuracy
    spread = "one seed, so its spread is not known"
    if accuracy.interval is not None:
        seeds = counted(len(accuracy.values), "seed")
        spread = f"95% interval {between(accuracy.interval)} over {seeds}"
    if not others:
        role = "it is the only arm, so there is nothing to compare it with"
    elif findings.chosen:
        role = f"it was named as what {counted(len(others), 'other arm')} are compared with"
    else:
        role = f"validation prefers it among {counted(len(others) + 1, 'arm')}"
    accuracy_of = f"{reference.name} reaches {percent(accuracy.mean)}"
    return f"On the test split, {accuracy_of} ({spread}); {role}."


def _differs(findings: Findings) -> str:
    others, name = findings.others, findings.reference.name
    if not others:
        return "What that is worth, other arms would tell: adapter=full,head,lora, say."
    better, worse = _of(others, Verdict.BETTER), _of(others, Verdict.WORSE)
    ties, few = _of(others, Verdict.TIE), _of(others, Verdict.TOO_FEW_SEEDS)
    if len(few) == len(others):
        return (
            f"Whether the others differ from it was not tested, which takes {MIN_SEEDS} seeds an "
            "arm: the differences in the table may be luck."
        )
    parts = []
    if worse:
        parts.append(f"{name} is better than {_listed(worse)} ({_gaps(worse)})")
    if better:
        parts.append(f"{_listed(better)} {_are(better)} better than {name} ({_gaps(better)})")
    if ties:
        parts.append(f"{_listed(ties)} {_are(ties)} tied with it{_hidden(ties)}")
    if few:
        parts.append(f"{_listed(few)} had fewer than {MIN_SEEDS} seeds and {_was(few)} not tested")
    return f"By tests at 5%, corrected for all comparisons, {'; '.join(parts)}."


def _advice(findings: Findings) -> str:
    reference, others = findings.reference, findings.others
    ties, better = _of(others, Verdict.TIE), _of(others, Verdict.BETTER)
    if not any(arm.comparison and arm.comparison.p is not None for arm in others):
        return "To learn which arm is better, add seeds: seed=0,1,2,3,4."
    # Among those that nothing is known to be better than.
    cheapest = min(better or [reference, *ties], key=_trainable)
    cost = f"{_trainable(cheapest):,.0f} parameters{_share_of_model(cheapest)}"
    if better:
        return (
            f"Validation and test disagree on who leads: {cheapest.name}, which trains {cost}, is "
            "the cheapest of those better on test, and wants confirming in a study of its own."
        )
    if not ties:
        return f"Take {cheapest.name}, which trains {cost}: all others are worse."
    if cheapest is reference:
        return f"Take {cheapest.name}, which trains {cost}: no arm tied with it trains fewer."
    one = cheapest.comparison
    assert one is not None
    doubt = "How much worse it may be is not known"
    if one.interval is not None:
        worst = max(0.0, -100 * one.interval.low)
        doubt = f"It may be worse than {reference.name} by up to {worst:.2f} points (95% interval)"
    return (
        f"Of the arms not told apart, {cheapest.name} trains the fewest parameters: {cost}. "
        f"{doubt}; if that is too much, add seeds."
    )


def _of(arms: Sequence[ArmFindings], verdict: Verdict) -> list[ArmFindings]:
    return [arm for arm in arms if arm.comparison and arm.comparison.verdict is verdict]


def _listed(arms: Sequence[ArmFindings]) -> str:
    return listed([arm.name for arm in arms])


def _are(arms: Sequence[ArmFindings]) -> str:
    return "is" if len(arms) == 1 else "are"


def _was(arms: Sequence[ArmFindings]) -> str:
    return "was" if len(arms) == 1 else "were"


def _gaps(arms: Sequence[ArmFindings]) -> str:
    """Write by how much arms differ, smallest to largest."""
    sizes = sorted(100 * abs(arm.comparison.difference) for arm in arms if arm.comparison)
    low, high = f"{sizes[0]:.2f}", f"{sizes[-1]:.2f}"
    return f"by {low} points" if low == high else f"by {low} to {high} points"


def _hidden(arms: Sequence[ArmFindings]) -> str:
    """Say what differences ties may hide."""
    sizes = [
        100 * arm.comparison.smallest_detectable
        for arm in arms
        if arm.comparison and arm.comparison.smallest_detectable is not None
    ]
    if not sizes:
        return ""
    return f", where differences under {max(sizes):.2f} points could have gone unseen"


def _trainable(arm: ArmFindings) -> float:
    figure = arm.figure("params/trainable")
    return figure.mean if figure is not None else float("inf")


def _share_of_model(arm: ArmFindings) -> str:
    total = arm.figure("params/total")
    if total is None or _trainable(arm) == total.mean:
        return ""
    return f", {_trainable(arm) / total.mean:.2%} of the model's"
