"""What a score that weighs classes hangs on: few answers, or classes that are never answered."""

from collections.abc import Mapping, Sequence

import numpy as np

from adapterlab.config.tasks import F1
from adapterlab.evidence.class_scores import class_of
from adapterlab.evidence.contributions import METRICS, least_answers
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.formatting import listed
from adapterlab.reporting.reading.logged import Answers

_ENOUGH_ANSWERS = 20
"""From about here on their 95% intervals hold 94% to 95% of the time: `least_answers`."""

_CLASSES = 5
"""That are never answered and named at most."""


def on_answers(findings: Findings) -> list[str]:
    """Say of which classes a score cannot be mended by more examples, and where it hangs on few."""
    metric = findings.compared_on
    if not metric.startswith(F1) and (
        metric not in METRICS or METRICS[metric].weighs in ("share", "alike")
    ):
        return []  # else its luck is seen in the spread of examples alone
    few, never = {}, {}
    for arm in findings.arms:
        if (told := arm.answers) is None:
            continue
        unsaid = _unsaid(metric, told)
        if unsaid:
            never[arm.name] = unsaid
            if metric.startswith(F1):
                continue
        # Of a class that no run answers there is no luck to be seen, however many examples it has.
        kept = ~np.isin(told.labels, [*unsaid])
        if kept.any():
            least = least_answers(metric, told.correct[:, kept], told.labels[kept], told.classes)
            if least is not None and least < _ENOUGH_ANSWERS:
                few[arm.name] = least
    return _never(metric, never, findings) + _few(metric, few)


def _unsaid(metric: str, told: Answers) -> dict[int, int]:
    """Return the classes that a score weighs and runs never answer, and of how many runs."""
    if metric in METRICS and METRICS[metric].weighs == "classes":
        weighed = [int(label) for label in np.unique(told.labels)]
    elif metric.startswith(F1):
        weighed = [class_of(metric, told.classes)]
    else:
        return {}
    runs = {label: int((told.predicted != label).all(axis=1).sum()) for label in weighed}
    return {label: count for label, count in runs.items() if count}


def _never(metric: str, never: Mapping[str, Mapping[int, int]], findings: Findings) -> list[str]:
    """Say which classes are never answered: no test split is large enough to mend that."""
    whom: dict[str, list[str]] = {}
    for arm in findings.arms:
        if arm.answers is not None and arm.name in never:
            total = len(arm.answers.predicted)
            classes: dict[int, list[str]] = {}
            for label, count in never[arm.name].items():
                classes.setdefault(count, []).append(repr(arm.answers.classes[label]))
            said = [
                listed(names, _CLASSES) + ("" if count == total else f" in {count} of {total} runs")
                for count, names in classes.items()
            ]
            whom.setdefault(" or ".join(said), []).append(arm.name)
    if not whom:
        return []
    told = [f"{listed(names)} never answer{_s(names)} {what}" for what, names in whom.items()]
    return [
        f"{'; '.join(told)}: {metric} counts that as 0, and a larger test split changes nothing in "
        "it; longer training, another rate, loss.class_weights or sampling=balanced may"
    ]


def _s(names: Sequence[str]) -> str:
    """End a verb."""
    return "s" if len(names) == 1 else ""


def _few(metric: str, few: Mapping[str, float]) -> list[str]:
    """Say which score hangs on so few answers that its spread is seen badly."""
    if not few:
        return []
    ranks = metric in METRICS and METRICS[metric].weighs == "ranks"
    of = "examples of a class" if ranks else "right or wrong answers a run"
    return [
        f"{metric} hangs on {min(few.values()):.0f} {of} at the least "
        f"({listed(sorted(few))}): below {_ENOUGH_ANSWERS} or so its intervals and verdicts "
        "promise more than they hold; a larger test split helps, or compare_on=accuracy"
    ]
