"""A study's answer in a few sentences: what may be best, what is really different, what to do.

Every sentence follows from the comparisons. What was not decided is called so, with what it would
take; what did not finish is said.
"""

from collections.abc import Sequence

from adapterlab.evidence.shares import share_interval
from adapterlab.evidence.verdicts import MIN_SEEDS, Comparison, Verdict
from adapterlab.reporting.findings import ArmFindings, Findings
from adapterlab.reporting.study import Status
from adapterlab.reporting.words import between, counted, gap, listed, measured, span

_WHOLLY = 0.95


def verdict(findings: Findings) -> tuple[str, ...]:
    """Return the sentences."""
    said = [_best(findings), _leads(findings), _differs(findings), _advice(findings)]
    return tuple(sentence for sentence in (*said, _lost(findings)) if sentence)


def _best(findings: Findings) -> str:
    """Say which arms may be best."""
    best, tested = findings.best, [arm for arm in findings.arms if arm.may_be_best is not None]
    if len(tested) < 2:
        return ""
    of = f"of the {len(tested)} arms that were tested"
    if len(best) == 1:
        return f"Best {of}, with 95% confidence: {best[0].name}."
    if len(best) == len(tested):
        return f"Any {of} may be the best: the study does not tell (95% confidence)."
    return f"The best {of} is among these, with 95% confidence: {_listed(best, most=12)}."


def _leads(findings: Findings) -> str:
    reference, others = findings.reference, findings.others
    score, metric = reference.score, findings.compared_on
    runs = counted(len(score.values), "seed")
    held = f"{runs}; new seeds and new test examples may differ"
    if len(score.values) < 2:
        held = "one seed; over test examples, since its spread over seeds is not known"
    interval = score.interval
    if others and metric == "accuracy" and reference.answers is not None:
        # It was picked among all arms, so its interval is one of as many that hold at once.
        level = _WHOLLY ** (1 / (len(others) + 1))
        found = share_interval(reference.answers.correct, level=level)
        ends = f"{between(found)}, wide enough for a choice among {len(others) + 1} arms"
    else:
        ends = "no interval" if interval is None else span(interval, metric)
    what = "" if metric == "accuracy" else f"{metric} of "
    value = f"{reference.name} reaches {what}{measured(score.mean, metric)}"
    if not others:
        role = "it is the only arm, so there is nothing to compare it with"
    elif findings.chosen:
        role = f"it was named as what {counted(len(others), 'other arm')} are compared with"
    else:
        role = f"validation ({findings.selected_on}) prefers it"
    return f"On the test split, {value} (95% interval {ends}; {held}); {role}."


def _differs(findings: Findings) -> str:
    """Say what is known of the other arms against the reference."""
    others, name = findings.others, findings.reference.name
    if not others:
        return "What that is worth, other arms would tell: adapter=full,head,lora, say."
    parts = []
    if arms := _of(others, Verdict.WORSE):
        parts.append(f"{name} is better than {_listed(arms)}{_gaps(arms, findings)}")
    if arms := _of(others, Verdict.BETTER):
        parts.append(f"{_listed(arms)} {_are(arms)} better than {name}{_gaps(arms, findings)}")
    if arms := _of(others, Verdict.EQUIVALENT):
        within = f"within the margin of {_margin(findings)}"
        parts.append(f"{_listed(arms)} {_are(arms)} equivalent to it, {within}")
    if arms := _of(others, Verdict.NOT_WORSE):
        more = f"by more than the margin of {_margin(findings)}"
        parts.append(f"{_listed(arms)} {_are(arms)} not worse than it {more}")
    if arms := _of(others, Verdict.UNDECIDED):
        hidden = _hidden(arms, findings)
        parts.append(f"between it and {_listed(arms)} nothing is decided{hidden}")
    tested = f"By comparisons of {_pairs(findings)} at 5%, {'; '.join(parts)}." if parts else ""
    return " ".join(part for part in (tested, _few(findings), _apart(findings)) if part)


def _few(findings: Findings) -> str:
    """Say what is known of arms with too few seeds for a test."""
    others, name = findings.others, findings.reference.name
    better, worse = _of(others, Verdict.TRAINED_BETTER), _of(others, Verdict.TRAINED_WORSE)
    few = _of(others, Verdict.TOO_FEW_SEEDS)
    said = []
    for arms, how in ((worse, "worse"), (better, "better")):
        if arms:
            said.append(
                f"As trained, every model of {_listed(arms)} is {how} than every one of {name}"
                f"{_gaps(arms, findings)}: test examples leave no doubt, but other seeds were "
                "not tried enough to know."
            )
    if few:
        said.append(
            f"Whether {_listed(few)} {'differs' if len(few) == 1 else 'differ'} from {name} was "
            f"not tested, which takes {MIN_SEEDS} seeds of both."
        )
    return " ".join(said)


def _apart(findings: Findings) -> str:
    arms = _of(findings.others, Verdict.NOT_COMPARABLE)
    if not arms:
        return ""
    reasons = list(dict.fromkeys(arm.comparison.why for arm in arms if arm.comparison))
    return f"Not comparable with {findings.reference.name}: {_listed(arms)} ({'; '.join(reasons)})."


def _advice(findings: Findings) -> str:
    """Recommend the cheapest arm that was shown to be good enough, or say what it would take."""
    if not findings.others:
        return ""
    tested = [arm for arm in findings.arms if arm.may_be_best is not None]
    if findings.family is not None and findings.family.control is not None:
        tested = [findings.reference, *(a for a in findings.others if a.comparison
                                        and a.comparison.interval)]  # fmt: skip
    if len(tested) < 2:
        return f"To learn which arm is better, give each {MIN_SEEDS} seeds or more: seed=0,1,2,3,4."
    good = [arm for arm in tested if all(_holds(arm, other, findings) for other in tested)]
    steady = [arm for arm in good if not arm.diverged]
    if steady:
        cheapest = min(steady, key=lambda arm: arm.trained)
        rest = [arm for arm in tested if arm is not cheapest]
        fewer = [arm for arm in rest if arm.trained < cheapest.trained]
        why = (
            "it is better than every other arm"
            if all(_is(cheapest, other, findings, Verdict.BETTER) for other in rest)
            else f"it was shown to be within {_margin(findings)} of every other arm, or better"
        )
        least = "" if fewer else ", and none trains fewer"
        return f"Take {cheapest.name}, which trains {_cost(cheapest)}: {why}{least}."
    if good:
        return (
            f"{_listed(good)} would be good enough but diverged in some runs, so nothing is "
            "recommended before that is mended (a lower learning rate, say)."
        )
    return f"No arm is recommended: none was shown to be within {_margin(findings)} of every " + (
        f"other. {_remedy(findings)}"
    )


def _remedy(findings: Findings) -> str:
    """Say what would decide more: seeds or test examples, by which dominates the errors."""
    family, reference = findings.family, findings.reference
    rivals = _of(findings.others, Verdict.UNDECIDED) or list(findings.others)
    shares = []
    for arm in rivals:
        if family is not None and (part := family.share_of_runs(arm.name, reference.name)):
            shares.append(part)
    if not shares:
        return "More seeds or test examples would tell more."
    share = sum(shares) / len(shares)
    if share >= 0.5:
        return (
            f"Seeds make {share:.0%} of the uncertainty, so add seeds (seed=0,1,...), which test "
            "examples cannot replace."
        )
    return (
        f"Test examples make {1 - share:.0%} of the uncertainty, which more seeds cannot mend: a "
        "larger test split would."
    )


def _lost(findings: Findings) -> str:
    """Say what did not finish."""
    arms = [arm for arm in findings.all_arms if arm.lost]
    if not arms:
        return ""
    parts = []
    for arm in arms:
        statuses = [status for status in Status if status is not Status.FINISHED]
        how = ", ".join(f"{arm.count(status)} {status}" for status in statuses if arm.count(status))
        parts.append(f"{arm.name} ({how} of {arm.tried})")
    count = sum(len(arm.lost) for arm in arms)
    return (
        f"{counted(count, 'run')} of {findings.tried} did not finish and "
        f"{'is' if count == 1 else 'are'} in no mean: {listed(parts)}."
    )


def _holds(arm: ArmFindings, other: ArmFindings, findings: Findings) -> bool:
    """Say whether an arm was shown not to be worse than another by more than the margin."""
    good = (Verdict.BETTER, Verdict.EQUIVALENT, Verdict.NOT_WORSE)
    return arm is other or _is(arm, other, findings, *good)


def _is(arm: ArmFindings, other: ArmFindings, findings: Findings, *kinds: Verdict) -> bool:
    found = findings.compare(arm, other)
    return found is not None and found.verdict in kinds


def _of(arms: Sequence[ArmFindings], verdict: Verdict) -> list[ArmFindings]:
    return [arm for arm in arms if arm.comparison and arm.comparison.verdict is verdict]


def _listed(arms: Sequence[ArmFindings], most: int = 5) -> str:
    return listed([arm.name for arm in arms], most)


def _are(arms: Sequence[ArmFindings]) -> str:
    return "is" if len(arms) == 1 else "are"


def _pairs(findings: Findings) -> str:
    family = findings.family
    if family is not None and family.control is not None:
        return f"all arms with {family.control}, as planned,"
    return "all pairs of arms"


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
    size = gap(max(sizes), findings.compared_on)
    return f", where a true difference of {size} would have been found 4 times in 5"


def _margin(findings: Findings) -> str:
    return gap(findings.margin, findings.compared_on)


def _cost(arm: ArmFindings) -> str:
    total = arm.figure("params/total")
    share = ""
    if total is not None and arm.trained != total.mean:
        share = f", {arm.trained / total.mean:.2%} of the model's"
    return f"{arm.trained:,.0f} parameters{share}"
