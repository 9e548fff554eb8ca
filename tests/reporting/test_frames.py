"""A study as frames: numbers are numbers, and what was not measured is NaN in all of them."""

import dataclasses
from collections.abc import Sequence

import pandas as pd
import pytest
from synthetic import Made, study

from adapterlab.reporting.findings import Findings
from adapterlab.reporting.tables.frames import arms_frame, runs_frame
from adapterlab.reporting.tables.spreadsheets import COMPARED


def on(dataset: str, seeds: int, *, rank: str = "4") -> Findings:
    found = study(
        Made("lora", 0.9, seeds=seeds, params={"adapter.rank": rank, "adapter.label": "r"}),
        Made("head", 0.5, seeds=seeds),
    )
    return dataclasses.replace(found, task=dataset)


@pytest.mark.filterwarnings("error")  # pandas 2 and 3 join columns without values differently
@pytest.mark.parametrize("seeds", [(1,), (3,), (1, 3)])
def test_figures_are_numbers_also_where_none_was_measured(seeds: Sequence[int]) -> None:
    tasks = [on(f"digits {n}", count) for n, count in enumerate(seeds)]
    arms, runs = arms_frame(tasks), runs_frame(tasks)
    kept = [f"test/accuracy{part}" for part in ("", ".sd", ".low", ".high")]
    for column in (*COMPARED, *kept):
        assert arms[column].dtype == "float64", column
    assert runs["test/accuracy"].dtype == "float64"
    few = arms[arms["dataset"].isin([f"digits {n}" for n, one in enumerate(seeds) if one == 1])]
    assert few["p"].isna().all()
    assert few["test/accuracy.sd"].isna().all()
    assert (few["p"] * 100).isna().all()
    assert arms["may_be_best"].dtype == "boolean"
    assert not arms["test/accuracy"].isna().any()


def test_options_are_numbers_where_all_of_them_are() -> None:
    arms = arms_frame([on("digits", 3)]).set_index("arm")
    assert arms.loc["lora", "adapter.rank"] == 4
    assert pd.isna(arms.loc["head", "adapter.rank"])  # it has none
    assert arms.loc["lora", "adapter.label"] == "r"
    mixed = arms_frame([on("digits", 3), on("words", 3, rank="auto")])
    assert set(mixed["adapter.rank"].dropna()) == {"4", "auto"}


@pytest.mark.filterwarnings("error")
def test_a_column_may_be_added_to_a_frame_of_many() -> None:
    options = {f"option.{n}": str(n) for n in range(150)}
    metrics = {f"cost/{n}": float(n) for n in range(150)}
    found = study(Made("lora", 0.9, params=options, metrics=metrics), Made("head", 0.5))
    for frame in (arms_frame([found]), runs_frame([found])):
        assert len(frame.columns) > 300
        frame["mine"] = frame["test/accuracy"] * 100
