"""What the terminal says of a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from adapterlab.app.console import print_evaluation, print_line
from adapterlab.base.amounts import duration
from adapterlab.config.bookkeeping import Told
from adapterlab.runs.evaluation import Evaluation
from adapterlab.runs.folders.folder import RunResult
from lab import tiny


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
    costs: dict[str, float], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_line(result(**costs), tiny(tmp_path))
    name = "digits_rotated-mlp-lora-r8-a16-seed0"
    assert capsys.readouterr().out == f"{name}: accuracy 50.00% on the test split, {line}\n"


def test_a_prefix_that_is_off_takes_no_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What finding that out took, under a millisecond, stood there as its time."""
    off = replace(
        result(train_seconds=1.0, prefix_seconds=0.001, samples_per_second=83.0),
        tags={"frozen_prefix": "off: the strategy trains or adapts the first layer"},
    )
    print_line(off, tiny(tmp_path))
    assert capsys.readouterr().out.endswith("on the test split, 1.0 s, 83 samples/s\n")


def test_the_line_of_a_run_of_many_names_what_is_varied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its label leaves the rate out, and two lines would be the same."""
    for rate in ("1e-3", "3e-3"):
        naming = [f"optimizer.lr={rate}", "adapter.rank=4"]
        config = tiny(tmp_path, f"optimizer.lr={rate}", "adapter.rank=4", "order_seed=2")
        print_line(
            result(lane_seconds=1.0), replace(config, told=Told(options=naming, naming=naming))
        )
    one, other = capsys.readouterr().out.splitlines()
    assert one.startswith("lora rank=4 optimizer.lr=1e-3 init 0, order 2: accuracy 50.00%")
    assert other.startswith("lora rank=4 optimizer.lr=3e-3 init 0, order 2: accuracy 50.00%")


def test_a_name_with_brackets_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Rich would read them as its markup, and leave them out."""
    name = "lora [query, value]"
    print_evaluation(
        Evaluation(name=name, split="test", metrics={"accuracy": 0.5}, logged={}, notes=())
    )
    assert f"{name} on test" in capsys.readouterr().out
