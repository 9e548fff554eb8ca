"""Benchmarks: both sides of a row in turn, whole processes, CPU seconds first.

    python scripts/benchmarks/bench.py --list
    python scripts/benchmarks/bench.py --rows lone_lora,resume --turns 5
    python scripts/benchmarks/bench.py --keep              # `make bench`: all rows, JSON and page
    python scripts/benchmarks/bench.py --check             # `make bench-check`: what got slower
    python scripts/benchmarks/bench.py --page              # the page alone, from what is kept

Real data sets are taken from ADAPTERLAB_DATA_DIR where they are; rows on images fall back to
scikit-learn's digits, other rows say what they lack. The exit code is 1 where a side failed, or
something got slower by more than 15%, and 2 where nothing can be compared.
"""

import argparse
import importlib
import os
import pkgutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benching import kept as keeping
from benching import page, themes
from benching.comparing import Comparison, compare, differences
from benching.kept import RESULTS, Kept, Measured, measured, now
from benching.rows import Race, Row, run_race
from benching.samples import SideError
from benching.setting import Setting

from adapterlab.app.script_options import Parser, at_least, names_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def all_of() -> tuple[dict[str, Race], dict[str, Row]]:
    """Return races and rows of all themes, by name."""
    names = [found.name for found in pkgutil.iter_modules(themes.__path__)]
    modules = [importlib.import_module(f"benching.themes.{name}") for name in names]
    races = {race.name: race for module in modules for race in module.RACES}
    rows = {row.name: row for module in modules for row in module.ROWS}
    return races, rows


def parsed(rows: dict[str, Row]) -> argparse.Namespace:
    layout = argparse.RawTextHelpFormatter
    parser = Parser(description=__doc__, formatter_class=layout)
    parser.add_argument("--list", action="store_true", help="name all rows, and measure none")
    parser.add_argument(
        "--rows", type=names_of(rows), help="names, with commas between; by default all"
    )
    parser.add_argument("--turns", type=at_least(1), default=3, help="of each side")
    parser.add_argument("--keep", action="store_true", help="write JSON and page")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of JSON")
    parser.add_argument("--to", type=Path, default=PAGE, help="the page; docs/benchmarks.md")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--check", action="store_true", help="compare with what is kept")
    parser.add_argument("--against", type=Path, help="a file of JSON of another machine")
    parser.add_argument(
        "--limit", type=at_least(1), help="examples of each split, to try a row out"
    )
    given = parser.parse_args()
    given.names = given.rows or [*rows]
    if given.keep and given.limit is not None:
        parser.error("--keep: what --limit made small is not kept")
    return given


def main() -> int:
    races, rows = all_of()
    given = parsed(rows)
    if given.list:
        for row in rows.values():
            print(f"{row.name:30} {row.title}" + (f" (at most {row.most:g})" if row.most else ""))
        return 0
    if given.page:
        page.write(given.to, given.results, races, rows)
        return 0
    data_dir = os.environ.get("ADAPTERLAB_DATA_DIR")
    with tempfile.TemporaryDirectory(prefix="adapterlab-bench-") as folder:
        setting = Setting(
            Path(folder).resolve(),
            turns=given.turns,
            data_dir=Path(data_dir).resolve() if data_dir else None,
            limit=given.limit,
        )
        before = kept_of(given, setting.machine) if given.check else None
        if isinstance(before, str):
            print(f"error: {before}", file=sys.stderr)
            return 2
        try:
            found = race_all(setting, races, [rows[name] for name in given.names], given)
        finally:
            setting.close()
    if given.keep:
        page.write(given.to, given.results, races, rows)
    failed = any(row.failed for row in found.rows.values())
    if before is None:
        return int(failed)
    comparison = compare(before, found)
    say(comparison)
    return int(failed or bool(comparison.slower))


def race_all(
    setting: Setting, races: dict[str, Race], rows: list[Row], given: argparse.Namespace
) -> Kept:
    """Run the races of some rows, each once; print, and keep, each row as it is there."""
    found = Kept(setting.machine)
    commit = setting.machine["commit"] or "none"
    for name in dict.fromkeys(row.race for row in rows):
        race, own = races[name], [row for row in rows if row.race == name]
        about = now(commit, setting.images)
        if lacking := race.lacking(setting):
            these = {row.name: Measured(**about, skipped=lacking) for row in own}
        else:
            these = raced(race, own, setting, about)
        for row in own:
            print(line(row, these[row.name]), flush=True)
        found.rows |= these
        if given.keep:
            Kept(setting.machine, these).save(given.results)
    return found


def raced(
    race: Race, rows: list[Row], setting: Setting, about: dict[str, Any]
) -> dict[str, Measured]:
    """Run a race and return its rows."""
    wanted = tuple(dict.fromkeys(side for row in rows for side in row.sides))
    try:
        turns = run_race(race, wanted, setting)
        return {row.name: measured(row, turns, about, gpu=setting.on_gpu) for row in rows}
    except SideError as error:
        return {row.name: Measured(**about, failed=str(error)) for row in rows}


def line(row: Row, found: Measured) -> str:
    """Say what came of a row."""
    if not found.there:
        return f"{row.name}: " + (
            f"FAILED: {found.failed}" if found.failed else f"skipped: {found.skipped}"
        )
    low, high = found.spread()
    asked = "" if row.most is None else f", at most {row.most:g}"
    missed = " MISSED" if row.most is not None and found.ratio() > row.most else ""
    wall = "" if found.unit == "MiB" else f"; wall {found.ratio('wall'):.3g}"
    return f"{row.name}: {found.ratio():.3g} ({low:.3g} to {high:.3g}{asked}){missed}{wall}"


def kept_of(given: argparse.Namespace, machine: Any) -> Kept | str:
    """Return what is kept of such a machine, or why nothing can be compared."""
    if given.against is not None:
        before = keeping.load(given.against)
        for difference in differences(before.machine, machine):
            print(f"warning: not such a machine: {difference}", file=sys.stderr)
        return before
    place = given.results / f"{Kept(machine).name}.json"
    if place.is_file():
        return keeping.load(place)
    lines = ["nothing is kept of such a machine: make bench keeps it"]
    for other in sorted(given.results.glob("*.json")):
        unlike = "; ".join(differences(keeping.load(other).machine, machine))
        lines.append(f"--against {other} compares all the same ({unlike})")
    return "\n  ".join(lines)


def say(comparison: Comparison) -> None:
    """Print what got slower, and the rest."""
    for name, why in comparison.incomparable.items():
        print(f"not compared: {name}: {why}")
    for change in comparison.quicker:
        print(f"quicker: {change}")
    for change in comparison.slower:
        print(f"SLOWER: {change}")
    alike, quicker, slower = map(len, (comparison.alike, comparison.quicker, comparison.slower))
    print(f"{alike} rows as before; {quicker} quicker, {slower} slower")


if __name__ == "__main__":
    sys.exit(main())
