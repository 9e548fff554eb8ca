"""Findings of studies that nobody ran: arms of chosen accuracy, without a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from adapterlab.evidence.accuracy_intervals import share_interval
from adapterlab.evidence.intervals import Interval
from adapterlab.reporting.comparing.compare import Candidate, judge
from adapterlab.reporting.findings import (
    ACCURACY,
    ArmFindings,
    Curve,
    Findings,
    Question,
    estimate,
)
from adapterlab.reporting.reading.logged import Answers
from adapterlab.reporting.reading.study import Arm, Replicate, Run


@dataclass(frozen=True)
class Made:
    """An arm to be made up.

    Attributes:
        name: the strategy, and what else stands in the arm's name.
        accuracy: what its seeds get on the test split, on average.
        seeds: how many.
        spread: standard deviation of the seeds' accuracies.
        validation: the mean that it is selected by; None: the accuracy.
        params: its options.
        metrics: one value a seed, or one for all.
        tags: of its runs.
        tested: whether its answers were kept.
        epochs: how long it was trained, by seed or for all; 0: no history was kept.
        alike: whether seeds get the same examples right, but for those of their spread.
    """

    name: str
    accuracy: float = 0.8
    seeds: int = 3
    spread: float = 0.01
    validation: float | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | Sequence[float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    tested: bool = True
    epochs: int | Sequence[int] = 3
    alike: bool = False


def study(
    *arms: Made,
    reference: str | None = None,
    classes: Sequence[str] = ("cat", "dog", "frog"),
    examples: int = 300,
    selected_on: str = "accuracy",
    margin: float | None = None,
) -> Findings:
    """Make up the findings of a study.

    Args:
        arms: what to make.
        reference: name of an arm; None for the best on validation, as in a real study.
        classes: their names; the last is the hardest.
        examples: of the test split.
        selected_on: the metric of the validation curves.
        margin: a share; None for the usual one.
    """
    labels = np.arange(examples) % len(classes)
    made = [_made(n, arm, labels, tuple(classes), selected_on) for n, arm in enumerate(arms)]
    return judge(
        "made up",
        [
            Candidate(
                one,
                None if one.answers is None else one.answers.correct,
                "the same",
                "" if one.answers is not None else "the run of seed 0 kept no predictions",
            )
            for one in made
        ],
        Question(reference=reference, margin=margin),
        selected_on=selected_on,
    )


def _made(
    number: int, made: Made, labels: np.ndarray, classes: tuple[str, ...], selected_on: str
) -> ArmFindings:
    rng = np.random.default_rng(number)
    # Seeds around the mean, and one of them takes what rounding to whole examples leaves over.
    around = rng.normal(size=made.seeds)
    around = (around - around.mean()) / (around.std() or 1)
    n = len(labels)
    right = np.rint(n * np.clip(made.accuracy + made.spread * around, 0, 1)).astype(int)
    right[0] += round(n * made.seeds * made.accuracy) - right.sum()
    drawn = [np.random.default_rng(number) if made.alike else rng for _ in right]
    logits = np.stack(
        [
            _logits(k, labels, len(classes), own)
            for k, own in zip(right.clip(0, n), drawn, strict=True)
        ]
    )
    predicted = logits.argmax(axis=2)
    odds = np.exp(logits - logits.max(axis=2, keepdims=True))
    confidence = (odds / odds.sum(axis=2, keepdims=True)).max(axis=2)
    answers = Answers(labels, predicted.astype(np.int32), confidence, classes)
    accuracies = answers.correct.mean(axis=1)
    validation = accuracies if made.validation is None else [made.validation] * made.seeds
    metrics = {
        "test/accuracy": accuracies,
        **{name: np.broadcast_to(values, made.seeds) for name, values in made.metrics.items()},
    }
    runs = tuple(
        Run(
            run_id=f"{number}-{seed}",
            arm=str(number),
            replicate=Replicate(seed, seed),
            tags={"strategy": made.name.split()[0], "dataset": "made up", "hardware.id": "one"}
            | dict(made.tags),
            params=dict(made.params),
            metrics={name: float(values[seed]) for name, values in metrics.items()},
        )
        for seed in range(made.seeds)
    )
    figures = {name: estimate([run.metrics[name] for run in runs]) for name in metrics}
    selection = estimate([float(value) for value in validation])
    held = share_interval(answers.correct) if made.tested else None
    interval = None if held is None else Interval(held.low, held.high)
    score = figures[ACCURACY] = estimate([run.metrics[ACCURACY] for run in runs], interval)
    assert selection is not None
    assert score is not None
    return ArmFindings(
        arm=Arm(made.name, runs),
        figures={name: figure for name, figure in figures.items() if figure is not None},
        score=score,
        selection=selection,
        answers=answers if made.tested else None,
        curves=_curves(made, accuracies, selected_on),
    )


def _logits(right: int, labels: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Draw logits of which so many are right, mistakes mostly in the last class."""
    n = len(labels)
    logits = rng.normal(size=(n, classes))
    hard = rng.random(n) + (labels == classes - 1)
    wrong = np.argsort(-hard, kind="stable")[: n - right]
    said = labels.copy()
    said[wrong] = (labels[wrong] + 1 + rng.integers(max(1, classes - 1), size=len(wrong))) % classes
    logits[np.arange(n), said] = logits.max(axis=1) + rng.exponential(2, size=n) + 0.01
    return logits


def _curves(made: Made, accuracies: np.ndarray, selected_on: str) -> dict[str, Curve]:
    lengths = np.broadcast_to(made.epochs, made.seeds)
    epochs = np.arange(1, lengths.max() + 1)
    if not len(epochs):
        return {}
    running = epochs <= lengths[:, None]
    level = accuracies[:, None] * (1 - 0.5**epochs)
    values = {"train/loss": 1 - level, f"val/{selected_on}": level}
    return {
        name: Curve(tuple(epochs.tolist()), np.where(running, value, np.nan))
        for name, value in values.items()
    }
