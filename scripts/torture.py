"""Put AdapterLab to its faults, and count what held.

    python scripts/torture.py                        # all kinds, some minutes each
    python scripts/torture.py kills store --seed 1   # two of them
    python scripts/torture.py kills --count 10       # ten trials
    python scripts/torture.py --to docs/reliability.md

Every trial is a command as a user starts it, in a root of its own, and a fault done to it; all
chance comes from `--seed`. The exit code is 1 where anything did not hold.
"""

import importlib
import pkgutil
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

import faults
from adapterlab.app.script_options import Parser, at_least
from adapterlab.base.errors import allowed
from faults.trying import Setting, Trial

BEGIN, END = "<!-- begin {} -->", "<!-- end {} -->"
"""Between them, in a page, lies a kind's table."""


def kinds() -> dict[str, ModuleType]:
    """Return the modules of `faults` that make trials, by name."""
    modules = {
        found.name: importlib.import_module(f"faults.{found.name}")
        for found in pkgutil.iter_modules(faults.__path__)
    }
    return {name: module for name, module in modules.items() if hasattr(module, "tries")}


def tried(name: str, kind: ModuleType, seed: int, count: int | None, folder: Path) -> list[Trial]:
    """Make a kind's trials, printing each that did not hold."""
    count = kind.COUNT if count is None else count
    setting = Setting(random.Random(f"{seed} {name}"), folder, count)
    trials: list[Trial] = []
    with tqdm(total=count, desc=name, unit="trial", disable=not sys.stderr.isatty()) as bar:
        for trial in kind.tries(setting):
            trials.append(trial)
            bar.update()
            if not trial.held:
                bar.write(f"{name}: {trial.fault}: {trial.what}")
    return trials


def rows(trials: Sequence[Trial]) -> list[tuple[str, int, int, str]]:
    """Count by fault: what was done, how often it held, how often it was tried, what happens."""
    found = []
    for fault in dict.fromkeys(trial.fault for trial in trials):
        same = [trial for trial in trials if trial.fault == fault]
        failed = [trial.what for trial in same if not trial.held]
        happened = list(dict.fromkeys(failed or [trial.what for trial in same]))
        found.append((fault, len(same) - len(failed), len(same), "; ".join(happened[:3])))
    return found


def without_place(page: Path, names: Iterable[str]) -> str | None:
    """Say why a page cannot take the tables of some kinds; None where it can."""
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        return f"{page}: {error.strerror}"
    for name in names:
        if not _table_of(name).search(text):
            return f"{page} has no place for {name}: {BEGIN.format(name)} {END.format(name)}"
    return None


def _table_of(name: str) -> re.Pattern[str]:
    begin, end = re.escape(BEGIN.format(name)), re.escape(END.format(name))
    return re.compile(f"{begin}.*?{end}", re.DOTALL)


def write(page: Path, tables: Mapping[str, Sequence[Trial]], command: str) -> None:
    """Put each kind's table between its markers in a Markdown page, which has them."""
    text = page.read_text(encoding="utf-8")
    for name, trials in tables.items():
        lines = [
            f"`{command.format(name)}`",
            "",
            "| fault | held | what happens |",
            "|---|---|---|",
        ]
        lines += [
            f"| {fault} | {held} of {tries} | {what.replace('|', '/')} |"
            for fault, held, tries, what in rows(trials)
        ]
        table = "\n".join([BEGIN.format(name), *lines, END.format(name)])
        found = _table_of(name).search(text)
        assert found is not None  # `without_place` has looked
        text = text.replace(found[0], table)
    page.write_text(text, encoding="utf-8")


def main() -> int:
    known = kinds()
    parser = Parser(
        description="Put AdapterLab to its faults, and count what held.",
        epilog="kinds: "
        + "; ".join(
            f"{name}: {(kind.__doc__ or '').splitlines()[0]}" for name, kind in known.items()
        ),
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="unless given: all of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--count", type=at_least(1), help="trials of a kind; its own number unless given"
    )
    parser.add_argument("--to", type=Path, help="a page with a place for each kind's table")
    parser.add_argument("--keep", type=Path, help="a folder for the roots, to look at")
    given = parser.parse_args()
    for name in given.kinds:
        if name not in known:
            parser.error(f"there is no kind {name!r}; {allowed(name, known)}")
    if given.keep and any((given.keep / name).exists() for name in given.kinds or known):
        parser.error(f"--keep: {given.keep} has roots of before; allowed: another folder")
    if given.to and (lacking := without_place(given.to, given.kinds or known)):
        parser.error(f"--to: {lacking}")

    folder = given.keep or Path(tempfile.mkdtemp(prefix="torture-"))
    tables = {}
    for name in given.kinds or known:
        place = folder / name
        place.mkdir(parents=True)
        tables[name] = tried(name, known[name], given.seed, given.count, place)
        if not given.keep:
            shutil.rmtree(place, ignore_errors=True)

    shown = Table("kind", "fault", "held", "what happens")
    for name, trials in tables.items():
        for fault, held, tries, what in rows(trials):
            shown.add_row(name, fault, f"{held} of {tries}", what)
    Console().print(shown)
    if given.to:
        count = f" --count {given.count}" if given.count is not None else ""
        write(given.to, tables, f"python scripts/torture.py {{}} --seed {given.seed}{count}")
    return 0 if all(trial.held for trials in tables.values() for trial in trials) else 1


if __name__ == "__main__":
    sys.exit(main())
