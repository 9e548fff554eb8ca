"""What a study has beside its comparisons: tuning, ranks over data sets, sources of luck."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from adapterlab.evidence.variance import Luck
from adapterlab.evidence.verdicts import Verdict
from adapterlab.reporting.findings import ACCURACY, Findings
from adapterlab.reporting.formatting import least_of, listed
from adapterlab.reporting.sentences.luck import alike, luck_of
from adapterlab.reporting.tables.tasks import TaskFindings, over_tasks
from adapterlab.reporting.tuning_study import TuningFindings


@dataclass(frozen=True, eq=False)
class Overall:
    """What holds for a study as a whole.

    Attributes:
        notes: what a reader must know of it.
        tuning: how its arms were tuned; empty if they were not.
        ranks: of arms over data sets; None if there are too few of either.
        luck: where that of its runs comes from, by data set.
        lucky: the arm whose runs tell that, by data set; none where all runs do.
    """

    notes: tuple[str, ...] = ()
    tuning: tuple[TuningFindings, ...] = ()
    ranks: TaskFindings | None = None
    luck: dict[str, Luck] = field(default_factory=dict)
    lucky: dict[str, str] = field(default_factory=dict)


def ranks_of(tasks: Sequence[Findings]) -> TaskFindings | None:
    """Rank the arms over data sets; an arm is the same on all that differs in nothing else.

    An arm that is not comparable with the others of its data set has no score there.
    """
    if len(tasks) < 2:
        return None
    return over_tasks(
        {
            task.task: {
                arm.arm.method or arm.name: arm.accuracy.values
                for arm in task.arms
                if arm.comparison is None or arm.comparison.verdict is not Verdict.NOT_COMPARABLE
            }
            for task in tasks
        },
        least=min(least_of(task.main) for task in tasks),
    )


def on_questions(metrics: Sequence[str], data_sets: int, level: float) -> list[str]:
    """Say where a study was asked more than once: by several metrics, on several data sets.

    Args:
        metrics: that its arms were compared on, in this report and before.
        data_sets: on which they are, in this one.
        level: of each.
    """
    said = []
    each = f"{100 * level:.2g}%"
    for count, what in (
        (len(metrics), f"on {listed(list(metrics))}, in this report or before"),
        (data_sets, f"on {data_sets} data sets"),
    ):
        if count > 1:
            said.append(
                f"arms were compared {what}: each by itself at {each}, so that a false difference "
                f"in any has a chance of up to {100 * min(count * level, 1):.2g}%; say beforehand "
                "which decides"
            )
    return said


def only_luck(task: Findings) -> bool:
    """Say whether all runs are of one arm, though its draws, such as the base, give it names."""
    return len(task.arms) > 1 and not task.lost and len(alike(task.runs)) == 1


def luck_in(task: Findings) -> tuple[Luck, str] | None:
    """Return where the luck of a data set's runs comes from, and the arm whose runs tell it.

    Runs of several arms that differ in nothing but what is drawn at random, as those of a study of
    variance do, tell it together, and the arm's name is empty; else those of the reference do.
    None if neither tell.
    """
    alone = list(task.reference.arm.runs)
    most = alike(task.runs)[0]
    several = len({run.arm for run in most}) > 1
    answers = {
        run.run_id: (arm.answers.labels, row)
        for arm in task.arms
        if arm.answers is not None
        for run, row in zip(arm.arm.runs, arm.answers.correct, strict=True)
    }
    for runs in [most, alone] if several else [alone]:
        if len(runs) < 2 or not all(ACCURACY in run.metrics for run in runs):
            continue
        kept = [answers[run.run_id] for run in runs if run.run_id in answers]
        whole = len(kept) == len(runs)
        whole = whole and all(np.array_equal(labels, kept[0][0]) for labels, _ in kept)
        luck, _ = luck_of(runs, np.stack([row for _, row in kept]) if whole else None)
        if luck is not None:
            return luck, "" if several and runs is most else task.reference.name
    return None
