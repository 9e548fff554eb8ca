"""A short part of `scripts/torture.py datasets`, and what tells whether a data set held."""

import random
from pathlib import Path

import pytest

from faults import datasets
from faults.trying import Setting

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_damaged_data_sets_train_whole_or_are_refused_in_one_line(tmp_path: Path) -> None:
    setting = Setting(random.Random("datasets"), tmp_path, 10)
    trials = list(datasets.tries(setting))
    assert [trial for trial in trials if not trial.held] == []
    assert {trial.what for trial in trials} == {"refused in one line", "trained whole"}


@pytest.mark.parametrize("kind", datasets.DAMAGES)
def test_what_is_whole_trains(kind: str, tmp_path: Path) -> None:
    trial = datasets.tried(Setting(random.Random(kind), tmp_path, 1), 0, kind, "whole")
    assert (trial.held, trial.what) == (True, "trained whole")


def test_rows_that_are_dropped_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = datasets.rows_left

    def one_more(kind: str, data: Path) -> dict[str, int]:
        rows = counted(kind, data)
        assert rows is not None
        return rows | {"train": rows["train"] + 1}

    monkeypatch.setattr(datasets, "rows_left", one_more)
    trial = datasets.tried(Setting(random.Random(0), tmp_path, 1), 0, "images", "whole")
    assert not trial.held
    assert "'train': 24" in trial.what
    assert "'train': 25" in trial.what


def test_a_traceback_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("so it goes")

    monkeypatch.setattr("adapterlab.runs.data.load_data", fail)
    trial = datasets.tried(Setting(random.Random(0), tmp_path, 1), 0, "images", "whole")
    assert trial.what == "images: nothing: a traceback: ZeroDivisionError: so it goes"
