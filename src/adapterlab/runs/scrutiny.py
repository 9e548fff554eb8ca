"""What about the data of a run makes its figures worth less."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from adapterlab.config.schema import Config
from adapterlab.data.scrutiny import Cut, Scrutiny, repeated, scrutinise
from adapterlab.data.splits import kept_cut, validation_cut
from adapterlab.runs.data import RunData


def scrutinised(config: Config, read: RunData, used: Mapping[str, Tensor]) -> Scrutiny:
    """Look at the target's data.

    Args:
        config: of the run.
        read: its data.
        used: the labels that it trains, selects and tests on, by split; fewer than there are,
            where the run is limited.
    """
    cache = config.mlruns / "cache"
    numbers, dataset = read.alike(cache), config.dataset
    cut = None
    if read.target.validation is None and repeated(numbers["train"]):
        cutting = partial(kept_cut, cache)
        cut = Cut(
            *validation_cut(read.target, dataset.validation, dataset.validation_seed, cutting)
        )
    return scrutinise(read.target, numbers, used, cut)
