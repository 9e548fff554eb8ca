"""A study of several tasks: ranks of the arms over all of them, in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapterlab.base.amounts import counted
from adapterlab.evidence.aggregates import (
    Aggregate,
    interquartile_mean,
    probability_of_improvement,
)
from adapterlab.evidence.intervals import Interval
from adapterlab.evidence.tasks import RankTest, compare_ranks
from adapterlab.reporting.formatting import between, listed, p_value, percent
from adapterlab.reporting.tables.arms import Table

TaskScores = Mapping[str, Mapping[str, Sequence[float]]]
"""Scores, 1 at most: for each task and arm those of its seeds."""


@dataclass(frozen=True)
class ArmOverTasks:
    """An arm over all tasks.

    Attributes:
        name: of the arm.
        rank: mean over tasks, 1 the best.
        means: of its seeds, by task.
        middle: interquartile mean of its scores.
        beats_first: probability that a run of it beats one of the arm that ranks first; None for
            that arm itself.
    """

    name: str
    rank: float
    means: Mapping[str, float]
    middle: Aggregate
    beats_first: Aggregate | None


@dataclass(frozen=True)
class TaskFindings:
    """What a study of several tasks has found.

    Attributes:
        tasks: their names.
        arms: that have scores on all tasks, the best mean rank first.
        test: of the ranks, whose indices are places in ``arms``.
        left_out: other arms, and the tasks on which they have no score.
        least: that a score may be.
    """

    tasks: tuple[str, ...]
    arms: tuple[ArmOverTasks, ...]
    test: RankTest
    left_out: Mapping[str, tuple[str, ...]]
    least: float = 0.0

    @property
    def best(self) -> tuple[str, ...]:
        """Names of the arms that are not told apart from the one that ranks first."""
        return tuple(
            arm.name for i, arm in enumerate(self.arms) if i == 0 or not self.test.apart(0, i)
        )


def over_tasks(
    scores: TaskScores, *, level: float = 0.05, least: float = 0.0
) -> TaskFindings | None:
    """Rank arms over tasks; None with fewer than two tasks, or two arms on all of them.

    Args:
        scores: all finite.
        level: of the test; intervals are of 1 - ``level``.
        least: that a score may be; that of numbers, R², may be below 0.

    Raises:
        ValueError: a score that is not finite.
    """
    tasks = tuple(scores)
    names = list(dict.fromkeys(name for arms in scores.values() for name in arms))
    missing = {
        name: tuple(task for task in tasks if not len(scores[task].get(name, ()))) for name in names
    }
    kept = [name for name in names if not missing[name]]
    if len(tasks) < 2 or len(kept) < 2:
        return None
    means = np.array([[np.mean(scores[task][name]) for name in kept] for task in tasks])
    order = compare_ranks(means, level=level).order
    test = compare_ranks(means[:, order], level=level)
    ranked = [kept[i] for i in order]
    by_arm = {name: [scores[task][name] for task in tasks] for name in ranked}
    first = by_arm[ranked[0]]
    arms = [
        ArmOverTasks(
            name=name,
            rank=test.mean_ranks[i],
            means=dict(zip(tasks, means[:, order[i]].tolist(), strict=True)),
            middle=interquartile_mean(by_arm[name], level=1 - level),
            beats_first=None
            if i == 0
            else probability_of_improvement(by_arm[name], first, level=1 - level),
        )
        for i, name in enumerate(ranked)
    ]
    left_out = {name: gone for name, gone in missing.items() if gone}
    return TaskFindings(tasks, tuple(arms), test, left_out, least)


def tasks_table(found: TaskFindings) -> Table:
    """Return one row an arm, the best mean rank first."""
    letters = _letters(found.test)
    rows = [
        (
            arm.name,
            f"{arm.rank:.2f}",
            letters[i],
            *(percent(arm.means[task]) for task in found.tasks),
            _with_interval(arm.middle, found.least),
            "" if arm.beats_first is None else _with_interval(arm.beats_first),
        )
        for i, arm in enumerate(found.arms)
    ]
    header = (
        *("arm", "mean rank", "not told apart", *found.tasks),
        *("interquartile mean", f"beats a run of {found.arms[0].name}"),
    )
    return Table(f"Ranks over {counted(len(found.tasks), 'task')}", header, tuple(rows))


def about_tasks(found: TaskFindings) -> list[str]:
    """Return sentences that say what can be concluded from the ranks, and what cannot."""
    test, first = found.test, found.arms[0]
    tasks, arms = counted(test.tasks, "task"), counted(len(found.arms), "arm")
    said = []
    if test.too_few:
        said.append(
            f"{tasks} cannot tell {arms} apart by ranks, whatever they show: that takes "
            f"{test.enough} tasks or more. The ranks only describe; see each task's own table."
        )
    elif test.p >= test.level:
        said.append(
            f"Over {tasks}, ranks do not tell any of {arms} apart (Friedman's test, "
            f"p {_p_phrase(test.p)})."
        )
    else:
        behind = [arm.name for i, arm in enumerate(found.arms) if test.apart(0, i) and i]
        rest = [name for name in found.best if name != first.name]
        if not behind:
            then = f"None is told apart from {first.name}, which ranks first."
        elif rest:
            are = "is" if len(rest) == 1 else "are"
            then = f"{first.name} ranks before {listed(behind)}; {listed(rest)} {are} not told " \
                   "apart from it."  # fmt: skip
        else:
            then = f"{first.name} ranks before {listed(behind)}."
        said.append(f"Over {tasks}, ranks differ (Friedman's test, p {_p_phrase(test.p)}). {then}")
        said.append(
            "Two arms are told apart if their mean ranks differ by "
            f"{test.critical_difference:.2f} or more (Nemenyi)."
        )
    said.append(
        "A task counts once, and the tasks stand for others like them only if they were chosen "
        "without regard to the results. The interquartile mean and the chance to beat "
        f"{first.name} have intervals over seeds on these very tasks; {first.name} was picked by "
        "the same scores, so that it looks better beside the others than it would again."
    )
    if any(arm.middle.interval is None for arm in found.arms):
        said.append("Where an arm has one seed on a task, there are no such intervals.")
    said += [
        f"{name} has no ranks, because it has no score on {listed(gone)}."
        for name, gone in found.left_out.items()
    ]
    return said


def _p_phrase(p: float) -> str:
    written = p_value(p)
    return written if written.startswith("<") else f"= {written}"


def _letters(test: RankTest) -> list[str]:
    """Give each arm the letters of the groups it is in; arms that share one are not told apart."""
    letters = [""] * len(test.mean_ranks)
    for number, group in enumerate(test.groups):
        for arm in group:
            letters[arm] += chr(ord("a") + number) if number < 26 else f"({number + 1})"
    return letters


def _with_interval(figure: Aggregate, least: float = 0.0) -> str:
    """Write a figure with its interval, cut to what it may be."""
    if (interval := figure.interval) is None:
        return percent(figure.value)
    within = Interval(max(least, interval.low), min(1.0, interval.high))
    return f"{percent(figure.value)} ({between(within)})"
