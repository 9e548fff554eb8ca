"""VeRA: frozen random projections that all layers share, and two trained vectors a layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.factors import check_low_rank
from adapterlab.adapters.formats.peft import METHODS, PeftMethod
from adapterlab.adapters.formats.peft_options import require_understood
from adapterlab.adapters.strategy import AdaptedModel, replace_module
from adapterlab.adapters.targeted import LinearAdapter, OverLinear
from adapterlab.adapters.weights import is_transposed, matrix, sizes
from adapterlab.base.errors import CheckpointError, ConfigError


class VeRALinear(LinearAdapter):
    """VeRA (Kopiczko et al. 2024, https://arxiv.org/abs/2310.11454).

    y = W x + b + λ_b ∘ B (λ_d ∘ A dropout(x)), with W, b, A and B frozen.

    Shapes: x [..., d_in], A [rank, d_in], B [d_out, rank], λ_d [rank], λ_b [d_out].

    A and B are frozen state made from a seed among the options: checkpoints hold their
    fingerprints, and lanes of one `projection_seed` and rank hold them once.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        A: random projection down, the part of it that belongs to a layer of this size.
        B: random projection up, likewise.
        d_initial: first value of every entry of λ_d; λ_b starts at zero.
        dropout: probability of dropping an input of A.
    """

    roles: ClassVar[Mapping[str, str]] = {"vera_lambda_d": "d", "vera_lambda_b": "b"}

    vera_A: Tensor  # noqa: N815  # PEFT's names
    vera_B: Tensor  # noqa: N815

    def __init__(
        self, base: nn.Module, A: Tensor, B: Tensor, *, d_initial: float = 0.1, dropout: float = 0.0
    ) -> None:
        super().__init__(base, dropout=dropout)
        weight = matrix(base)
        self.keep_frozen("vera_A", A.to(weight))
        self.keep_frozen("vera_B", B.to(weight))
        self.vera_lambda_d = nn.Parameter(torch.full_like(self.vera_A[:, 0], d_initial))
        self.vera_lambda_b = nn.Parameter(torch.zeros_like(self.vera_B[:, 0]))

    @property
    def inner(self) -> int:
        """The rank, to which A brings a row."""
        return len(self.vera_lambda_d)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        down = self.vera_lambda_d * F.linear(self.dropout(x), self.vera_A)
        return cast(Tensor, self.base(x) + self.vera_lambda_b * F.linear(down, self.vera_B))

    def adapted_matrix(self) -> Tensor:
        """Return W + diag(λ_b) B diag(λ_d) A, [d_out, d_in]; gradients flow."""
        up = self.vera_lambda_b[:, None] * self.vera_B
        return matrix(self.base) + up @ (self.vera_lambda_d[:, None] * self.vera_A)

    def describe(self) -> str:
        """Say the rank."""
        return f"VeRA rank {len(self.vera_lambda_d)}"


@dataclass(frozen=True, kw_only=True)
class VeRA(OverLinear):
    """Scale frozen random projections that all layers share (Kopiczko et al. 2024).

    One A [rank, largest d_in] and one B [largest d_out, rank] are drawn from `projection_seed`, as
    PEFT draws them (Kaiming-uniform with gain √2), and each layer takes the first of their columns
    and rows. No seed of a run changes them, so that all runs of a study share them.

    Args:
        head: see `Targeted`; the other places as well.
        rank: rows of A. It may be above a layer's sides: each adds one trained number a layer.
        projection_seed: that A and B are drawn from.
        d_initial: first value of λ_d, not zero. The paper recommends 0.1 or less.
        dropout: probability of dropping an input of A.
        **targeted: see `Targeted`.
    """

    dial: ClassVar[str | None] = "rank"
    kind: ClassVar[type[VeRALinear]] = VeRALinear

    rank: int = 256
    projection_seed: int = 0
    d_initial: float = 0.1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, 1.0, self.dropout)
        if not 0 <= self.projection_seed < 2**63:
            raise ConfigError(
                f"adapter.projection_seed={self.projection_seed} must be at least 0 and below 2^63"
            )
        if self.d_initial == 0 or not math.isfinite(self.d_initial):
            raise ConfigError(
                f"adapter.d_initial={self.d_initial:g} must be finite and not 0, from where "
                "nothing would ever learn"
            )

    def most(self, model: nn.Module) -> int:
        """Return the largest side of a layer: beyond it, projections cost more than layers."""
        return max(max(sizes(layer)) for layer in self.chosen(model).values())

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Wrap every targeted layer."""
        layers = self.chosen(model)
        d_in, d_out = (max(sizes(layer)[side] for layer in layers.values()) for side in (0, 1))
        A, B = self._projections(d_in, d_out, matrix(next(iter(layers.values()))))
        for name, layer in layers.items():
            inputs, outputs = sizes(layer)
            own = self.kind(
                layer,
                A[:, :inputs],
                B[:outputs],
                d_initial=self.d_initial,
                dropout=self.dropout,
            )
            replace_module(model, name, own)

    def _projections(self, d_in: int, d_out: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return A [rank, d_in] and B [d_out, rank]."""
        shapes = (self.rank, d_in), (d_out, self.rank)
        if like.is_meta:
            A, B = (like.new_empty(shape) for shape in shapes)
            return A, B
        generator = torch.Generator().manual_seed(self.projection_seed)
        A, B = (torch.empty(shape) for shape in shapes)
        for projection in (A, B):
            nn.init.kaiming_uniform_(projection, generator=generator)
        return A.to(like), B.to(like)


@dataclass(frozen=True)
class _Format(PeftMethod):
    """PEFT's VERA: the vectors of each layer, and the projections once."""

    def lacking(self, strategy: Any) -> str | None:
        """PEFT has all of it."""
        return None

    def config(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return PEFT's options."""
        strategy: Any = adapted.strategy
        return {
            "peft_type": "VERA",
            "r": strategy.rank,
            "projection_prng_key": strategy.projection_seed,
            "save_projection": True,
            "vera_dropout": strategy.dropout,
            "d_initial": strategy.d_initial,
            "init_weights": True,
            "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
            "bias": "none",
        }

    def beside(self, layers: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Tensor]:
        """Return the projections, of which the largest layers have all."""
        if not config["save_projection"]:
            return {}
        A = max((layer.vera_A for layer in layers.values()), key=lambda A: A.shape[1])
        B = max((layer.vera_B for layer in layers.values()), key=lambda B: B.shape[0])
        return {"base_model.vera_A": A, "base_model.vera_B": B}

    def understood(self, config: dict[str, Any], path: Path) -> dict[str, Any]:
        """Refuse another method."""
        heeded = ("r", "projection_prng_key", "save_projection")
        without_effect = ("vera_dropout", "d_initial", "init_weights")
        require_understood(config, path, "VERA", (*heeded, *without_effect))
        return {"projection_prng_key": 0, "save_projection": True, **config}

    def require_same(
        self, adapted: AdaptedModel, layers: Mapping[str, Any], config: dict[str, Any], folder: Path
    ) -> None:
        """Refuse projections that no file holds and that another seed draws."""
        seed: int = cast(VeRA, adapted.strategy).projection_seed
        if not config["save_projection"] and config["projection_prng_key"] != seed:
            raise CheckpointError(
                f"{folder} was trained beside projections of projection_prng_key="
                f"{config['projection_prng_key']}, this model has those of "
                f"adapter.projection_seed={seed}"
            )


METHODS[VeRA] = _Format(
    VeRALinear,
    {name: name for name in ("vera_lambda_b", "vera_lambda_d")},
    frozen=("vera_A", "vera_B"),
)
