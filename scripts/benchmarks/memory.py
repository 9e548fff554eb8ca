"""What packs take of memory, against what is estimated before they are trained.

    python scripts/benchmarks/memory.py                                  # every cell
    python scripts/benchmarks/memory.py --models mlp --lanes 2,8 --precisions 64-true

Every pack is carried out in a process of its own, forked from one that has carried out a small
pack and so has loaded all that there is to load. What it takes is how far the peak of its resident
memory is above what was resident before. The estimate must not be below that, and should not be
far above: it decides how many lanes share a pack. The exit code is 1 where it is below.
"""

import argparse
import ctypes
import gc
import itertools
import multiprocessing
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args
from unittest import mock

import hydra
import psutil
from rich.console import Console
from rich.table import Table

from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.app.script_options import Parser, names_of, several
from adapterlab.config import conf_folder
from adapterlab.config.hardware import Precision
from adapterlab.config.hydra_versions import composing
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config
from adapterlab.drawing import pictures
from adapterlab.runs.data import load_data
from adapterlab.runs.packs import pack as packed_runs
from adapterlab.studies.planning.packing import plan_packs
from adapterlab.training.hardware import PeakMemory

STRATEGIES = ("head", "last_layers", "bitfit", "lora", "dora", "full")
PRECISIONS = ("32-true", "64-true", "bf16-mixed")
LANES = (2, 8)
MIB = 2**20

EVERY = (
    "base=scratch", "init_seed=0", "order_seed=0", "epochs=1", "tracking=none", "pack=always",
    "study=memory", "hardware=cpu", "hardware.threads=1",
)  # fmt: skip
MODELS = {
    "mlp": (
        "dataset=digits", "model.widths=[2048,1024]", "batch_size=256",
        "limit={train: 512, validation: 128}",
    ),
    "minilm": (
        "model=minilm", "base=pretrained", "dataset=text_files", "dataset.max_length=32",
        "dataset.classes=[a,b]", "batch_size=8", "limit={train: 16, validation: 16, test: 16}",
    ),
}  # fmt: skip
"""How much data there are does not matter, beyond a batch of each kind."""

SMALL = {
    "mlp": ("model.widths=[8]", "limit=16", "batch_size=8", "adapter=lora"),
    "minilm": ("limit=2", "dataset.max_length=4", "batch_size=2", "adapter=head"),
}
"""What makes of a study one that loads the same libraries and takes next to nothing."""


class Cell(NamedTuple):
    """A pack, its estimate and what it took, in MiB."""

    model: str
    strategy: str
    precision: str
    lanes: int
    estimate: float
    measured: float

    @property
    def ratio(self) -> float:
        """How far the estimate is above what was measured."""
        return self.estimate / self.measured


class Unmeasured(AbstractContextManager["Unmeasured"]):
    """Stands for a measurement that is not made."""

    mib, why = None, "not measured"

    def __init__(self, accelerator: str) -> None:
        self.accelerator = accelerator

    def __exit__(self, *_: object) -> None: ...


def main() -> None:
    options = parsed()
    cells = []
    with mistakes_in_one_line():
        for model in options.models:
            of = itertools.product(options.strategies, options.precisions, options.lanes)
            for cell in measured(model, list(of), options.overrides):
                cells.append(cell)
                mib = (f"{value:.0f}" for value in cell[4:])
                print(*cell[:4], *mib, f"{cell.ratio:.2f}", file=sys.stderr)
    show(cells)
    sys.exit(any(cell.ratio < 1 for cell in cells))


def parsed() -> argparse.Namespace:
    known = sorted(path.stem for path in (conf_folder.CONF / "adapter").glob("*.yaml"))
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=names_of(MODELS), default=list(MODELS))
    parser.add_argument("--strategies", type=names_of(known), default=STRATEGIES)
    parser.add_argument("--precisions", type=names_of(get_args(Precision)), default=PRECISIONS)
    parser.add_argument("--lanes", type=several(1), default=LANES)
    parser.add_argument("overrides", nargs="*", help="of every run")
    return parser.parse_args()


def measured(
    model: str, cells: Sequence[tuple[str, str, int]], overrides: Sequence[str] = ()
) -> Iterator[Cell]:
    """Carry out packs of a model, each in a process of its own.

    Args:
        model: of `MODELS`.
        cells: strategy, precision and number of lanes of each pack.
        overrides: of every run.

    Raises:
        RuntimeError: the peak cannot be measured here.
    """
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="adapterlab-") as folder:
        fixed = (f"root={folder}", *EVERY, *MODELS[model])
        if model == "minilm":
            write_texts(Path(folder) / "texts")
            fixed = (*fixed, f"dataset.loader.path={folder}/texts")
        configs(1, *fixed, *overrides)  # what is wrong with them is said before anything is trained
        with mock.patch.object(pictures, "paint", lambda make, path: path.touch()):
            carry_out_small(model, fixed)
            # A process for each, since what one has freed another would take again.
            with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
                work = [(model, cell, (*fixed, *overrides)) for cell in cells]
                found = pool.imap(in_this_process, work, chunksize=1)
                yield from (cell for cell in found if cell is not None)


def carry_out_small(model: str, overrides: Sequence[str]) -> None:
    """Load all that there is to load."""
    small = configs(2, *overrides, *SMALL[model], "study=small")
    packed_runs.run_pack(small, load_data(small[0]))


def in_this_process(work: tuple[str, tuple[str, str, int], tuple[str, ...]]) -> Cell | None:
    """Carry a pack out here, and measure it; None for runs that cannot be one."""
    model, (strategy, precision, lanes), overrides = work
    own = (f"adapter={strategy}", f"hardware.precision={precision}")
    whole = configs(lanes, *overrides, *own)
    data = load_data(whole[0])
    carry_out_small(model, (*overrides, own[1]))  # pages of libraries are not inherited
    pack, *others = plan_packs(whole, [data] * lanes, memory_gib=1e6)
    if others:
        return None
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = psutil.Process().memory_info().rss / MIB
    # A pack's own measurement, of its training alone, would reset the counter.
    with PeakMemory("cpu") as memory, mock.patch.object(packed_runs, "PeakMemory", Unmeasured):
        outcomes = packed_runs.run_pack(whole, data)
    if failed := [outcome for outcome in outcomes if isinstance(outcome, Exception)]:
        raise failed[0]
    if memory.mib is None:
        raise RuntimeError(memory.why)
    return Cell(model, strategy, precision, lanes, pack.gib * 1024, memory.mib - before)


def configs(lanes: int, *overrides: str) -> list[Config]:
    """Return runs that differ in their learning rate."""
    conf_folder.register_resolvers()
    kept = {o.partition("=")[0]: o for o in overrides}  # the last one counts
    with composing(conf_folder.CONF):
        config = parse(hydra.compose("train", list(kept.values())))
    optimizer = config.optimizer
    return [replace(config, optimizer=replace(optimizer, lr=1e-5 * (k + 1))) for k in range(lanes)]


def write_texts(folder: Path) -> None:
    """Write texts that are all longer than any model reads, so that nothing is spared."""
    folder.mkdir()
    for split, size in (("train", 256), ("test", 64)):
        rows = [f"{'a quite long text ' * 200}{k},{'ab'[k % 2]}" for k in range(size)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")


def show(cells: Sequence[Cell]) -> None:
    """Print estimates beside measurements."""
    table = Table("model", "strategy", "precision", "lanes", "estimate", "measured", "ratio")
    for cell in cells:
        mib = [f"{value:,.0f} MiB" for value in (cell.estimate, cell.measured)]
        table.add_row(*cell[:3], str(cell.lanes), *mib, f"{cell.ratio:.2f}")
    Console(width=120).print(table)
    ratios = sorted(cell.ratio for cell in cells)
    print(f"estimate over measurement: {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
