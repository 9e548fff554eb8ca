"""The margin of a comparison: the report's, the runs', or the usual one, in the right unit."""

import pytest

from adapterlab.evidence.verdicts import MARGIN
from adapterlab.reporting.comparing.compare import find
from adapterlab.reporting.findings import Question
from adapterlab.reporting.reading.study import Run, arms_of


def margin(question: Question, **params: str) -> float:
    """The margin at which two arms are compared whose runs were given these options."""
    runs = [
        Run(
            run_id=strategy,
            arm=strategy,
            tags={"strategy": strategy, "dataset": "digits"},
            params={"select_on": "accuracy", **params},
            metrics={"test/accuracy": 0.9, "best/val_accuracy": 0.9},
        )
        for strategy in ("full", "lora")
    ]
    return find("s", arms_of(runs), question).margin


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "recall/3", "source_accuracy"])
def test_points_are_hundredths(metric: str) -> None:
    assert margin(Question(compare_on=metric), margin="2.0") == pytest.approx(0.02)
    assert margin(Question(compare_on=metric, margin=1.5), margin="2.0") == pytest.approx(0.015)
    assert margin(Question(compare_on=metric)) == MARGIN


@pytest.mark.parametrize("metric", ["mcc", "nll", "brier"])
def test_points_of_accuracy_that_runs_state_are_no_margin_of_another_unit(metric: str) -> None:
    assert margin(Question(compare_on=metric), margin="2.0") == MARGIN
    assert margin(Question(compare_on=metric, margin=0.02), margin="2.0") == 0.02
