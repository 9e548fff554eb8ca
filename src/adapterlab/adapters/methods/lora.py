"""LoRA: frozen layers plus trained updates of low rank."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, get_args

import torch
from torch import nn

from adapterlab.adapters.canonical_targets import pattern_of, places_of
from adapterlab.adapters.data_driven_init import FromData, check_layer
from adapterlab.adapters.factors import Init, Scaling, alpha_kept, check_low_rank, scale_factor
from adapterlab.adapters.formats.low_rank import LowRank
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.methods.lora_layers import LoRAConv, LoRALinear
from adapterlab.adapters.strategy import AdapterLayer, HeadMode, Strategy, replace_module
from adapterlab.adapters.targets import (
    ALL_LINEAR,
    Layers,
    aliases_of,
    by_pattern,
    check_layers,
    select_layers,
    select_parameters,
)
from adapterlab.adapters.weights import is_convolution, sizes
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError, allowed

__all__ = ["LoRA", "LoRAConv", "LoRALinear"]

LATER: dict[str, Any] = {
    **{"also_train": (), "init_batches": 8, "corda_method": "ipm", "gora_gamma": 0.05}
}
"""Options that came later, and the values without which checkpoints are as from before."""


@dataclass(frozen=True, kw_only=True)
class LoRA(FromData, Strategy):
    """Add a trained low-rank update to frozen layers (Hu et al. 2021, arXiv:2106.09685).

    Args:
        head: `train` the classifier in full, `adapt` it with LoRA too, or `freeze` it. Targets
            that name layers of the head narrow `adapt` down to these.
        rank: rank of the updates.
        alpha: strength of the updates; with the default scaling s = alpha / rank.
        targets: patterns of layer names, short names where the model has them (`query`, `ffn`),
            `all-linear` for every linear layer but the head, `all-conv` for every convolution.
        layers: the blocks whose layers are adapted: `all`, `first N`, `last N`, or a list of
            indices from 0. Anything but `all` leaves out body layers that are in no block.
        rank_pattern: rank by target pattern, where it is not `rank`.
        alpha_pattern: alpha by target pattern, where it is not `alpha`.
        dropout: probability of dropping an input of the update.
        scaling: `alpha_over_rank`, `alpha_over_sqrt_rank` (rsLoRA) or `alpha`.
        init: `kaiming`, `gaussian` or `both_normal`; the last is not the identity at the start.
            `pissa`, `milora` and `olora` come from the weight, and are subtracted, so that the
            start is the base; see `first_updates`. `lora_ga`, `eva`, `corda` and `gora` come from
            data, see `from_data`; the last starts with an update.
        init_std: standard deviation for `both_normal`.
        init_batches, corda_method, gora_gamma: of first values from data, see `FromData`.
        also_train: patterns of parameters or modules of the body that are trained themselves,
            beside the updates; see `select_parameters`. No part of LoRA: what it names is full
            fine-tuning of these, kept for reproducing results.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train", "adapt", "freeze")
    dial: ClassVar[str | None] = "rank"
    kinds: ClassVar[tuple[type[LoRALinear], type[LoRALinear]]] = (LoRALinear, LoRAConv)
    """What is put around a linear layer, and around a convolution."""

    rank: int = 8
    alpha: float = 16.0
    targets: str | Sequence[str] = ALL_LINEAR
    layers: Layers = "all"
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    dropout: float = 0.0
    scaling: Scaling = "alpha_over_rank"
    init: Init = "kaiming"
    init_std: float = 0.01
    also_train: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for rank in (self.rank, *self.rank_pattern.values()):
            for alpha in (self.alpha, *self.alpha_pattern.values()):
                check_low_rank(rank, alpha, self.dropout)
        scale_factor(self.scaling, self.alpha, self.rank)
        check_layers(self.layers)
        if self.init not in get_args(Init):
            raise ConfigError(f"adapter.init={self.init}; {allowed(self.init, get_args(Init))}")
        self.check_data()
        if not 0 < self.init_std < math.inf:
            raise ConfigError(f"adapter.init_std={self.init_std} must be above 0 and finite")

    def most(self, model: nn.Module) -> int:
        """Return the largest rank that still adds expressiveness in some layer."""
        return max(min(sizes(layer)) for layer in self._layers(model).values())

    def turned(self, value: int) -> Self:
        """Return the strategy at another rank, every alpha such that the factor s stays."""
        if self.rank_pattern:
            raise ConfigError(
                f"adapter.rank_pattern={dict(self.rank_pattern)} does not go with budget, which "
                "solves one rank for all layers; leave one of them out"
            )
        before, after = (scale_factor(self.scaling, 1.0, rank) for rank in (self.rank, value))

        def as_strong(alpha: float) -> float:
            return alpha_kept(alpha, before, after)  # s is linear in alpha

        patterns = {pattern: as_strong(alpha) for pattern, alpha in self.alpha_pattern.items()}
        return replace(self, rank=value, alpha=as_strong(self.alpha), alpha_pattern=patterns)

    def _layers(self, model: nn.Module) -> dict[str, nn.Module]:
        return select_layers(
            model, self.targets, with_head=self.head == "adapt", layers=self.layers
        )

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return targets, blocks, rank, alpha and their exceptions, as the layers have them."""
        layers, aliases = self._layers(model), aliases_of(model)
        ranks = by_pattern("rank_pattern", layers, self.rank, self.rank_pattern, aliases)
        alphas = by_pattern("alpha_pattern", layers, self.alpha, self.alpha_pattern, aliases)
        rank, other_ranks = pattern_of(ranks)
        alpha, other_alphas = pattern_of(alphas)
        return {
            **places_of(model, layers, with_head=self.head == "adapt"),
            **{"rank": rank, "alpha": alpha},
            **{"rank_pattern": other_ranks, "alpha_pattern": other_alphas},
        }

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Wrap every targeted layer, and unfreeze what is trained beside them."""
        layers = self._layers(model)
        also = select_parameters(model, self.also_train, "also_train") if self.also_train else {}
        for name in also:
            if within(name, tuple(layers)):
                raise ConfigError(
                    f"adapter.also_train: {name} is in a layer that has an adapter; leave it out, "
                    "as in ['*', '!*attention*']"
                )
        aliases = aliases_of(model)
        ranks = by_pattern("rank_pattern", layers, self.rank, self.rank_pattern, aliases)
        alphas = by_pattern("alpha_pattern", layers, self.alpha, self.alpha_pattern, aliases)
        for name, layer in layers.items():
            check_layer(self.init, layer)
            smaller = min(sizes(layer))
            if ranks[name] > smaller:
                warnings.warn(
                    f"rank {ranks[name]} on {name} is above its smaller side, {smaller}: "
                    "more parameters, no more expressiveness",
                    stacklevel=2,
                )
            adapted = self.wrap(layer, ranks[name], alphas[name], generator)
            replace_module(model, name, adapted)
        for parameter in also.values():
            parameter.requires_grad_(True)

    def options(self) -> dict[str, Any]:
        """Leave out what came later where it is off, as in checkpoints from before there was it."""
        options = super().options()
        for name, off in LATER.items():
            if options[name] == off or not options[name]:
                del options[name]
        return options

    def wrap(
        self, layer: nn.Module, rank: int, alpha: float, generator: torch.Generator
    ) -> AdapterLayer:
        """Return `layer` under this strategy's adapter."""
        linear, convolution = self.kinds
        kind = convolution if is_convolution(layer) else linear
        return kind(layer, rank=rank, alpha=alpha, generator=generator, **self.of_each_layer())

    def of_each_layer(self) -> dict[str, Any]:
        """Return the arguments that all adapted layers have in common."""
        return {
            **{"dropout": self.dropout, "scaling": self.scaling},
            **{"init": self.init, "init_std": self.init_std},
        }


METHODS[LoRA] = LowRank(
    LoRALinear,
    {"lora_A": "lora_A.weight", "lora_B": "lora_B.weight"},
    frozen=("first_A", "first_B"),
)
