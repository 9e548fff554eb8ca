"""What several seeds give for nothing: the ensemble of an arm's runs, and how much they churn."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from adapterlab.evidence.arrays import Booleans
from adapterlab.evidence.ensembles import Scores, churn, most_flipped, scores
from adapterlab.evidence.intervals import t_interval
from adapterlab.evidence.metrics import expected_calibration_error
from adapterlab.reporting.formatting import listed, percent, points
from adapterlab.reporting.reading.logged import Answers
from adapterlab.reporting.tables.arms import Table

_FLIPS = 10


class Answered(Protocol):
    """An arm with the answers of its runs, as `ArmFindings` is one."""

    @property
    def name(self) -> str:
        """The arm's name."""

    @property
    def answers(self) -> Answers | None:
        """Of its runs; None where they were not kept."""


def seeds_table(arms: Sequence[Answered]) -> Table | None:
    """Return one row an arm of two or more seeds; None if there is no such arm.

    Each of accuracy, NLL and ECE stands for the mean of the runs, then for the one ensemble of
    all of them, whose probabilities are the mean of theirs. The interval of what that gains in
    accuracy is over test examples, these runs given: another ensemble was not trained. Where
    probabilities were not read, the ensemble's cells are empty.
    """
    rows = [
        (arm.name, *_cells(arm.answers))
        for arm in arms
        if arm.answers is not None and len(arm.answers.predicted) > 1
    ]
    header = (
        *("arm", "seeds", "accuracy", "ensemble's", "gain (95% over examples)"),
        *("NLL", "ensemble's NLL", "ECE", "ensemble's ECE"),
        *("churn between two seeds", "not the same for all seeds"),
    )
    return Table("What seeds give for nothing", header, tuple(rows)) if rows else None


def flips_table(arm: Answered, top: int = _FLIPS) -> Table | None:
    """Return the test examples on which most pairs of an arm's seeds disagree.

    None where the arm has one seed, kept no answers, or its seeds agree on all examples. An
    example is called as its user's file calls it, see `Answers.name_of`.
    """
    answers = arm.answers
    if answers is None or len(answers.predicted) < 2:
        return None
    flips = most_flipped(answers.predicted, answers.labels, top)
    if not flips:
        return None
    rows = [
        (
            answers.name_of(flip.row),
            answers.classes[flip.label],
            listed([f"{answers.classes[said]} ({times})" for said, times in flip.answers]),
            percent(flip.disagreement),
        )
        for flip in flips
    ]
    header = ("test example", "true class", "answers (seeds)", "pairs that disagree")
    return Table(f"Examples whose answer depends on the seed: {arm.name}", header, tuple(rows))


def _cells(answers: Answers) -> tuple[str, ...]:
    churned = churn(answers.predicted, answers.labels)
    assert churned is not None
    mean, of_all = _of_a_run(answers), _of_all(answers)
    seeds = str(len(answers.predicted))
    tail = (percent(churned.pairwise), percent(churned.any))
    if mean is None or of_all is None:
        return (seeds, percent(float(answers.correct.mean())), *[""] * 6, *tail)
    assert answers.ensemble is not None
    return (
        *(seeds, percent(mean.accuracy), percent(of_all.accuracy)),
        _gain(answers.ensemble.argmax(axis=1) == answers.labels, answers.correct),
        *(f"{mean.nll:.3f}", f"{of_all.nll:.3f}", f"{mean.ece:.3f}", f"{of_all.ece:.3f}"),
        *tail,
    )


def _gain(right: Booleans, by_run: Booleans) -> str:
    """Write what the ensemble gains over the mean of its runs, from ``[N]`` and ``[S, N]``."""
    gains = right - by_run.mean(axis=0)
    interval = t_interval(gains)
    if interval is None or not gains.any():
        return points(float(gains.mean()))
    return f"{points(float(gains.mean()))} ({points(interval.low)} to {points(interval.high)})"


def _of_a_run(answers: Answers) -> Scores | None:
    """Return the mean scores of the runs."""
    if answers.log_of_label is None:
        return None
    errors = [
        expected_calibration_error(confidence, right)
        for confidence, right in zip(answers.confidence, answers.correct, strict=True)
    ]
    return Scores(
        accuracy=float(answers.correct.mean()),
        nll=float(-answers.log_of_label.mean()),
        ece=float(np.mean(errors)),
    )


def _of_all(answers: Answers) -> Scores | None:
    return None if answers.ensemble is None else scores(answers.ensemble, answers.labels)
