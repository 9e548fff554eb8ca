"""What a study has found: every arm with its uncertainty, and each compared with a reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from adapterlab.errors import NothingFinishedError
from adapterlab.evidence.arrays import Floats
from adapterlab.evidence.intervals import Interval, mean_and_deviation, t_interval
from adapterlab.evidence.verdicts import Comparison, Replicates, compare_with
from adapterlab.reporting.answers import Answers, read_answers, read_history
from adapterlab.reporting.reference import find_arm
from adapterlab.reporting.study import Arm, Run

ACCURACY = "test/accuracy"


@dataclass(frozen=True)
class Estimate:
    """A figure of an arm over its seeds.

    Attributes:
        values: one a seed.
        mean: of them.
        deviation: sample standard deviation; None for one value.
        interval: 95% interval of the mean, by Student's t; None for one value.
    """

    values: tuple[float, ...]
    mean: float
    deviation: float | None
    interval: Interval | None


@dataclass(frozen=True, eq=False)
class Curve:
    """A metric by epoch.

    Attributes:
        epochs: ``[E]``.
        values: ``[S, E]``, one row a seed; nan after a run has stopped.
    """

    epochs: tuple[int, ...]
    values: Floats


@dataclass(frozen=True, eq=False)
class ArmFindings:
    """All that is known of one arm.

    Attributes:
        arm: its runs, in the order of their seeds.
        figures: every final metric that all of its runs have, by name.
        selection: what its runs were selected by, on validation; higher is better.
        answers: to the test examples; None where they were not kept.
        curves: metrics by epoch, by name.
        comparison: with the reference; None for the reference itself.
    """

    arm: Arm
    figures: Mapping[str, Estimate]
    selection: Estimate
    answers: Answers | None
    curves: Mapping[str, Curve]
    comparison: Comparison | None = None

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.arm.name

    @property
    def strategy(self) -> str:
        """The way of fine-tuning."""
        return self.arm.runs[0].tags["strategy"]

    @property
    def accuracy(self) -> Estimate:
        """On the target's test split."""
        return self.figures[ACCURACY]

    def figure(self, name: str) -> Estimate | None:
        """Return a final metric, None where it was not measured."""
        return self.figures.get(name)

    def param(self, name: str) -> str | None:
        """Return an option that all runs of the arm share."""
        return self.arm.runs[0].params.get(name)


@dataclass(frozen=True, eq=False)
class Findings:
    """A study's arms, the one with the best mean accuracy on the test split first.

    Attributes:
        study: its name.
        arms: at least one.
        reference: the arm that all others are compared with.
        chosen: whether somebody named the reference, rather than validation.
        selected_on: the validation metric that runs were selected on.
        gaps: what could not be done, and why.
    """

    study: str
    arms: tuple[ArmFindings, ...]
    reference: ArmFindings
    chosen: bool
    selected_on: str
    gaps: tuple[str, ...]

    @property
    def runs(self) -> list[Run]:
        """The runs of all arms."""
        return [run for arm in self.arms for run in arm.arm.runs]

    @property
    def others(self) -> tuple[ArmFindings, ...]:
        """All arms but the reference."""
        return tuple(arm for arm in self.arms if arm is not self.reference)


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return mean, deviation and interval of a figure over seeds; None without values."""
    if not values:
        return None
    mean, deviation = mean_and_deviation(values)
    return Estimate(tuple(values), mean, deviation, t_interval(values))


def find(study: str, arms: Sequence[Arm], reference: str | None) -> Findings:
    """Read what the arms' runs left, and compare the arms.

    The reference is the arm with the best mean on validation, which the test split has no part
    in: chosen by its own figures, an arm would look better than it is.

    Args:
        study: its name.
        arms: at least one.
        reference: name of the arm to compare with; None for the best on validation.

    Raises:
        ConfigError: `reference` means no arm, or several.
        NothingFinishedError: no run has finished.
    """
    gaps = [f"{arm.name}: none of its runs has finished" for arm in arms if not arm.runs]
    arms = [arm for arm in arms if arm.runs]
    if not arms:
        raise NothingFinishedError(f"study={study}: none of its runs has finished")
    select_on = arms[0].runs[0].params.get("select_on", "accuracy")
    read = []
    for arm in arms:
        answers, why = read_answers(arm.runs)
        if answers is None:
            gaps.append(f"{arm.name}: not tested over test examples, because {why}")
        read.append(_findings(arm, select_on, answers))
    read = _on_the_same_examples(read, gaps)
    read = sorted(read, key=lambda one: one.name)
    names = [one.name for one in read]
    leader = max(read, key=lambda one: one.selection.mean)
    if reference is not None:
        leader = read[names.index(find_arm(arms, reference).name)]
    others = [one for one in read if one is not leader]
    comparisons = compare_with(replicates(leader), [replicates(one) for one in others])
    by_name = {comparison.a: comparison for comparison in comparisons}
    compared = [replace(one, comparison=by_name.get(one.name)) for one in read]
    ranked = sorted(compared, key=lambda one: (-one.accuracy.mean, one.name))
    return Findings(
        study=study,
        arms=tuple(ranked),
        reference=next(one for one in ranked if one.name == leader.name),
        chosen=reference is not None,
        selected_on=select_on,
        gaps=tuple(gaps),
    )


def _findings(arm: Arm, select_on: str, answers: Answers | None) -> ArmFindings:
    shared = set.intersection(*(set(run.metrics) for run in arm.runs))
    figures = {name: estimate(arm.values(name)) for name in sorted(shared)}
    selected = arm.values(f"best/val_{select_on}")
    selection = estimate([-value for value in selected] if select_on == "loss" else selected)
    assert selection is not None
    return ArmFindings(
        arm=arm,
        figures={name: figure for name, figure in figures.items() if figure is not None},
        selection=selection,
        answers=answers,
        curves=_curves([read_history(run) for run in arm.runs]),
    )


def _curves(histories: Sequence[Mapping[int, Mapping[str, float]]]) -> dict[str, Curve]:
    epochs = sorted({epoch for history in histories for epoch in history})
    names = sorted({name for history in histories for row in history.values() for name in row})
    return {
        name: Curve(
            tuple(epochs),
            np.array(
                [
                    [history.get(epoch, {}).get(name, np.nan) for epoch in epochs]
                    for history in histories
                ]
            ),
        )
        for name in names
    }


def _on_the_same_examples(arms: list[ArmFindings], gaps: list[str]) -> list[ArmFindings]:
    """Drop the answers of arms that were tested on other examples than the first."""
    first = next((arm.answers for arm in arms if arm.answers is not None), None)
    kept = []
    for arm in arms:
        answers = arm.answers
        if first is not None and answers is not None and not _alike(answers, first):
            gaps.append(f"{arm.name}: not tested over test examples, which are others than those "
                        f"of {arms[0].name}")  # fmt: skip
            arm = replace(arm, answers=None)
        kept.append(arm)
    return kept


def _alike(a: Answers, b: Answers) -> bool:
    return a.classes == b.classes and np.array_equal(a.labels, b.labels)


def replicates(one: ArmFindings) -> Replicates:
    """Return an arm's runs as `compare_with` takes them."""
    seeds = tuple(r.init + 10**9 * (r.order + 10**9 * r.cut) for r in one.arm.replicates)
    correct = None if one.answers is None else one.answers.correct
    return Replicates(one.name, seeds, one.accuracy.values, correct)
