"""`adapter.rank=auto`: a rank for every layer, from one look at what reaches the layers of a base.

The first batches of the training, in one order whatever the run's seed, pass through the base; how
much of the variance of each layer's inputs its principal components explain, or how large its
gradient is, says who gets the ranks that the budget has room for. What comes out is written into
the run's options, as if a person had. The look is made once for a base, its data and the layers,
and kept in the cache.
"""

import json
import os
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapterlab.adapters import data_driven_init, inputs_of_layers, rank_budget
from adapterlab.adapters.budget import Fitted, fit, in_parameters
from adapterlab.adapters.factors import scale_factor
from adapterlab.adapters.inputs_of_layers import Scatter, watched
from adapterlab.adapters.methods.lora import LoRA
from adapterlab.adapters.rank_budget import (
    Room,
    by_importance,
    costs_of,
    give_out,
    importance,
    options_of_ranks,
    require_room,
)
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.weights import is_convolution, sizes
from adapterlab.base.cache import Entry, stored
from adapterlab.base.csv_cells import write_rows
from adapterlab.base.errors import ConfigError
from adapterlab.base.files import file_hash
from adapterlab.base.seeding import stream
from adapterlab.config.schema import Config, ScratchBase, TrainedBase
from adapterlab.drawing.pictures import Pictures
from adapterlab.drawing.rank_curves import explained_figure, importance_figure
from adapterlab.runs.assembly import Assembly, assemble
from adapterlab.runs.base_weights import Train, base_run
from adapterlab.runs.check import check, check_with
from adapterlab.runs.data import RunData
from adapterlab.runs.folders.homes import known_home
from adapterlab.runs.folders.integrity import finished_whole
from adapterlab.runs.identity import run_name, what_it_computes
from adapterlab.runs.sketch import bare, make_strategy, model_shape
from adapterlab.runs.task_outputs import require_task
from adapterlab.training.hardware import choose_device

AUTO = "auto"

_STREAM = "ranks"
_LOOKED_AT = ("dataset", "model", "base", "limit", "batch_size", "hardware", "sampling")
"""Options that what reaches the layers depends on."""

_PLACES = ("targets", "layers", "head")
"""Options of a strategy that say where it is."""


@dataclass(frozen=True)
class Solved:
    """What `adapter.rank=auto` comes to.

    Attributes:
        options: of `adapter`, that say the ranks.
        ranks: by layer; 0 where one has no adapter.
        fitted: how that fills the budget.
        looked: whether a base was looked at; a plan before there is one has the mean rank.
    """

    options: dict[str, Any]
    ranks: Mapping[str, int]
    fitted: Fitted
    looked: bool

    def __str__(self) -> str:
        """Say the ranks of a few layers, or how they range over many."""
        if len(self.ranks) <= _NAMED:
            return ", ".join(f"{name} {rank}" for name, rank in self.ranks.items())
        ranks = [rank for rank in self.ranks.values() if rank]
        without = len(self.ranks) - len(ranks)
        return f"{min(ranks)} to {max(ranks)} on {len(ranks)} layers" + (
            f", none on {without}" if without else ""
        )


_NAMED = 8


def solve_ranks(config: Config, read: RunData, train: Train) -> Solved:
    """Give every layer a rank.

    Args:
        config: of the run, whose `adapter.rank` is `auto`.
        read: its data.
        train: trains the base, where it is not there.

    Raises:
        ConfigError: something does not go with `auto`, or the budget has no room for a rank.
    """
    strategy = _usual(config)
    at_one_rank = _at_one_rank(config, strategy)
    check(at_one_rank)
    check_with(at_one_rank, read)
    assert config.budget is not None
    model = bare(at_one_rank, model_shape(config, read), len(read.target.classes))
    fitted = fit(strategy, model, config.budget)
    mean = fitted.strategy.rank if isinstance(fitted.strategy, LoRA) else 1
    adapted = replace(strategy, rank=1).apply(deepcopy(model))
    layers = _layers(adapted)
    _require_linear(layers)
    scale = scale_factor(strategy.scaling, strategy.alpha, strategy.rank)
    scales = dict.fromkeys(layers, scale)
    sides = {name: sizes(layer.base) for name, layer in layers.items()}
    costs, beside = costs_of(strategy, model)
    least = {
        name: min(max(config.ranks.least(mean), int(adapted.in_head(name))), *sides[name])
        for name in layers
    }
    left = in_parameters(config.budget, model) - beside
    require_room({name: Room((), *costs[name], least=least[name]) for name in layers}, left)
    if config.plan and not _has_base(config, read):
        options = options_of_ranks(adapted, dict.fromkeys(layers, mean), scales, mean)
        return Solved(options, dict.fromkeys(layers, mean), fitted, looked=False)
    seen = what_was_seen(config, read, train)
    worth = (
        by_importance(seen, sides)
        if config.ranks.by == "gradients"
        else {name: seen[name][: min(sides[name])].tolist() for name in layers}
    )
    rooms = {name: Room(worth[name], *costs[name], least=least[name]) for name in layers}
    ranks = give_out(rooms, left, config.ranks.most(mean))
    options = options_of_ranks(adapted, ranks, scales, mean)
    trained = beside + sum(rooms[name].cost(rank) for name, rank in ranks.items())
    solved = replace(strategy, **options)
    _require_told_apart(solved, model, ranks)
    return Solved(options, ranks, Fitted(solved, left + beside, trained, "rank"), looked=True)


def require_auto(config: Config) -> None:
    """Refuse what does not go with `adapter.rank=auto`, from the options alone.

    Raises:
        ConfigError: one line that says what.
    """
    if config.budget is None:
        raise ConfigError(
            "adapter.rank=auto gives out the parameters of a budget; say budget=10000, or budget=1%"
        )
    for option in ("rank_pattern", "alpha_pattern"):
        if config.adapter.get(option):
            raise ConfigError(
                f"adapter.{option}={config.adapter[option]} does not go with adapter.rank=auto, "
                "which gives every layer its rank; leave one of them out"
            )
    require_task(config, "ranks.by=gradients" if config.ranks.by == "gradients" else None)
    if isinstance(config.base, ScratchBase):
        raise ConfigError(
            "adapter.rank=auto looks at what a pretrained base computes, and base=scratch has "
            "random weights; allowed: trained, checkpoint, pretrained"
        )


def _usual(config: Config) -> LoRA:
    """Return the strategy at the usual rank, whose factor s all layers get.

    Raises:
        ConfigError: it has no ranks by layer.
    """
    options = {key: value for key, value in config.adapter.items() if key != "rank"}
    strategy = make_strategy(replace(config, adapter=options))
    if not isinstance(strategy, LoRA):
        raise ConfigError(
            f"adapter.rank=auto: {config.adapter['name']} has no rank by layer; such as "
            "adapter=lora, lora_plus, lora_fa or dora"
        )
    return strategy


def _at_one_rank(config: Config, strategy: LoRA) -> Config:
    """Return the run at the usual rank, by seeds that are the same for all runs."""
    adapter = {**config.adapter, "rank": strategy.rank, "label": "auto"}
    return replace(config, adapter=adapter, budget=None, seed=0, init_seed=0, order_seed=0)


def _layers(adapted: AdaptedModel) -> dict[str, AdapterLayer]:
    return {n: m for n, m in adapted.model.named_modules() if isinstance(m, AdapterLayer)}


def _require_linear(layers: Mapping[str, AdapterLayer]) -> None:
    for name, layer in layers.items():
        if is_convolution(layer.base):
            raise ConfigError(
                f"adapter.rank=auto is of linear layers, and {name} is a convolution; name others "
                "by adapter.targets"
            )


def _require_told_apart(strategy: LoRA, model: Any, ranks: Mapping[str, int]) -> None:
    """Refuse a model in which a layer's name is a pattern that means another one as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = _layers(strategy.apply(deepcopy(model)))
    found = {name: getattr(layer, "rank", None) for name, layer in layers.items()}
    if found != {name: rank for name, rank in ranks.items() if rank}:
        raise ConfigError("adapter.rank=auto: layers of this model are not told apart by name")


def _has_base(config: Config, read: RunData) -> bool:
    """Say whether the base is there to be looked at without training it."""
    run, data = base_run(config), read.of_source
    if not isinstance(config.base, TrainedBase) or run is None or data is None:
        return True
    home = known_home(run, data.hash)
    return home is not None and finished_whole(home) is not None


_known: dict[str, dict[str, Tensor]] = {}
"""What this process has looked at: the runs of a study share it."""


def what_was_seen(
    config: Config, read: RunData, train: Train, like: Assembly | None = None
) -> dict[str, Tensor]:
    """Return the share of the variance of each layer's inputs by component, the largest first.

    With `ranks.by=gradients`, its mean |W ∘ G|.

    Args:
        config: of a run, whatever its ranks.
        read: its data.
        train: trains the base, where it is not there.
        like: of a run over the same data and base.
    """
    asked = _asked(config)
    key = _key(asked, read)
    if key not in _known:
        _known[key] = _looked(asked, key, read, train, like)
    return _known[key]


def _key(asked: Config, read: RunData) -> str:
    """Return all that a look depends on, but for the base's weights."""
    computes = what_it_computes(replace(asked, adapter={**asked.adapter, "rank": 1}))
    kept = {name: value for name, value in computes.items() if name in _LOOKED_AT}
    adapter = {k: v for k, v in computes["adapter"].items() if k in _PLACES}
    values = [kept, adapter, asked.ranks.batches, asked.ranks.by, read.hash]
    return json.dumps(values, sort_keys=True, default=str)


def _asked(config: Config) -> Config:
    """Return a run with the options that it was asked by, before ranks were given out."""
    if config.ranks.asked is not None:
        config = replace(config, adapter=config.ranks.asked)
    return config


def _looked(
    config: Config, key: str, read: RunData, train: Train, like: Assembly | None
) -> dict[str, Tensor]:
    at_one_rank = _at_one_rank(config, _usual(config))
    own = at_one_rank.adapter | ({"init": "kaiming"} if "init" in at_one_rank.adapter else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are for the run itself
        assembly = assemble(replace(at_one_rank, adapter=own), train=train, read=read, like=like)
    device = choose_device(config.hardware, training=True)
    model = assembly.adapted.to(device.torch).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(0, _STREAM))  # of the batches' augmentation
        drawn = assembly.data.in_order(0).training_batches(0, device.torch)
        batches = list(islice(drawn, config.ranks.batches))

    def build() -> Entry:
        if config.ranks.by == "gradients":
            return Entry(importance(model, _layers(model), batches), {})
        seen = watched(model, _layers(model), batches, Scatter)
        return Entry({name: one.explained() for name, one in seen.items()}, {})

    modules = (inputs_of_layers, rank_budget, data_driven_init)
    files = [file_hash(Path(path)) for path in (*(str(m.__file__) for m in modules), __file__)]
    whole = [key, model.base_hash, device.torch.type, files]
    kind = {"inputs": "explained-variance", "gradients": "gradient-importance"}[config.ranks.by]
    tensors = stored(config.mlruns / "cache", kind, whole, build).tensors
    return {name: tensors[name] for name in _layers(model)}


def write_choice(config: Config, assembly: Assembly, folder: Path, pictures: Pictures) -> None:
    """Write what the choice of a run's ranks saw, as a table and a picture.

    Args:
        config: of a run whose ranks were given out.
        assembly: of the run.
        folder: of the two files.
        pictures: draws those of the run.
    """
    seen = what_was_seen(config, assembly.read, _never, like=assembly)
    layers = _layers(assembly.adapted)
    ranks = {name: getattr(layers.get(name), "rank", 0) for name in seen}
    mean = config.adapter["rank"]
    most = config.ranks.most(mean)
    folder.mkdir(exist_ok=True)
    if config.ranks.by == "gradients":
        found = {name: float(value) for name, value in seen.items()}
        lines = [(name, ranks[name], value) for name, value in found.items()]
        write_rows([("layer", "rank", "importance"), *lines], folder / "gradient_importance.csv")
        bars = partial(importance_figure, found, ranks, run_name(config))
        pictures.draw(bars, folder / "gradient_importance.png")
        return
    rows: list[tuple[object, ...]] = [("layer", "rank", "component", "explained", "cumulative")]
    for name, shares in seen.items():
        sums = shares.cumsum(0)
        for number in range(min(most, len(shares))):
            one, together = float(shares[number]), float(sums[number])
            rows.append((name, ranks[name], number + 1, one, together))
    write_rows(rows, folder / "explained_variance.csv")
    curves = {name: shares.cumsum(0)[:most].tolist() for name, shares in seen.items()}
    draw = partial(explained_figure, curves, ranks, mean, run_name(config))
    pictures.draw(draw, folder / "explained_variance.png")


def _never(config: Config, read: RunData) -> Any:
    raise AssertionError("a base that is there is not trained")


def in_own_place(config: Config) -> None:
    """Have matplotlib, which the base's training draws with, keep its files with the runs."""
    os.environ.setdefault("MPLCONFIGDIR", str(config.mlruns / "cache" / "matplotlib"))
