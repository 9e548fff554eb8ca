"""Options written in one way where several ways give the same computation.

Only what is known from the configuration alone counts: a model whose shape is in the data's files
is not known, and then targets are compared as they are written.
"""

import json
import warnings
from typing import Any

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.schedules import PLATEAU
from adapterlab.config.schema import Config

SPLITS = {"train", "validation", "test"}

USUAL_PATIENCE = 2
"""Of all optimizers in conf/, for schedules that have no use for it."""

USUAL_STD = 0.01
"""`init_std` of the strategies in conf/, for first values that have no use for it."""

OF_INITS = {
    "init_batches": ("lora_ga", "eva", "corda", "gora"),
    "corda_method": ("corda",),
    "gora_gamma": ("gora",),
}
"""First values that have a use for an option; where it says the usual, it is left out anyway."""

USUAL_BAND = 1
"""`band` of SVFT in conf/, for a pattern that has no use for it."""


def one_way(values: dict[str, Any], config: Config) -> None:
    """Write the options of a run in one way, in place.

    Args:
        values: the options that a result depends on.
        config: of the run.
    """
    limit = values["limit"]
    if isinstance(limit, dict) and limit.keys() == SPLITS and len(set(limit.values())) == 1:
        values["limit"] = limit["train"]
    base = values["base"]
    for dataset in (values["dataset"], base.get("dataset")):
        for key in ("mean", "std"):  # one value stands for all channels
            if dataset is not None and len(set(dataset.get(key, ()))) == 1:
                dataset[key] = dataset[key][:1]
    for optimizer in (values["optimizer"], base.get("optimizer")):
        if optimizer is not None and optimizer["schedule"] != PLATEAU:
            optimizer["plateau_patience"] = USUAL_PATIENCE
    adapter = values["adapter"]
    strategies = [adapter, *adapter.get("parts", {}).values()]
    for strategy in strategies:
        if "init_std" in strategy and strategy.get("init", "both_normal") != "both_normal":
            strategy["init_std"] = USUAL_STD
        for option, inits in OF_INITS.items():
            if strategy.get("init", inits[0]) not in inits:
                strategy.pop(option, None)
        if "band" in strategy and strategy.get("pattern") == "plain":
            strategy["band"] = USUAL_BAND
    if any(map(_names_layers, strategies)):
        shapes = [
            node.get("shape") for node in (values["dataset"], base, base.get("dataset") or {})
        ]
        key = json.dumps([values["model"], adapter, shapes])
        if key not in _found:
            _found[key] = _layers_in_one_way(config)
        changed = dict(_found[key])
        for name, part in changed.pop("parts", {}).items():
            adapter["parts"][name] |= part
        adapter |= changed


def _names_layers(adapter: dict[str, Any]) -> bool:
    """Say whether options name layers otherwise than by what stands for all of them."""
    usual = {"targets": "all-linear", "layers": "all"}
    patterns = ("rank_pattern", "alpha_pattern", "also_train", "feedforward")
    return any(adapter.get(key, value) != value for key, value in usual.items()) or any(
        adapter.get(key) for key in patterns
    )


_found: dict[str, dict[str, Any]] = {}
"""What has been found out, by model and strategy: the configurations of a sweep share few."""


def _layers_in_one_way(config: Config) -> dict[str, Any]:
    from adapterlab.runs.sketch import bare, declared_shape, make_strategy  # which load torch
    from adapterlab.runs.task_outputs import named_outputs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are for the run itself
        try:
            model = bare(config, declared_shape(config), len(named_outputs(config) or ("", "")))
            found = make_strategy(config).in_one_way(model)
        except AdapterLabError:  # whoever carries it out says so
            found = {}
    written = _as_written(config.adapter)
    for name, part in found.pop("parts", {}).items():
        written["parts"][name] |= part
    return written | found


def _as_written(adapter: dict[str, Any]) -> dict[str, Any]:
    from adapterlab.adapters.canonical_targets import as_written

    written = as_written(adapter)
    if "parts" in adapter:
        written["parts"] = {name: as_written(part) for name, part in adapter["parts"].items()}
    return written
