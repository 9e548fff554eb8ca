"""Ranks given out to layers under a budget, and the options of `adapter` that say them.

EVA (Paischer et al. 2024, https://arxiv.org/abs/2410.07170): a layer whose inputs vary in many
directions gets a high rank, one whose inputs vary in few a low one. All principal components of
all layers are put in one order by the share of their layer's variance that they explain, and taken
from the first on while the budget lasts.

GoRA (He et al. 2025, https://arxiv.org/abs/2502.12171): a layer whose weights the loss asks most to
change, beside their size, gets a high rank: in proportion to I / √(d_in + d_out), I the mean of
|W ∘ G|, rounded. Its code's budget holds on average only; here the rank that is next by
Sainte-Laguë's method is given out while the budget lasts, which rounds likewise.
"""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from adapterlab.adapters.data_driven_init import gradients
from adapterlab.adapters.factors import scale_factor
from adapterlab.adapters.methods.lora import LoRA
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.weights import matrix
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError
from adapterlab.models.protocol import adaptable

_NOTHING = 1e-12
"""A share of the variance that is rounding."""


@dataclass(frozen=True)
class Room:
    """What a layer's ranks are worth, and what they cost.

    Attributes:
        explained: what each of its ranks is worth, from the first on, never rising: the share of
            the variance of its inputs by component, say.
        first: parameters of the first rank, with what comes beside: DoRA's magnitude.
        more: parameters of every other rank.
        least: ranks that it gets in any case.
    """

    explained: Sequence[float]
    first: int
    more: int
    least: int = 0

    def cost(self, rank: int) -> int:
        """Return the parameters of a rank."""
        return 0 if rank == 0 else self.first + (rank - 1) * self.more


def give_out(rooms: Mapping[str, Room], parameters: int, most: int) -> dict[str, int]:
    """Return a rank for every layer, 0 among them, whose parameters together are within a budget.

    Args:
        rooms: by layer.
        parameters: that the ranks may have.
        most: rank of a layer.

    Raises:
        ConfigError: there is no room for a single rank, or for those that have to be, or no rank
            is worth anything.
    """
    require_room(rooms, parameters)
    ranks = {name: room.least for name, room in rooms.items()}
    spent = sum(room.cost(room.least) for room in rooms.values())
    in_order = sorted(
        (-share, place, number, name)
        for place, (name, room) in enumerate(rooms.items())
        for number, share in enumerate(room.explained[:most])
        if share > _NOTHING and number >= room.least
    )
    for _, _, number, name in in_order:
        room = rooms[name]
        price = room.cost(number + 1) - room.cost(number)
        # What came before it in its layer had no room: then neither has this.
        if number == ranks[name] and spent + price <= parameters:
            spent, ranks[name] = spent + price, number + 1
    if not any(ranks.values()):
        raise ConfigError(
            "adapter.rank=auto: of what the look at the base saw, no layer is worth a rank; say "
            "adapter.rank as a number"
        )
    return ranks


def require_room(rooms: Mapping[str, Room], parameters: int) -> None:
    """Refuse a budget without room for a single rank, or for those that have to be.

    Args:
        rooms: by layer, whatever their ranks are worth.
        parameters: that the ranks may have.

    Raises:
        ConfigError: it is such.
    """
    have_to_be = sum(room.cost(room.least) for room in rooms.values())
    least = max(have_to_be, min(room.first for room in rooms.values()))
    if least > parameters:
        raise ConfigError(
            f"adapter.rank=auto: the budget leaves {max(parameters, 0):,} parameters for ranks, "
            f"and the least is {least:,}; a budget of {least - parameters:,} more allows it"
        )


def importance(
    model: AdaptedModel, layers: Mapping[str, AdapterLayer], batches: Sequence[Any]
) -> dict[str, Tensor]:
    """Return the mean of |W ∘ G| of each layer, G the gradient of cross-entropy, as a number.

    Args:
        model: in evaluation mode, as it starts.
        layers: its adapters by name.
        batches: of the training, of classes.
    """
    found = gradients(model, layers, batches)
    weights = {name: matrix(layers[name].base).detach().cpu() for name in found}
    return {name: (weights[name] * G).abs().mean() for name, G in found.items()}


def by_importance(
    importances: Mapping[str, Tensor], sides: Mapping[str, tuple[int, int]]
) -> dict[str, list[float]]:
    """Return what each rank of a layer is worth by GoRA, as many as its smaller side.

    The first layer by importance over size is worth 1 at its first rank.

    Args:
        importances: by layer.
        sides: inputs and outputs of each.
    """
    sizes = {name: math.sqrt(sum(sides[name])) for name in importances}
    shares = {name: float(value) / sizes[name] for name, value in importances.items()}
    most = max(shares.values()) or 1.0
    return {
        name: [share / most / (2 * rank - 1) for rank in range(1, min(sides[name]) + 1)]
        for name, share in shares.items()
    }


def costs_of(strategy: LoRA, model: nn.Module) -> tuple[dict[str, tuple[int, int]], int]:
    """Return what a first and every other rank of each layer cost, and what is trained beside.

    Args:
        strategy: at any rank.
        model: not adapted, on the meta device; it is left as it is.
    """
    at = [replace(strategy, rank=rank).apply(deepcopy(model)) for rank in (1, 2)]
    one, two = (
        {
            name: sum(p.numel() for p in module.parameters() if p.requires_grad)
            for name, module in adapted.model.named_modules()
            if isinstance(module, AdapterLayer)
        }
        for adapted in at
    )
    beside = at[0].count().trainable - sum(one.values())
    return {name: (one[name], two[name] - one[name]) for name in one}, beside


def options_of_ranks(
    adapted: AdaptedModel, ranks: Mapping[str, int], scales: Mapping[str, float], usual: int
) -> dict[str, Any]:
    """Return the options of `adapter` that give every layer its rank, and those of rank 0 none.

    Args:
        adapted: under a strategy that has its adapters on these layers.
        ranks: by layer, at least one of them above 0.
        scales: the factor s of each layer's update, which it keeps.
        usual: the rank that is `adapter.rank`; others are exceptions.
    """
    strategy: Any = adapted.strategy
    kept = {name: rank for name, rank in ranks.items() if rank}

    def alpha(name: str, rank: int) -> float:
        return plain(scales[name] / scale_factor(strategy.scaling, 1.0, rank))

    most = alpha(next(iter(kept)), usual)
    strengths = {name: alpha(name, rank) for name, rank in kept.items()}
    options: dict[str, Any] = {
        "rank": usual,
        "alpha": most,
        "rank_pattern": {name: rank for name, rank in kept.items() if rank != usual},
        "alpha_pattern": {name: value for name, value in strengths.items() if value != most},
    }
    if len(kept) < len(ranks):
        options |= {"targets": list(kept), "layers": "all"}
        heads = adaptable(adapted.model).head_modules
        if not any(within(name, heads) for name in kept) and strategy.head == "adapt":
            options["head"] = "freeze"
    return options


def plain(value: float) -> float:
    """Return 2.0 as 2, and of others what twelve digits say."""
    rounded = float(f"{value:.12g}")
    return int(rounded) if rounded.is_integer() else rounded
