"""What about the data of a run makes its figures worth less."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from adapterlab.config.schema import Config
from adapterlab.config.tasks import main_metric
from adapterlab.data.scrutiny import Cut, Scrutiny, repeated, scrutinise
from adapterlab.data.splits import kept_cut, validation_cut
from adapterlab.evidence.floor import constant_floor
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
    found = scrutinise(read.target, numbers, used, cut)
    if config.task == "single_label":
        return found
    score = constant_floor(used["train"].numpy(), used["test"].numpy())
    return replace(found, facts={**found.facts, f"majority_{main_metric(config.task)}": score})
