"""How cost grows: whole processes at more and more lanes, ranks, rows, tokens, arms and runs.

    python scripts/benchmarks/growth.py --list
    python scripts/benchmarks/growth.py --axes lanes,store --up-to 1000   # no larger sizes
    python scripts/benchmarks/growth.py --keep             # all of it, JSON, docs/growth.md, figure
    python scripts/benchmarks/growth.py --page             # page and figure, from what is kept

CPU seconds of whole processes, one thread each, all children counted, once a size. What one more
takes, between a size and the one before, is what should not grow.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benching.kept import Kept, now
from benching.samples import SideError
from benching.setting import Setting
from growing.axes import AXES, Axis, Point
from growing.page import Grown, save, table, write

from adapterlab.app.script_options import Parser, at_least, names_of

HERE = Path(__file__).resolve()
RESULTS, PAGE = HERE.parent / "results" / "growth", HERE.parents[2] / "docs" / "growth.md"


def parsed() -> argparse.Namespace:
    layout = argparse.RawTextHelpFormatter
    known = {axis.name: axis for axis in AXES}
    parser = Parser(description=__doc__, formatter_class=layout)
    parser.add_argument("--list", action="store_true", help="name all axes, and measure none")
    parser.add_argument(
        "--axes", type=names_of(known), help="names, with commas between; by default all"
    )
    parser.add_argument("--up-to", type=at_least(1), help="the largest size")
    parser.add_argument("--keep", action="store_true", help="write JSON, page and figure")
    parser.add_argument("--page", action="store_true", help="write page and figure alone")
    given = parser.parse_args()
    given.chosen = [known[name] for name in given.axes or known]
    return given


def measured(axis: Axis, setting: Setting, most: int | None) -> Grown:
    """Measure an axis, up to a size at most.

    Raises:
        SideError: a process ended early.
    """
    about = now(setting.machine["commit"] or "none", setting.images)
    if lacking := axis.lacking(setting):
        return Grown(**about, skipped=lacking)
    points: list[Point] = []
    sizes = [size for size in axis.sizes if most is None or size <= most]
    for size, values in axis.measure(setting, sizes):
        said = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        print(f"{axis.name} {size:,}: {said}", flush=True)
        points.append((size, values))
    return Grown(**about, points=points)


def main() -> int:
    given = parsed()
    pictures = PAGE.parent / "images"
    if given.list:
        for axis in AXES:
            print(f"{axis.name:8} {axis.title} ({', '.join(f'{size:,}' for size in axis.sizes)})")
        return 0
    if given.page:
        write(PAGE, RESULTS, pictures)
        return 0
    data_dir, failed = os.environ.get("ADAPTERLAB_DATA_DIR"), False
    with tempfile.TemporaryDirectory(prefix="adapterlab-growth-") as folder:
        real = Path(data_dir).resolve() if data_dir else None
        setting = Setting(Path(folder).resolve(), data_dir=real)
        place = RESULTS / f"{Kept(setting.machine).name}.json"
        for axis in given.chosen:
            try:
                grown = measured(axis, setting, given.up_to)
            except SideError as error:
                print(f"{axis.name}: FAILED: {error}", file=sys.stderr)
                failed = True
                continue
            print(table(axis, grown), flush=True)
            if given.keep:
                save(place, setting.machine, {axis.name: grown})
    if given.keep:
        write(PAGE, RESULTS, pictures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
