"""Look for what makes figures on a data set worth less, without training on it.

    python scripts/scrutiny.py mnist cifar10 emotion imdb
    python scripts/scrutiny.py text_files dataset.loader.path=~/mail

Prints how many examples of one split are in another, and all that a run would say of the data.
Seconds are of the process; a second time the numbers come from the cache.
"""

import sys
import time
from typing import Any

import hydra
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config
from adapterlab.data.scrutiny import Scrutiny
from adapterlab.data.splits import Splits
from adapterlab.runs.data import load_data
from adapterlab.runs.preprocessing import run_splits
from adapterlab.runs.scrutiny import scrutinised

COLUMNS = ("test_in_train", "validation_in_train", "duplicates", "conflicting")


def composed(name: str, overrides: list[str]) -> Config:
    """Return the configuration of a run on a data set, over a base without a source."""
    options = [f"dataset={name}", *overrides]
    with composing(conf_folder.CONF):
        chosen = hydra.compose("train", options)
        model = [] if chosen.dataset.kind == "image" else ["model=bert_tiny"]
        return parse(hydra.compose("train", [*options, *model, "base=scratch"]))


def looked_at(config: Config) -> tuple[Scrutiny, Splits[Any], float]:
    """Return what was found, the data, and for how many seconds the processor was busy with it."""
    read = load_data(config)
    data: Splits[Any] = read.target
    parts = zip(
        ("train", "validation", "test"), run_splits(config, config.dataset, data), strict=True
    )
    used = {name: split.labels for name, split in parts}
    assert read.hash  # which a run needs in any case
    start = time.process_time()
    found = scrutinised(config, read, used)
    return found, read.target, time.process_time() - start


def main() -> None:
    names = [argument for argument in sys.argv[1:] if "=" not in argument]
    overrides = [argument for argument in sys.argv[1:] if "=" in argument]
    if not names or {"-h", "--help"} & set(names):
        print(__doc__)
        return
    table = Table("data set", "train / test", *COLUMNS, "CPU seconds")
    console, said = Console(width=160), []
    with mistakes_in_one_line():
        configs = {name: composed(name, overrides) for name in names}  # before any is read
        for name, config in configs.items():
            found, data, seconds = looked_at(config)
            sizes = f"{len(data.train):,} / {len(data.test):,}"
            counts = [f"{int(found.facts.get(column, 0)):,}" for column in COLUMNS]
            table.add_row(name, sizes, *counts, f"{seconds:.2f}")
            said += [f"{name}: {note}" for note in (*data.notes, *found.notes)]
    console.print(table)
    for line in said:
        console.print(Text(line))


if __name__ == "__main__":
    main()
