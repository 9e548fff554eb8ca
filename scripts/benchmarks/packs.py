"""What packs are worth: against one run after another, and against PEFT without AdapterLab.

    python scripts/benchmarks/packs.py --data-dir DATA         # every section: more than an hour
    python scripts/benchmarks/packs.py --only mlp,peft --repeats 5
    python scripts/benchmarks/packs.py --only presets --presets rank_alpha,depth limit=2000

Both sides run in this process, in turn, on one thread, after everything has been imported and run
once; bases are trained, images decoded and MLflow stores set up before the clock starts. Only the
rows of whole processes count start-up. Ratios of medians carry over to another machine, seconds do
not; a machine that does other work at the same time spoils both.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import hydra
import rivals
import torch
from commands import Study, as_process, command, new_root, study, values, without_prefix
from image_task import Task
from rich.console import Console
from rich.table import Table
from rivals import TRAINING, WHOLE, Row, race, show
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.app.script_options import Parser, at_least, names_of
from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.parsing import parse
from adapterlab.data.batches import SplitName
from adapterlab.runs.assembly import assemble
from adapterlab.runs.single import run
from adapterlab.tracking.client import connect

GRID = (
    f"adapter.rank={','.join(map(str, rivals.RANKS))}",
    f"adapter.alpha={','.join(map(str, rivals.ALPHA_OVER_RANK))}",
    "adapter.scaling=alpha",  # so that this alpha is alpha over rank
)
LORA, DORA = ("adapter=lora", *GRID), ("adapter=dora", *GRID)
LORA_ON_TEXTS = (*LORA, "adapter.targets=[query,value]")
HEADS = ("adapter=head", "optimizer.lr=2e-4,5e-4,1e-3,2e-3,5e-3,1e-2,2e-2,5e-2")
FASHION = ("dataset=fashion_mnist", "model.widths=[128]", "batch_size=64")
CIFAR = ("dataset=cifar10", "model.widths=[512,256]", "batch_size=128")
MINILM = ("model=minilm", "dataset=emotion", "batch_size=16")
ONE_THREAD = ("hardware=cpu", "hardware.threads=1")
ON_FASHION = "Fashion-MNIST, 784-128-10 MLP, batch 64"
PRESETS = "rank_alpha,lr_by_strategy,depth,rank_alpha_text,lr_by_strategy_text,depth_text"

OPERATORS = {
    "products with one matrix": ("aten::addmm", "aten::mm"),
    "products with a matrix of each lane": ("aten::bmm", "aten::baddbmm"),
    "attention": ("aten::_scaled_dot_product",),
    "GELU, layer norm": ("aten::gelu", "aten::native_layer_norm"),
    "copies": ("aten::copy_", "aten::cat", "aten::index"),
    "other operators": ("",),
}
"""What torch's operators are for, by how their names begin."""


class Images(NamedTuple):
    """A data set of images: a study on it, its options, its cache, and the same for rivals."""

    study: Callable[..., Study]
    overrides: tuple[str, ...]
    cache: Path
    task: Task


def main() -> None:
    options = parsed()
    if options.data_dir is not None:
        os.environ["ADAPTERLAB_DATA_DIR"] = str(options.data_dir.resolve())
    with mistakes_in_one_line(), tempfile.TemporaryDirectory(prefix="adapterlab-") as folder:
        os.environ["MPLCONFIGDIR"] = folder  # for processes too: fonts are found once
        benchmark = Benchmark(options, Path(folder))
        for section in options.only:
            getattr(benchmark, section)()


def parsed() -> argparse.Namespace:
    presets = conf_folder.CONF / "experiment"
    known = sorted(str(p.relative_to(presets).with_suffix("")) for p in presets.rglob("*.yaml"))
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", type=names_of(SECTIONS), default=SECTIONS, help=",".join(SECTIONS)
    )
    parser.add_argument("--data-dir", type=Path, help="by default ADAPTERLAB_DATA_DIR")
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--processes", type=at_least(1), default=1, help="of the packed launcher")
    parser.add_argument("--epochs", type=at_least(1), default=1, help="on images")
    parser.add_argument("--limit", type=at_least(1), help="images of each split; by default all")
    parser.add_argument("--texts", type=at_least(1), default=480, help="of each split")
    parser.add_argument(
        "--presets", type=names_of(known), default=PRESETS, help="names in conf/experiment"
    )
    parser.add_argument("overrides", nargs="*", help="of presets, such as limit=2000 epochs=2")
    options = parser.parse_args()
    if options.overrides and "presets" not in options.only:
        parser.error(
            f"{' '.join(options.overrides)}: options are of presets, which --only leaves out"
        )
    return options


class Benchmark:
    """The sections; what they share is kept in a folder."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.race = partial(race, options.repeats)
        self.packed = ("hydra/launcher=packed", f"hydra.launcher.processes={options.processes}")
        self._images: dict[tuple[str, ...], Images] = {}

    def mlp(self) -> None:
        """Compare the packed launcher with Hydra's own, and a pack of one with a run alone."""
        study, basic, rows = self.images(FASHION).study, "hydra/launcher=basic", []
        study("adapter=lora", basic, "limit=640")  # what is run first is slower
        for name, sweep, target in (
            ("8 LoRA lanes", LORA, 0.28),
            ("32 LoRA lanes", (*LORA, "seed=0,1,2,3"), 0.18),
            ("8 DoRA lanes", DORA, 0.28),
        ):
            ours, theirs = partial(study, *sweep, *self.packed), partial(study, *sweep, basic)
            measures = [(WHOLE, WHOLE, target), (TRAINING, TRAINING, None)]
            rows += self.race(name, ours, theirs, measures)
        one = ("adapter=lora", "adapter.rank=4", *self.packed)
        ours, theirs = partial(study, *one, "pack=always"), partial(study, *one, "pack=never")
        measures = [(WHOLE, WHOLE, 1.15), (TRAINING, TRAINING, 1.15)]
        rows += self.race("one lane, and that run alone", ours, theirs, measures)
        show(ON_FASHION, rows, "packed launcher", "Hydra's own")

    def peft(self) -> None:
        """Compare with PEFT in a bare loop."""
        self._loop(ON_FASHION, FASHION, {"lora": 0.30, "dora": 0.20})

    def cifar(self) -> None:
        """Compare with PEFT in a bare loop on larger images and layers."""
        title = "CIFAR-10, 3072-512-256-10 MLP, batch 128"
        self._loop(title, CIFAR, {"lora": 0.40, "dora": 0.12})

    def _loop(self, title: str, data: tuple[str, ...], targets: dict[str, float]) -> None:
        images, rows = self.images(data), []
        for strategy, target in targets.items():
            rows += self.race(
                f"8 {strategy} lanes",
                partial(images.study, f"adapter={strategy}", *GRID, *self.packed),
                partial(rivals.bare_loop, images.task, strategy),
                [(TRAINING, TRAINING, target), (WHOLE, TRAINING, target)],
            )
        show(f"{title}; the loop does not validate", rows, "packed", "PEFT in a bare loop")

    def lightning(self) -> None:
        """Compare with an ordinary script of Lightning, PEFT, torchmetrics and MLflow."""
        images, task = self.images(FASHION), self.folder / "task.pt"
        images.task.save(task)
        ours = partial(images.study, *LORA, *self.packed)
        theirs = partial(rivals.lightning, images.task, "lora")
        rows = self.race("8 LoRA lanes", ours, theirs, [(TRAINING, TRAINING, 0.12)])
        process = partial(as_process, *images.overrides, *LORA, *self.packed, cache=images.cache)
        script = partial(rivals.process, rivals.__file__, task)
        rows += self.race("8 LoRA lanes, two processes", process, script, [(WHOLE, WHOLE, 0.30)])
        show(ON_FASHION, rows, "packed", "Lightning and PEFT")

    def texts(self) -> None:
        """Compare packs, runs alone and the frozen prefix on MiniLM."""
        every = (*MINILM, *ONE_THREAD, *self.packed, f"limit={self.options.texts}")
        study(*every, *HEADS, "limit=32", "epochs=1")  # loads all there is to load
        rows = self._prefix("head", 0.10, *every, *HEADS)
        rows += self._prefix("last 2 layers", 0.60, *every, *LORA_ON_TEXTS, "adapter.layers=last 2")
        whole = (*every, *LORA_ON_TEXTS, "epochs=1")
        packed, alone = partial(study, *whole, "pack=always"), partial(study, *whole, "pack=never")
        measures = [(TRAINING, TRAINING, None)]
        rows += self.race("all 6 layers, 1 epoch: packed, alone", packed, alone, measures)
        title = f"MiniLM, {self.options.texts} texts of emotion, batch 16, 8 lanes"
        show(title, rows, "the first", "the second")
        where_time_goes(*whole, "limit=48")

    def _prefix(self, name: str, target: float, *overrides: str) -> list[Row]:
        """Compare three epochs without the frozen prefix, as pack=auto does them, and with it."""
        sides: dict[str, list[Study]] = {"never": [], "auto": [], "alone": [], "packed": []}
        for repeat in range(self.options.repeats):
            with new_root() as root:
                do = partial(command, root, *overrides, "epochs=3")
                sides["never"].append(do("pack=never", "hardware.frozen_prefix=never", study="n"))
                sides["auto"].append(do("pack=auto", study="auto"))
                sides["alone"].append(do("pack=never", study="alone"))  # which finds the prefix
                sides["packed"].append(do("pack=always", study="packed"))  # so does this
            print(f"{name}: {repeat + 1} of {self.options.repeats}", file=sys.stderr)
        how = "packed" if values(sides["auto"][0].results, "cost/pack_seconds") else "alone"
        never, auto, alone, packed = ([one.training for one in side] for side in sides.values())
        return [
            Row(f"{name}: pack=auto ({how}), alone without prefix", auto, never, target),
            Row(f"{name}: packed and prefix found, alone without it", packed, never, None),
            Row(f"{name}: packed, alone, prefix found by both", packed, alone, None),
        ]

    def presets(self) -> None:
        """Compare every preset with itself, one run after another."""
        rows: list[Row] = []
        for name in self.options.presets:
            preset = (f"experiment={name}", "resume=false", *ONE_THREAD, *self.packed)
            preset = (*preset, *self.options.overrides)
            with new_root() as root:
                command(root, *preset, "seed=0", "epochs=1", study="first")  # trains the bases
                do = partial(without_prefix, root, *preset)
                ours, theirs = partial(do, "pack=auto"), partial(do, "pack=never")
                rows += self.race(name, ours, theirs, [(WHOLE, WHOLE, 1.05)])
        show(f"Presets {' '.join(self.options.overrides)}", rows, "pack=auto", "pack=never")

    def images(self, data: tuple[str, ...]) -> Images:
        """Return a data set, with a base that is trained and images that are decoded."""
        if data not in self._images:
            limit = "null" if self.options.limit is None else self.options.limit
            own = (*data, *ONE_THREAD, f"epochs={self.options.epochs}", f"limit={limit}")
            root = self.folder / f"base{len(self._images)}"
            connect(None, root / "mlruns")
            command(root, *own, "adapter=head", "pack=always", *self.packed)
            (base,) = (root / "mlruns" / "runs" / "bases").glob("*/adapter.safetensors")
            own = (*own, "base=checkpoint", f"base.path={base}", "base.head=new")
            cache = root / "mlruns" / "cache"
            on_it = partial(study, *own, cache=cache)
            self._images[data] = Images(on_it, own, cache, task := task_of(root, own))
            for rival in (rivals.bare_loop, rivals.lightning):
                rival(task.first(640), "lora")  # what is run first is slower
        return self._images[data]


SECTIONS = ["mlp", "peft", "lightning", "cifar", "texts", "presets"]


def task_of(root: Path, overrides: tuple[str, ...]) -> Task:
    """Return a study's base and images as rivals take them."""
    with composing(conf_folder.CONF):
        config = parse(hydra.compose("train", [f"root={root}", "adapter=head", *overrides]))
    assembly = assemble(config, run)

    def split(name: SplitName) -> tuple[Tensor, Tensor]:
        images, labels = zip(*assembly.data.batches(name), strict=True)
        return torch.cat(images).flatten(1), torch.cat(labels)

    return Task(
        split("train"),
        split("validation"),
        dict(assembly.adapted.model.state_dict()),
        config.batch_size,
        config.epochs,
        config.optimizer.lr,
        config.optimizer.weight_decay,
    )


def where_time_goes(*overrides: str) -> None:
    """Print the memory of a process, and the seconds of torch's operators, packed and alone."""
    table, columns = Table("LoRA on all layers, 48 texts", "packed", "alone"), []
    for pack in ("pack=always", "pack=never"):
        results = as_process(*overrides, pack).results
        peaks = [values(results, f"cost/{name}peak_memory_mib") for name in ("pack_", "")]
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            study(*overrides, pack)
        taken = dict.fromkeys(OPERATORS, 0.0)
        for event in profiled.key_averages():
            kind = next(kind for kind, names in OPERATORS.items() if event.key.startswith(names))
            taken[kind] += event.self_cpu_time_total / 1e6
        memory = f"{max(*peaks[0], *peaks[1]) / 1024:.2f} GiB"
        columns.append([memory, *(f"{seconds:.2f} s" for seconds in taken.values())])
    for row in zip(["peak of resident memory", *OPERATORS], *columns, strict=True):
        table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
