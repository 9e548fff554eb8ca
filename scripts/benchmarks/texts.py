"""What each of the fast paths for texts is worth: both sides in one process, in turn.

    python scripts/benchmarks/texts.py                      # MiniLM, emotion: ten minutes
    python scripts/benchmarks/texts.py --dataset imdb --texts 300

Prints medians over the repeats and ratios of them. Ratios carry over to another machine, seconds do
not; a machine that does other work at the same time spoils both.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import hydra
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.app.script_options import Parser, at_least
from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config

LORA = ("adapter=lora", "adapter.targets=[query,value]")

BATCHES = {
    "batches of like length, no dropout in frozen layers": LORA,
    "the same, with dropout in frozen layers": (*LORA, "model.frozen_dropout=true"),
    "random batches, padded to their longest": (*LORA, "dataset.length_bucketing=false"),
    "every text padded to dataset.max_length": (*LORA, "dataset.pad_to_max=true"),
}
"""The first is the default, to which the others are compared."""

PREFIXES = {
    "head": ("adapter=head",),
    "last_layers, n=1": ("adapter=last_layers",),
    "lora on the last 2 layers": (*LORA, "adapter.layers=last 2"),
}
"""Strategies under which the first layers are frozen."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a training, and of computing its frozen prefix before."""

    training: float
    prefix: float

    @property
    def total(self) -> float:
        """Both."""
        return self.training + self.prefix


def main() -> None:
    arguments = parsed()
    with mistakes_in_one_line(), tempfile.TemporaryDirectory(prefix="adapterlab-") as root:
        composed(arguments, Path(root))  # what is wrong is said before a bar is drawn
        batches(arguments, Path(root))
        prefixes(arguments, Path(root))


def parsed() -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--dataset", default="emotion")
    parser.add_argument("--texts", type=at_least(1), default=640, help="training texts")
    parser.add_argument("--batch-size", type=at_least(1), default=16)
    parser.add_argument(
        "--epochs", type=at_least(1), default=3, help="of the frozen prefix's trainings"
    )
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--threads", type=at_least(1), default=1)
    return parser.parse_args()


def batches(arguments: argparse.Namespace, root: Path) -> None:
    """Compare ways to cut batches, one epoch each."""
    seconds: dict[str, list[float]] = {name: [] for name in BATCHES}
    turns = [name for _ in range(arguments.repeats) for name in BATCHES]
    for name in track(turns, "one epoch each", transient=True):
        config = composed(arguments, root, *BATCHES[name], "epochs=1")
        seconds[name].append(timed(config).training)
    title = f"{arguments.model}, {arguments.dataset}, LoRA on query and value: one epoch"
    table = Table("batches", "seconds", "samples/s", "time over the default's", title=title)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    default = next(iter(medians.values()))
    for name, median in medians.items():
        rate = arguments.texts / median
        table.add_row(name, f"{median:.1f}", f"{rate:.0f}", f"{median / default:.2f}")
    Console(width=120).print(table)


def prefixes(arguments: argparse.Namespace, root: Path) -> None:
    """Compare trainings with and without a frozen prefix."""
    table = Table("strategy", "without", "computed first", "found again", "ratios", title="")
    table.title = f"The frozen prefix: seconds of {arguments.epochs} epochs, validation included"
    for name, overrides in track(PREFIXES.items(), "frozen prefix", transient=True):
        epochs = f"epochs={arguments.epochs}"
        with_it = composed(arguments, root, *overrides, epochs)
        without = composed(arguments, root, *overrides, epochs, "hardware.frozen_prefix=never")
        plain, first, again = [], [], []
        for _ in range(arguments.repeats):
            plain.append(timed(without).total)
            for kept in (root / "mlruns" / "cache").glob("prefix-*"):
                kept.unlink()
            first.append(timed(with_it).total)
            again.append(timed(with_it).total)
        slow, cold, warm = (statistics.median(values) for values in (plain, first, again))
        ratios = f"{cold / slow:.2f}, {warm / slow:.2f}"
        table.add_row(name, f"{slow:.1f}", f"{cold:.1f}", f"{warm:.1f}", ratios)
    Console(width=120).print(table)


def composed(arguments: argparse.Namespace, root: Path, *overrides: str) -> Config:
    """Return a run's configuration, as the command line composes it."""
    conf_folder.register_resolvers()
    with composing(conf_folder.CONF):
        options = [
            f"root={root}",
            f"model={arguments.model}",
            f"dataset={arguments.dataset}",
            f"limit={arguments.texts}",
            f"batch_size={arguments.batch_size}",
            f"hardware.threads={arguments.threads}",
            "tracking=none",
        ]
        return parse(hydra.compose("train", [*options, *overrides]))


def timed(config: Config) -> Timing:
    """Train a run without testing it."""
    from adapterlab.runs.assembly import assemble
    from adapterlab.runs.single import frozen_prefix, run
    from adapterlab.training.fit import fit
    from adapterlab.training.hardware import choose_device

    device = choose_device(config.hardware)
    assembly = assemble(config, run)
    start = time.perf_counter()
    frozen_prefix(config, assembly, device)
    prefix = time.perf_counter() - start
    folder = config.mlruns / "benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    training = fit(
        config,
        assembly.adapted,
        assembly.data,
        num_classes=len(assembly.data.classes),
        title="benchmark",
        device=device,
        folder=folder,
        report=lambda epoch, metrics: None,
    )
    return Timing(training.seconds, prefix)


if __name__ == "__main__":
    main()
