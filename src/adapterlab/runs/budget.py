"""Runs with a budget of parameters: what it leaves open is solved before a run has a name."""

import copy
import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from adapterlab.base.errors import ConfigError
from adapterlab.config.parsing import parse
from adapterlab.config.ranks import Ranks
from adapterlab.config.schema import Config

if TYPE_CHECKING:  # what has no budget is parsed without torch
    from adapterlab.adapters.budget import Fitted
    from adapterlab.runs.data import RunData
    from adapterlab.runs.folders.folder import RunResult

log = logging.getLogger(__name__)

Read = Callable[[Config], "RunData"]
"""Reads the data of a run."""


def parse_solved(cfg: DictConfig, read: Read | None = None, said: set[str] | None = None) -> Config:
    """Return a checked `Config`, with the rank (or its like) that its budget asks for.

    Args:
        cfg: what Hydra composed.
        read: reads data whose shape or classes are only in the files; by default from disk.
        said: lines that need not be said again; what is said here is added.

    Raises:
        ConfigError: an option is wrong, or does not go with a budget.
        DataError: data that had to be read are missing or damaged.
    """
    config = parse(cfg)
    if not is_open(config):
        return config
    if config.adapter.get("rank") == "auto":
        return _with_ranks(cfg, config, read, set() if said is None else said)
    from adapterlab.runs.data import load_data
    from adapterlab.runs.sketch import fit_to_budget, make_strategy, says_its_shape

    data = None if says_its_shape(config) else (read or load_data)(config)
    fitted = fit_to_budget(config, data)
    before = make_strategy(config).flat_options()
    solved = copy.deepcopy(cfg)
    for name, value in fitted.strategy.flat_options().items():
        if value != before[name]:
            OmegaConf.update(solved, f"adapter.{name}", _plain(value), merge=False, force_add=True)
    config = parse(solved)
    _say(config, fitted, set() if said is None else said)
    return config


def warn_of_unused_ranks(config: Config) -> None:
    """Warn of options of `ranks` in a run by itself that gives out none.

    In a sweep they may be meant for other runs.
    """
    usual = Ranks()
    unused = [
        f"ranks.{option}={value}"
        for option in ("by", "batches", "rho", "floor")
        if (value := getattr(config.ranks, option)) != getattr(usual, option)
    ]
    if unused and config.ranks.asked is None:
        warnings.warn(
            f"{', '.join(unused)} has no effect: adapter.rank=auto gives out ranks, and this run "
            f"has adapter={config.adapter.get('label', config.adapter['name'])}",
            stacklevel=2,
        )


def is_open(config: Config) -> bool:
    """Say whether a configuration leaves something to its budget."""
    return config.budget is not None or config.adapter.get("rank") == "auto"


def _with_ranks(cfg: DictConfig, config: Config, read: Read | None, said: set[str]) -> Config:
    """Give every layer a rank, see `auto_ranks`."""
    from adapterlab.runs.auto_ranks import in_own_place, require_auto, solve_ranks
    from adapterlab.runs.data import load_data
    from adapterlab.tracking.client import require_store

    def train(run: Config, data: "RunData") -> "RunResult":
        from adapterlab.runs.single import run as carry_out  # loads Lightning

        return carry_out(run, data)

    require_auto(config)
    if not config.plan:
        require_store(config)
    in_own_place(config)
    solved = solve_ranks(config, (read or load_data)(config), train)
    changed = copy.deepcopy(cfg)
    for name, value in solved.options.items():
        OmegaConf.update(changed, f"adapter.{name}", value, merge=False, force_add=True)
    label = parse(changed).adapter.get("label", config.adapter["name"])
    OmegaConf.update(changed, "adapter.label", f"{label}-auto", force_add=True)
    asked = config.adapter
    config = parse(changed)
    config = replace(config, ranks=replace(config.ranks, asked=asked))
    if (
        solved.looked or not solved.fitted.over
    ):  # the mean rank may be over what single ones are not
        _say(config, solved.fitted, said)
    line = f"adapter.rank=auto by {config.adapter['label']}: {solved}"
    if solved.looked and line not in said:
        log.info(line)
    if not solved.looked and line not in said:
        warnings.warn(
            "adapter.rank=auto: the base that it looks at is not trained yet; the plan has the "
            f"mean rank, {config.adapter['rank']}, everywhere",
            stacklevel=2,
        )
    said.add(line)
    return config


def _plain(value: Any) -> Any:
    """Return 22.0 as 22, as a person would have written it: names show it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _say(config: Config, fitted: "Fitted", said: set[str]) -> None:
    """Say what came of a budget; warn of what is over it and cannot be turned down.

    Raises:
        ConfigError: the least that can be set is over it.
    """
    name = config.adapter.get("label", config.adapter["name"])
    if fitted.over and fitted.dial:
        least: Any = OmegaConf.select(OmegaConf.create(config.adapter), fitted.dial)
        raise ConfigError(
            f"budget={config.budget}: {name} trains {fitted.trained:,} parameters on this model, "
            f"and adapter.{fitted.dial}={least} is the least; allowed: {fitted.trained} or more"
        )
    line = f"{fitted} by {name}" + ("" if fitted.dial else ", which has no option that it sets")
    if line in said:
        return
    said.add(line)
    log.info(line)
    if fitted.over:
        warnings.warn(
            f"budget={config.budget}: {name} has nothing to turn down, and trains "
            f"{fitted.over:,} more parameters than asked: it is not within the budget",
            stacklevel=2,
        )
