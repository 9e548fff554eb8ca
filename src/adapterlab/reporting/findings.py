"""What is known of a study's arms: every figure with its uncertainty, and what was decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.config.tasks import TASKS, Task, main_metric
from adapterlab.evidence.arrays import Floats
from adapterlab.evidence.intervals import Interval, mean_and_deviation, t_interval
from adapterlab.evidence.metrics import answers_one_class
from adapterlab.evidence.score_intervals import score_interval
from adapterlab.evidence.verdicts import Comparison, Family, Verdict
from adapterlab.reporting.reading.logged import Answers
from adapterlab.reporting.reading.study import Arm, Run, Status

ACCURACY = "test/accuracy"


def task_of_run(run: Run) -> Task:
    """Return what a run learnt."""
    return next((task for task in TASKS if task == run.params.get("task")), "single_label")


def main_of(run: Run) -> str:
    """Return the main metric of what a run learnt."""
    return main_metric(task_of_run(run))


@dataclass(frozen=True)
class Estimate:
    """A figure of an arm over its seeds.

    Attributes:
        values: one a seed.
        mean: of them.
        deviation: sample standard deviation; None for one value.
        interval: 95% interval of the mean; None where no spread was seen. That of an accuracy is
            over seeds and test examples, that of another figure over seeds (Student's t).
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
    """All that is known of one arm of which a run has finished.

    Attributes:
        arm: its runs.
        figures: every final metric that all of its finished runs have, by name.
        score: what arms are compared on, on the test split.
        selection: what its runs were selected by, on validation; higher is better. None where
            they were selected by another metric than those of most arms.
        answers: to the test examples; None where they were not kept.
        curves: metrics by epoch, by name.
        comparison: with the reference; None for the reference itself.
        letters: two arms that share one are not told apart; empty if it was not tested.
        may_be_best: whether the best arm may be this one; None if that is not known.
        examples: of the test split that the score is over; None where no answers were kept.
        heaviest: weight of the heaviest of them, see `score_intervals.heaviest_weight`.
    """

    arm: Arm
    figures: Mapping[str, Estimate]
    score: Estimate
    selection: Estimate | None
    answers: Answers | None
    curves: Mapping[str, Curve]
    comparison: Comparison | None = None
    letters: str = ""
    may_be_best: bool | None = None
    examples: int | None = None
    heaviest: float = 1.0

    @property
    def selected(self) -> float:
        """Mean of what it was selected by; lowest of all where that is not known."""
        return float("-inf") if self.selection is None else self.selection.mean

    @property
    def main(self) -> str:
        """The main metric of its task: accuracy of one label."""
        return main_of(self.arm.first)

    @property
    def tested_on(self) -> int:
        """How many test examples its answers were kept of."""
        return self.examples or (0 if self.answers is None else len(self.answers.labels))

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.arm.name

    @property
    def strategy(self) -> str:
        """The way of fine-tuning."""
        return self.arm.first.tags["strategy"]

    @property
    def accuracy(self) -> Estimate:
        """On the target's test split; of tasks other than one label, their main metric."""
        return self.figures[f"test/{self.main}"]

    def figure(self, name: str) -> Estimate | None:
        """Return a final metric, None where it was not measured."""
        return self.figures.get(name)

    def param(self, name: str) -> str | None:
        """Return an option that all runs of the arm share."""
        return self.arm.first.params.get(name)

    @property
    def trained(self) -> float:
        """The number of parameters that it trains; infinite where it was not measured."""
        figure = self.figure("params/trainable")
        return float("inf") if figure is None else figure.mean

    @property
    def over_budget(self) -> bool:
        """Whether a run was asked to train at most so many parameters, and trains more."""
        return any(near > 1 for near in self.arm.values("budget/near"))

    @property
    def diverged(self) -> int:
        """How many of its runs diverged."""
        return self.arm.count(Status.DIVERGED)

    @property
    def collapsed(self) -> int:
        """How many of its finished runs answer one class only."""
        return sum(answers_one_class(run.metrics) for run in self.arm.runs)

    @property
    def unsteady(self) -> str:
        """What some of its runs came to that no arm should be taken with; empty if none did."""
        said = []
        if self.diverged:
            said.append(f"diverged in {self.diverged} of {self.arm.tried}")
        if self.collapsed:
            said.append(f"answers one class only in {self.collapsed} of {len(self.arm.runs)}")
        return ", ".join(said)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a report is asked.

    Attributes:
        reference: name of the arm to compare with; None for the best on validation.
        planned: whether the reference was named before any run was seen, so that nothing but
            comparisons with it counts.
        compare_on: the metric of the test split that arms are compared on; ``auto`` is the main
            one of the task.
        margin: a difference in that metric that does not matter; None takes the study's own.
        level: the share of studies with a false difference, at most.
    """

    reference: str | None = None
    planned: bool = False
    compare_on: str = "accuracy"
    margin: float | None = None
    level: float = 0.05


@dataclass(frozen=True, eq=False)
class Findings:
    """What a study found on one data set: its arms, the one with the best mean score first.

    Attributes:
        study: its name.
        task: the data set.
        arms: those of which a run has finished, at least one.
        lost: those of which none has.
        reference: the arm that the table compares all others with.
        chosen: whether somebody named the reference, rather than validation.
        selected_on: the validation metric that runs were selected on.
        compared_on: the metric of the test split that is compared.
        family: all comparisons that were made; None if no arm kept its predictions.
        margin: a difference that does not matter, in the unit of the score.
        gaps: what could not be done, and why.
    """

    study: str
    task: str
    arms: tuple[ArmFindings, ...]
    lost: tuple[Arm, ...]
    reference: ArmFindings
    chosen: bool
    selected_on: str
    compared_on: str
    family: Family | None
    margin: float
    gaps: tuple[str, ...]

    @property
    def main(self) -> str:
        """The main metric of the task: accuracy of one label."""
        return self.reference.main

    @property
    def runs(self) -> list[Run]:
        """The finished runs of all arms."""
        return [run for arm in self.arms for run in arm.arm.runs]

    @property
    def all_arms(self) -> list[Arm]:
        """The arms, those without a finished run last."""
        return [*(one.arm for one in self.arms), *self.lost]

    @property
    def tried(self) -> int:
        """How many runs there are, finished or not."""
        return sum(arm.tried for arm in self.all_arms)

    @property
    def others(self) -> tuple[ArmFindings, ...]:
        """All arms but the reference."""
        return tuple(arm for arm in self.arms if arm is not self.reference)

    @property
    def best(self) -> tuple[ArmFindings, ...]:
        """The arms that may be best."""
        return tuple(arm for arm in self.arms if arm.may_be_best)

    def arm(self, name: str) -> ArmFindings:
        """Return what was found on an arm of which a run has finished.

        Raises:
            ConfigError: there is no arm of this name.
        """
        arms = {arm.name: arm for arm in self.arms}
        if name not in arms:
            raise ConfigError(f"{name} is no arm; {allowed(name, arms)}")
        return arms[name]

    def verdict(self, a: ArmFindings, b: ArmFindings) -> Verdict | None:
        """Return the verdict on an arm against another; None if they were not in one family."""
        names = {one.name for one in self.family.arms} if self.family else set()
        if self.family is None or not {a.name, b.name} <= names:
            return None
        return self.family.verdict(a.name, b.name)


def headline(findings: Findings, level: float = 0.95) -> tuple[Interval | None, int]:
    """Return the interval of the reference's score, and among how many arms it was picked.

    The arm that is best on validation owes some of its score to luck, so that its interval is one
    of as many that hold at once as there are arms to pick from (Šidák). One that was planned was
    not picked.
    """
    family, reference = findings.family, findings.reference
    if family is None or reference.name not in {arm.name for arm in family.arms}:
        return reference.score.interval, 1
    if family.control is not None or len(family.arms) == 1:
        return reference.score.interval, 1
    among = len(family.arms)
    values = next(arm.values for arm in family.arms if arm.name == reference.name)
    each = level ** (1 / among)
    metric, heaviest = findings.compared_on, reference.heaviest
    return score_interval(metric, values, level=each, heaviest=heaviest), among


def estimate(values: Sequence[float], interval: Interval | None = None) -> Estimate | None:
    """Return mean, deviation and interval of a figure over seeds; None without values.

    Args:
        values: one a seed.
        interval: of the mean; None for Student's over seeds.
    """
    if not values:
        return None
    mean, deviation = mean_and_deviation(values)
    # Equal seeds do not show how far others would be from them; sums of equals are not quite equal.
    spread = deviation is not None and deviation > 1e-9 * abs(mean)
    found = interval or (t_interval(values) if spread else None)
    return Estimate(tuple(values), mean, deviation, found)
