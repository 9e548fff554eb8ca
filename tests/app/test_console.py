"""What the terminal says of a run."""

from pathlib import Path

import pytest

from adapterlab.app.console import print_line
from adapterlab.base.amounts import duration
from adapterlab.runs.folder import RunResult


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0 ms"),
        (0.000_012_3, "0.012 ms"),
        (0.000_94, "0.94 ms"),
        (0.000_96, "1 ms"),
        (0.0449, "45 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (2.345, "2.3 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200.4, "3 min 20 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7500.0, "2 h 5 min"),
        (360_000.0, "100 h 0 min"),
    ],
)
def test_a_duration_in_words(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def result(**costs: float) -> RunResult:
    return RunResult(
        name="lora",
        folder=Path("lora"),
        run_id=None,
        metrics={"test/accuracy": 0.5} | {f"cost/{name}": value for name, value in costs.items()},
        missing={"cost/train_seconds": "the run was interrupted and resumed"},
        notes=(),
        shape=(),
        classes=(),
        data_hash="",
        tags={"pack_size": "8"},
        history={},
    )


@pytest.mark.parametrize(
    ("costs", "line"),
    [
        ({"lane_seconds": 0.031}, "31 ms, its share in a pack of 8"),
        ({"train_seconds": 0.21, "samples_per_second": 1234.0}, "210 ms, 1,234 samples/s"),
        (
            {"train_seconds": 548.0, "prefix_seconds": 0.003, "samples_per_second": 83.0},
            "9 min 8 s, 3 ms of them for the frozen prefix, 83 samples/s after it",
        ),
        ({}, "seconds not measured: the run was interrupted and resumed"),
    ],
)
def test_the_line_of_a_run(
    costs: dict[str, float], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_line(result(**costs))
    assert capsys.readouterr().out == f"lora: accuracy 50.00% on the test split, {line}\n"
