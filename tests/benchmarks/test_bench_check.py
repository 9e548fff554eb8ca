"""What got slower, out of made-up measurements, and the page that is written from such."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import bench
import pytest
from benching import page
from benching.comparing import compare, differences
from benching.kept import RESULTS, Kept, Measured, load
from benching.rows import Race, Row, memory, whole

from lab import CHECKOUT

MACHINE: dict[str, Any] = {
    "cpu": "A CPU", "flags": ["avx2"], "cores": "2", "usable_cores": 2, "threads": "1",
    "torch": "2.13.0", "python": "3.11.9", "memory_gib": 8, "commit": "abc",
}  # fmt: skip


def _measured(ours: float, theirs: float = 1.0, **others: Any) -> Measured:
    values: dict[str, Any] = {
        "date": "2026-11-28", "commit": "abc", "load": 0.1, "data": "digits",
        "ours": {"cpu": [ours] * 3, "wall": [ours] * 3},
        "theirs": {"cpu": [theirs] * 3, "wall": [theirs] * 3},
        "samples": {"A": {"mib": [50.0] * 3}, "B": {"mib": [60.0] * 3}},
    }  # fmt: skip
    return Measured(**{**values, **others})


def _kept(**rows: Measured) -> Kept:
    return Kept(MACHINE, dict(rows))


def test_what_got_slower_by_more_than_the_threshold_is_named() -> None:
    before = _kept(a=_measured(1.0), b=_measured(1.0), c=_measured(1.0), d=_measured(1.0))
    now = _kept(a=_measured(1.16), b=_measured(1.14), c=_measured(0.8), d=_measured(2.0, 2.0))
    found = compare(before, now)
    assert [change.name for change in found.slower] == ["a"]
    assert [change.name for change in found.alike] == ["b", "d"]  # seconds do not count
    assert [change.name for change in found.quicker] == ["c"]
    assert str(found.slower[0]) == "a: 1 before, 1.16 now (+16%)"
    assert found.incomparable == {}


def test_medians_are_compared_and_one_bad_turn_is_not() -> None:
    bad = replace(_measured(1.0), ours={"cpu": [1.0, 9.0, 1.0], "wall": [1.0, 9.0, 1.0]})
    assert compare(_kept(a=_measured(1.0)), _kept(a=bad)).slower == []


def test_what_cannot_be_compared_says_why() -> None:
    skipped = Measured("2026-11-28", "abc", 0.1, skipped="there is no GPU")
    before = _kept(a=skipped, b=_measured(1.0, data="fashion_mnist"), c=_measured(1.0))
    failed = Measured("2026-11-28", "abc", 0.1, failed="exit code 1")
    rows = {"a": _measured(1.0), "b": _measured(1.0), "c": failed, "new": _measured(1.0)}
    rows["d"] = _measured(1.0, clock="wall")
    before.rows["d"] = _measured(1.0)
    assert compare(before, _kept(**rows)).incomparable == {
        "a": "it was not measured before: there is no GPU",
        "b": "measured on fashion_mnist before, on digits now",
        "c": "exit code 1",
        "new": "it is not kept",
        "d": "cpu seconds counted before, wall seconds now",
    }


def test_only_what_decides_makes_another_machine() -> None:
    assert differences(MACHINE, MACHINE | {"memory_gib": 16, "commit": "def"}) == []
    other = MACHINE | {"flags": ["avx2", "avx512f"], "accelerator": "A GPU"}
    assert differences(MACHINE, other) == [
        "flags: avx2 before, avx2 avx512f now",
        "accelerator: none before, A GPU now",
    ]
    assert Kept(MACHINE).name == Kept(MACHINE | {"commit": "def"}).name != Kept(other).name


def test_rows_are_kept_beside_those_of_before(tmp_path: Path) -> None:
    _kept(a=_measured(1.0), b=_measured(1.0)).save(tmp_path)
    place = _kept(b=_measured(2.0)).save(tmp_path)
    kept = load(place)
    assert {name: row.ratio() for name, row in kept.rows.items()} == {"a": 1.0, "b": 2.0}
    assert "commit" not in kept.machine
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_the_page_shows_what_is_kept() -> None:
    races = {"r": Race("r", "Something small", lambda setting: {})}
    rows = {
        "a": Row("a", "A over B", "r", whole("A"), whole("B"), 1.0, "Not equal."),
        "m": Row("m", "Memory", "r", memory("A"), memory("B"), 3.0, "Not equal."),
        "s": Row("s", "Elsewhere", "r", whole("A"), whole("B")),
    }
    kept = _kept(
        a=_measured(1.5),
        m=_measured(120.0, 60.0, unit="MiB"),
        s=Measured("2026-11-28", "abc", 0.1, skipped="there is no GPU"),
        gone=_measured(1.0),
    )
    text = page.part([kept], races, rows)
    assert "### A CPU, 2 cores" in text
    assert "| A over B (`a`) | **1.5** (1.5 to 1.5) | 1 | 1.5 " in text  # bold: more than asked
    assert "| A: 1.5 s, wall 1.5 s, 50 MiB | B: 1 s, wall 1 s, 60 MiB |" in text
    assert "| Memory (`m`) | 2 (2 to 2) | 3 |  | A: memory: 120 MiB | B: memory: 60 MiB |" in text
    assert text.count("Not equal.") == 1
    assert "- `a`, `m`: Not equal." in text
    assert "Not measured here: `s` (there is no GPU)." in text
    assert "gone" not in text


def test_the_page_keeps_what_is_outside_of_its_markers() -> None:
    whole_page = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"
    assert page.filled(whole_page, "new\n") == f"before\n{page.BEGIN}\nnew\n{page.END}\nafter\n"
    for wrong in ("none", page.BEGIN, f"{page.END}\n{page.BEGIN}", whole_page * 2):
        with pytest.raises(ValueError, match="no place for benchmarks"):
            page.filled(wrong, "new")


def test_the_page_of_this_checkout_is_written_from_what_is_kept(tmp_path: Path) -> None:
    """As `python scripts/benchmarks/bench.py --page` writes it."""
    of_checkout = CHECKOUT / "docs" / "benchmarks.md"
    copy = tmp_path / "benchmarks.md"
    copy.write_text(of_checkout.read_text())
    page.write(copy, RESULTS, *bench.all_of())
    assert copy.read_text() == of_checkout.read_text()
