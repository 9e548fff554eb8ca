"""LoRA: a frozen linear layer plus a trained update of low rank."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.formats.low_rank import LowRank
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.one_way import pattern_of, targets_of
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import (
    AdapterLayer,
    HeadMode,
    Strategy,
    linear_layers,
    replace_module,
    within,
)
from adapterlab.adapters.targets import (
    ALL_LINEAR,
    Layers,
    aliases_of,
    by_pattern,
    check_layers,
    select_layers,
    select_parameters,
)
from adapterlab.base.errors import ConfigError, allowed

Scaling = Literal["alpha_over_rank", "alpha_over_sqrt_rank", "alpha"]
"""The factor s of the update: LoRA's, rsLoRA's (Kalajdzievski 2023), or alpha as it is."""

Init = Literal["kaiming", "gaussian", "both_normal"]
"""First values: A Kaiming-uniform and B zero; A ~ N(0, 1/rank²) and B zero; both N(0, std²)."""


def scale_factor(scaling: Scaling, alpha: float, rank: int) -> float:
    """Return the factor s that the low-rank update is multiplied with."""
    match scaling:
        case "alpha_over_rank":
            return alpha / rank
        case "alpha_over_sqrt_rank":
            return alpha / math.sqrt(rank)
        case "alpha":
            return alpha
    raise ConfigError(f"adapter.scaling={scaling}; {allowed(scaling, get_args(Scaling))}")


class LoRALinear(AdapterLayer):
    """LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    y = W x + b + s · B A dropout(x), with W and b frozen.

    Shapes: x [..., d_in], W [d_out, d_in], A [rank, d_in], B [d_out, rank], y [..., d_out].

    Args:
        base: the layer to adapt; frozen here.
        rank: inner dimension of the update, at least 1. Above min(d_in, d_out) it works and adds
            parameters without adding expressiveness.
        alpha: strength of the update; `scaling` says how s comes from it.
        dropout: probability of dropping an input of A.
        scaling: see `Scaling`.
        init: see `Init`.
        init_std: standard deviation for `init="both_normal"`.
        generator: CPU generator that A and B are drawn from; torch's default one when None.

    Raises:
        ConfigError: an argument is outside its domain.
    """

    roles: ClassVar[Mapping[str, str]] = {"lora_A": "A", "lora_B": "B"}

    base: nn.Linear

    def __init__(
        self,
        base: nn.Linear,
        *,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        scaling: Scaling = "alpha_over_rank",
        init: Init = "kaiming",
        init_std: float = 0.01,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_low_rank(rank, alpha, dropout)
        self.base = base.requires_grad_(False)
        self.rank = rank
        self.scale = scale_factor(scaling, alpha, rank)
        self.dropout = SeededDropout(dropout)
        d_in, d_out = base.in_features, base.out_features
        if base.weight.is_meta:  # no values, and no memory for them
            A, B = (torch.empty(*size, device="meta") for size in ((rank, d_in), (d_out, rank)))
        else:
            A, B = initial_factors(init, rank, d_in, d_out, init_std, generator)
        self.lora_A = nn.Parameter(A.to(base.weight))
        self.lora_B = nn.Parameter(B.to(base.weight))

    def update(self, x: Tensor) -> Tensor:
        """Return s · B A dropout(x), [..., d_out]."""
        return self.scale * F.linear(F.linear(self.dropout(x), self.lora_A), self.lora_B)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        return cast(Tensor, self.base(x) + self.update(x))

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """Return W + s · B A, [d_out, d_in]."""
        return self.base.weight + self.scale * self.lora_B @ self.lora_A

    def merged(self) -> nn.Linear:
        """Return the linear layer with the update added to its weight."""
        return like(self.base, self.merged_weight())

    def describe(self) -> str:
        """Say rank and scale."""
        return f"LoRA rank {self.rank}, scale {self.scale:g}"


@dataclass(frozen=True, kw_only=True)
class LoRA(Strategy):
    """Add a trained low-rank update to frozen linear layers (Hu et al. 2021, arXiv:2106.09685).

    Args:
        head: `train` the classifier in full, `adapt` it with LoRA too, or `freeze` it. Targets
            that name layers of the head narrow `adapt` down to these.
        rank: rank of the updates.
        alpha: strength of the updates; with the default scaling s = alpha / rank.
        targets: patterns of layer names, short names where the model has them (`query`, `ffn`),
            or `all-linear` for every linear layer but the head.
        layers: the blocks whose layers are adapted: `all`, `first N`, `last N`, or a list of
            indices from 0. Anything but `all` leaves out body layers that are in no block.
        rank_pattern: rank by target pattern, where it is not `rank`.
        alpha_pattern: alpha by target pattern, where it is not `alpha`.
        dropout: probability of dropping an input of the update.
        scaling: `alpha_over_rank`, `alpha_over_sqrt_rank` (rsLoRA) or `alpha`.
        init: `kaiming`, `gaussian` or `both_normal`; the last is not the identity at the start.
        init_std: standard deviation for `both_normal`.
        also_train: patterns of parameters or modules of the body that are trained themselves,
            beside the updates; see `select_parameters`. No part of LoRA: what it names is full
            fine-tuning of these, kept for reproducing results.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train", "adapt", "freeze")
    dial: ClassVar[str | None] = "rank"

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
        if not 0 < self.init_std < math.inf:
            raise ConfigError(f"adapter.init_std={self.init_std} must be above 0 and finite")

    def most(self, model: nn.Module) -> int:
        """Return the largest rank that still adds expressiveness in some layer."""
        layers = self._layers(model).values()
        return max(min(layer.in_features, layer.out_features) for layer in layers)

    def turned(self, value: int) -> Self:
        """Return the strategy at another rank, every alpha such that the factor s stays."""
        if self.rank_pattern:
            raise ConfigError(
                f"adapter.rank_pattern={dict(self.rank_pattern)} does not go with budget, which "
                "solves one rank for all layers; leave one of them out"
            )
        before, after = (scale_factor(self.scaling, 1.0, rank) for rank in (self.rank, value))

        def as_strong(alpha: float) -> float:
            return float(f"{alpha * before / after:.12g}")  # s is linear in alpha

        patterns = {pattern: as_strong(alpha) for pattern, alpha in self.alpha_pattern.items()}
        return replace(self, rank=value, alpha=as_strong(self.alpha), alpha_pattern=patterns)

    def _layers(self, model: nn.Module) -> dict[str, nn.Linear]:
        return select_layers(
            model, self.targets, with_head=self.head == "adapt", layers=self.layers
        )

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return targets, blocks, rank, alpha and their exceptions, as the layers have them."""
        layers, aliases = self._layers(model), aliases_of(model)
        head = linear_layers(model, head=True)
        targets, blocks = targets_of(model, [name for name in layers if name not in head])
        of_head = sorted(head.keys() & layers.keys())
        if of_head != sorted(head) and self.head == "adapt":
            targets = [*([targets] if isinstance(targets, str) else targets), *of_head]
        ranks = by_pattern("rank_pattern", layers, self.rank, self.rank_pattern, aliases)
        alphas = by_pattern("alpha_pattern", layers, self.alpha, self.alpha_pattern, aliases)
        rank, other_ranks = pattern_of(ranks)
        alpha, other_alphas = pattern_of(alphas)
        return {
            **{"targets": targets, "layers": blocks, "rank": rank, "alpha": alpha},
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
            smaller = min(layer.in_features, layer.out_features)
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
        """Leave out `also_train` where it is off, as in checkpoints from before there was one."""
        options = super().options()
        if not self.also_train:
            del options["also_train"]
        return options

    def wrap(
        self, layer: nn.Linear, rank: int, alpha: float, generator: torch.Generator
    ) -> AdapterLayer:
        """Return `layer` under this strategy's adapter."""
        return LoRALinear(
            layer,
            rank=rank,
            alpha=alpha,
            dropout=self.dropout,
            scaling=self.scaling,
            init=self.init,
            init_std=self.init_std,
            generator=generator,
        )


METHODS[LoRA] = LowRank(LoRALinear, {"lora_A": "lora_A.weight", "lora_B": "lora_B.weight"})


def check_low_rank(rank: int, alpha: float, dropout: float) -> None:
    """Refuse a rank, alpha or dropout outside its domain.

    Raises:
        ConfigError: rank below 1, alpha not above 0, or dropout outside [0, 1).
    """
    if rank < 1:
        raise ConfigError(
            f"adapter.rank={rank} must be 1 or more; to train without an adapter: adapter=head"
        )
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ConfigError(f"adapter.alpha={alpha:g} must be above 0 and finite")
    if not 0 <= dropout < 1:
        raise ConfigError(f"adapter.dropout={dropout:g} must be at least 0 and below 1")


def initial_factors(
    init: Init,
    rank: int,
    d_in: int,
    d_out: int,
    std: float,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Return the first A [rank, d_in] and B [d_out, rank], float32 on the CPU.

    Raises:
        ConfigError: `init` names no rule.
    """
    A, B = torch.empty(rank, d_in), torch.zeros(d_out, rank)
    match init:
        case "kaiming":
            nn.init.kaiming_uniform_(A, a=math.sqrt(5), generator=generator)
        case "gaussian":
            nn.init.normal_(A, std=1 / rank, generator=generator)
        case "both_normal":
            nn.init.normal_(A, std=std, generator=generator)
            nn.init.normal_(B, std=std, generator=generator)
        case _:
            raise ConfigError(f"adapter.init={init}; {allowed(init, get_args(Init))}")
    return A, B


def like(layer: nn.Linear, weight: Tensor) -> nn.Linear:
    """Return a new linear layer with `weight` and a copy of the bias of `layer`."""
    d_out, d_in = weight.shape
    # By way of the meta device, for a layer's first values are drawn from the global generator.
    merged = nn.Linear(
        d_in, d_out, bias=layer.bias is not None, device="meta", dtype=weight.dtype
    ).to_empty(device=weight.device)
    with torch.no_grad():
        merged.weight.copy_(weight)
        if layer.bias is not None:
            merged.bias.copy_(layer.bias)
    return merged.requires_grad_(False)
