"""A study as files for a spreadsheet: everything in them, and nothing that it would run."""

import csv
from pathlib import Path

import pytest
from synthetic import Made, study

from adapterlab.base.csv_cells import as_cell
from adapterlab.reporting.tables.arms import Table
from adapterlab.reporting.tables.spreadsheets import arms_csv, runs_csv, runs_table, write_csv


def written(table: Table, path: Path) -> list[dict[str, str]]:
    """Write a table, and read it as others do."""
    write_csv(table, path)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_for_a_spreadsheet_have_all_digits(tmp_path: Path) -> None:
    findings = study(
        Made("full", 0.9, params={"epochs": "3", "optimizer.lr": "0.1"}),
        Made("head", 0.5, params={"epochs": "3", "optimizer.lr": "0.2"}),
    )
    read = written(runs_csv(findings), tmp_path / "runs.csv")
    assert len(read) == 6
    assert {(row["arm"], row["optimizer.lr"]) for row in read} == {("full", "0.1"), ("head", "0.2")}
    (full,) = [arm for arm in findings.arms if arm.name == "full"]
    kept = tuple(float(row["test/accuracy"]) for row in read if row["arm"] == "full")
    assert kept == full.accuracy.values
    arms = {row["arm"]: row for row in written(arms_csv(findings), tmp_path / "arms.csv")}
    assert float(arms["full"]["test/accuracy"]) == full.accuracy.mean
    assert float(arms["full"]["test/accuracy.sd"]) == full.accuracy.deviation
    assert arms["full"]["verdict"] == "reference"
    assert arms["full"]["p"] == ""
    (head,) = [arm for arm in findings.arms if arm.name == "head"]
    assert head.comparison is not None
    for column in ("difference", "p", "p_adjusted", "smallest_detectable"):
        assert float(arms["head"][column]) == getattr(head.comparison, column), column


def test_options_that_all_share_are_there_too(tmp_path: Path) -> None:
    """A file that leaves its folder still says what was run."""
    common = {"epochs": "3", "hardware.precision": "32-true", "root": "/home/me", "study": "s"}
    findings = study(
        Made("lora", 0.9, params={**common, "adapter.rank": "4", "adapter.alpha": "8"}),
        Made("head", 0.5, params={**common, "adapter.rank": "8"}),
    )
    for table in (runs_csv(findings), arms_csv(findings)):
        rows = {row["arm"]: row for row in written(table, tmp_path / "table.csv")}
        for row in rows.values():
            assert (row["epochs"], row["hardware.precision"]) == ("3", "32-true")
            assert not {"root", "study"} & row.keys()  # where it was kept
        assert [rows[arm]["adapter.rank"] for arm in ("lora", "head")] == ["4", "8"]
        assert [rows[arm]["adapter.alpha"] for arm in ("lora", "head")] == ["8", ""]
        # What varies stands left of the figures, what all share right of them.
        places = [table.header.index(name) for name in ("adapter.rank", "test/accuracy", "epochs")]
        assert places == sorted(places)
        assert len(set(table.header)) == len(table.header)
    assert "epochs" not in runs_table(findings).header  # the page has room for what differs


def test_seeds_are_options_of_a_run_and_not_of_an_arm() -> None:
    findings = study(Made("lora", params={"order_seed": "7"}), Made("head"))
    assert "order_seed" in runs_csv(findings).header
    assert runs_csv(findings).header.count("replicate") == 1
    assert not {"seed", "order_seed"} & set(arms_csv(findings).header)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+x",
        "-x",
        "@SUM(A1)",
        "=",
        "-",
        "--1",
        " =1",
        '"=1',
        "\ufeff=1",
        "\uff1d1",
        "\x00=1",
    ],
)
def test_a_text_that_a_spreadsheet_would_run_is_quoted(text: str) -> None:
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("fine;=1", "fine;'=1"),
        ("fine\n=1\nfine", "fine\n'=1\nfine"),
        ("fine;-1.5;-x", "fine;-1.5;'-x"),
    ],
)
def test_what_another_list_sign_would_split_off_is_quoted_as_well(text: str, cell: str) -> None:
    assert as_cell(text) == cell


@pytest.mark.parametrize(
    "value", ["-1", "+0.5", "-1e-05", "-.5", "-inf", "a=b", "", "lora rank=4", -1.5, None, "'=1"]
)
def test_numbers_and_other_texts_stay(value: object) -> None:
    assert as_cell(value) == value


def test_names_of_a_user_s_own_are_not_run(tmp_path: Path) -> None:
    findings = study(
        Made("=HYPERLINK(A1)", 0.9, params={"adapter.label": "@evil", "optimizer.lr": "-1"}),
        Made("head", 0.5, params={"adapter.label": "fine", "optimizer.lr": "-2"}),
    )
    for table in (runs_csv(findings), arms_csv(findings)):
        (row, *_) = (r for r in written(table, tmp_path / "t.csv") if r["arm"] != "head")
        assert row["arm"] == "'=HYPERLINK(A1)"
        assert row["adapter.label"] == "'@evil"
        assert row["optimizer.lr"] == "-1"
