"""LoRA: a frozen layer plus a trained update of low rank."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.factors import (
    SUBTRACTED,
    Init,
    Scaling,
    check_low_rank,
    initial_factors,
    scale_factor,
)
from adapterlab.adapters.first_updates import from_weight
from adapterlab.adapters.formats.low_rank import LowRank
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.one_way import pattern_of, targets_of
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import (
    AdapterLayer,
    HeadMode,
    Strategy,
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
    unnamed_head,
)
from adapterlab.adapters.weights import (
    convolve,
    is_convolution,
    is_transposed,
    matrix,
    sizes,
    weight_layers,
    with_matrix,
)
from adapterlab.base.errors import ConfigError, allowed


class LoRALinear(AdapterLayer):
    """LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    y = W x + b + s · B A dropout(x), with W and b frozen.

    First values that are an update already (see `first_updates`) are subtracted, as frozen state
    that is made again from W: y = W x + b + s · (B A - B0 A0) dropout(x).

    Shapes: x [..., d_in], W [d_out, d_in], A [rank, d_in], B [d_out, rank], y [..., d_out].

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
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

    bias_apart = True
    roles: ClassVar[Mapping[str, str]] = {"lora_A": "A", "lora_B": "B"}

    first_A: Tensor  # noqa: N815
    first_B: Tensor  # noqa: N815

    def __init__(
        self,
        base: nn.Module,
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
        (d_in, d_out), weight = sizes(base), matrix(base)
        if weight.is_meta:  # no values, and no memory for them
            A, B = (torch.empty(*size, device="meta") for size in ((rank, d_in), (d_out, rank)))
        else:
            A, B = initial_factors(init, rank, d_in, d_out, init_std, generator)
        self.lora_A = nn.Parameter(A.to(weight))
        self.lora_B = nn.Parameter(B.to(weight))
        self.less_first = False
        if init in SUBTRACTED:
            if not weight.is_meta:
                from_weight(init, weight, self.scale, self.lora_A.data, self.lora_B.data)
            self.subtract_first()

    def subtract_first(self, *, saved: bool = False) -> None:
        """Keep frozen copies of A and B, whose update is subtracted from now on."""
        self.keep_frozen("first_A", self.lora_A.detach().clone(), saved=saved)
        self.keep_frozen("first_B", self.lora_B.detach().clone(), saved=saved)
        self.less_first = True

    def product(self, x: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """Return B A x, [..., d_out]."""
        return F.linear(F.linear(x, A), B)

    def update(self, x: Tensor) -> Tensor:
        """Return s · B A dropout(x), less the first update's, [..., d_out]."""
        x = self.dropout(x)
        update = self.product(x, self.lora_A, self.lora_B)
        if self.less_first:  # one after the other, so that their difference begins as zero exactly
            update = update - self.product(x, self.first_A, self.first_B)
        return self.scale * update

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A and s · B as matrices, of twice the rank where a first update is subtracted."""
        A, B = self.lora_A.flatten(1), self.scale * self.lora_B.flatten(1)
        if self.less_first:
            A = torch.cat((A, self.first_A.flatten(1)))
            B = torch.cat((B, -self.scale * self.first_B.flatten(1)), 1)
        return A, B

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        return cast(Tensor, self.base(x) + self.update(x))

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """Return W + s · B A, less the first update, [d_out, d_in]."""
        A, B = self.factors()
        return matrix(self.base) + B @ A

    @property
    def weight(self) -> Tensor:
        """The adapted weight, for models that look at their layer's, at its type say."""
        adapted, own = self.adapted_matrix(), cast(Tensor, self.base.weight)
        return adapted.mT if is_transposed(self.base) else adapted.view_as(own)

    def adapted_matrix(self) -> Tensor:
        """Return the weight that the layer computes with, [d_out, d_in]; gradients flow."""
        A, B = self.factors()
        return matrix(self.base) + B @ A

    def merged(self) -> nn.Module:
        """Return the layer with the update added to its weight."""
        return with_matrix(self.base, self.merged_weight())

    def describe(self) -> str:
        """Say rank and scale, and whether the first update is subtracted."""
        return f"LoRA rank {self.rank}, scale {self.scale:g}{self.start}"

    @property
    def start(self) -> str:
        """What to say of first values that are subtracted."""
        return ", less the first update" if self.less_first else ""


class LoRAConv(LoRALinear):
    """LoRA on a convolution: A convolves as the base does, to `rank` channels, B mixes these.

    The weight as a matrix gets the update, W' = W + s · B A. Without groups, it is PEFT's. With
    them, every group's inputs meet the same A, so that W' is a weight of the base's shape; PEFT's
    update is none, and cannot be merged.

    Shapes: x [batch, channels, places...], W [d_out, d_in / groups, kernel...],
    A [rank, d_in / groups, kernel...], B [d_out, rank, 1...].
    """

    def __init__(self, base: nn.Module, **lora: Any) -> None:
        super().__init__(base, **lora)
        places = (1,) * (cast(Tensor, base.weight).ndim - 2)
        A, B = self.lora_A.data, self.lora_B.data
        self.lora_A = nn.Parameter(A.view(self.rank, *cast(Tensor, base.weight).shape[1:]))
        self.lora_B = nn.Parameter(B.view(*B.shape, *places))
        if self.less_first:
            self.subtract_first(saved=self.frozen["first_A"])

    def product(self, x: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """Return B A x, [batch, d_out, places...]."""
        return convolve(self.base, x, A, B)


@dataclass(frozen=True, kw_only=True)
class LoRA(Strategy):
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
            start is the base; see `first_updates`.
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
            return float(f"{alpha * before / after:.12g}")  # s is linear in alpha

        patterns = {pattern: as_strong(alpha) for pattern, alpha in self.alpha_pattern.items()}
        return replace(self, rank=value, alpha=as_strong(self.alpha), alpha_pattern=patterns)

    def _layers(self, model: nn.Module) -> dict[str, nn.Module]:
        return select_layers(
            model, self.targets, with_head=self.head == "adapt", layers=self.layers
        )

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return targets, blocks, rank, alpha and their exceptions, as the layers have them."""
        layers, aliases = self._layers(model), aliases_of(model)
        head = weight_layers(model, head=True)
        targets, blocks = targets_of(model, [name for name in layers if name not in head])
        of_head = sorted(head.keys() & layers.keys())
        if self.head == "adapt" and set(of_head) != unnamed_head(head):
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
        """Leave out `also_train` where it is off, as in checkpoints from before there was one."""
        options = super().options()
        if not self.also_train:
            del options["also_train"]
        return options

    def wrap(
        self, layer: nn.Module, rank: int, alpha: float, generator: torch.Generator
    ) -> AdapterLayer:
        """Return `layer` under this strategy's adapter."""
        kind = LoRAConv if is_convolution(layer) else LoRALinear
        return kind(
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
