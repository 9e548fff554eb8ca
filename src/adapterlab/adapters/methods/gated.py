"""UniPELT's parts: updates, prefixes and bottlenecks, each times a gate that its input opens.

Mao et al. 2022 (https://arxiv.org/abs/2110.07577). A gate is one number for each text and layer,
g = mean over the tokens of sigmoid(w · x + c), with the input x of what it is at. The mean is
of a text's own tokens, so that it does not hang on how far a batch is padded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.factors import check_low_rank, initial_factors
from adapterlab.adapters.insertion_points import refuse
from adapterlab.adapters.methods.bottleneck import FUNCTIONS, Bottleneck, BottleneckLinear
from adapterlab.adapters.methods.prefix import Prefix, PrefixAttention, Rows, attended
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import AdapterLayer
from adapterlab.adapters.targeted import OnLayers, Wrapping, require_linear
from adapterlab.adapters.targets import AUTO, aliases_of
from adapterlab.adapters.weights import matrix, sizes
from adapterlab.models.forward_passes import Passed
from adapterlab.models.protocol import adaptable

GATES = {"gate_weight": "gate", "gate_bias": "gate"}
"""Roles of a gate's parameters."""

_STD = 0.02


def first_gate(
    like: Tensor, width: int, generator: torch.Generator | None
) -> tuple[nn.Parameter, nn.Parameter]:
    """Return w ~ N(0, 0.02²), [1, width], and c = 0, [1]: gates start half open.

    Args:
        like: a tensor of the type and device that they should have.
        width: of what opens the gate.
        generator: CPU generator of w.
    """
    if like.is_meta:
        weight = like.new_empty(1, width)
    else:
        weight = (_STD * torch.randn(1, width, generator=generator)).to(like)
    return nn.Parameter(weight), nn.Parameter(like.new_zeros(1))


def opened(score: Tensor, token_mask: Passed | None) -> Tensor:
    """Return the gate of each row, [rows, 1, 1], or [rows, 1] of rows that have no tokens.

    Args:
        score: w · x + c, [rows, tokens, 1] or [rows, 1].
        token_mask: where the model holds the mask of its batch; None where it has none.
    """
    gate = score.sigmoid()
    if gate.ndim == 2:
        return gate
    mask = None if token_mask is None else token_mask.held
    if mask is None:
        return gate.mean(1, keepdim=True)
    share = mask.to(gate.dtype) / mask.sum(1, keepdim=True)
    return (gate * share[..., None]).sum(1, keepdim=True)


class GatedLoRALinear(AdapterLayer):
    """A low-rank update with a gate in the place of its scale: y = W x + b + g · B A dropout(x).

    Shapes: x [rows, tokens, d_in] or [rows, d_in], A [rank, d_in], B [d_out, rank], w [1, d_in].

    Args:
        base: `nn.Linear` or transformers' Conv1D; frozen here.
        rank: of the update.
        dropout: probability of dropping an input of A.
        token_mask: see `opened`.
        generator: CPU generator of every draw; torch's default one when None.
    """

    mergeable = False
    roles: ClassVar[Mapping[str, str]] = {"lora_A": "A", "lora_B": "B", **GATES}

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        dropout: float = 0.0,
        token_mask: Passed | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.dropout, self.token_mask = SeededDropout(dropout), token_mask
        (d_in, d_out), like = sizes(base), matrix(base)
        if like.is_meta:  # no values, and no memory for them
            A, B = (torch.empty(*size, device="meta") for size in ((rank, d_in), (d_out, rank)))
        else:
            A, B = initial_factors("kaiming", rank, d_in, d_out, 0.0, generator)
        self.lora_A, self.lora_B = (nn.Parameter(factor.to(like)) for factor in (A, B))
        self.gate_weight, self.gate_bias = first_gate(like, d_in, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        gate = opened(F.linear(x, self.gate_weight, self.gate_bias), self.token_mask)
        update = F.linear(F.linear(self.dropout(x), self.lora_A), self.lora_B)
        return cast(Tensor, self.base(x) + gate * update)

    def describe(self) -> str:
        """Say the rank."""
        return f"gated LoRA rank {len(self.lora_A)}"


class GatedPrefixAttention(PrefixAttention):
    """A prefix (see `PrefixAttention`) of g · P_k and g · P_v, of the attention's input x."""

    roles: ClassVar[Mapping[str, str]] = GATES

    def __init__(self, base: nn.Module, *, opens: int, token_mask: Passed | None, **prefix: Any):
        super().__init__(base, **prefix)
        self.token_mask = token_mask
        gate = first_gate(prefix["like"], opens, prefix.get("generator"))
        self.gate_weight, self.gate_bias = gate

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the attention returns."""
        x = args[0] if args else kwargs["hidden_states"]
        gate = opened(F.linear(x, self.gate_weight, self.gate_bias), self.token_mask)
        own = self.prefix_key, self.prefix_value
        return attended(self.base, lambda: Rows(*(gate * part for part in own)), args, kwargs)

    def describe(self) -> str:
        """Say how long it is."""
        return f"gated {super().describe()}"


class GatedBottleneckLinear(BottleneckLinear):
    """A bottleneck (see `BottleneckLinear`): y = h + g · s · (U f(D z + c) + e), g of z."""

    roles: ClassVar[Mapping[str, str]] = GATES

    def __init__(self, base: nn.Module, *, token_mask: Passed | None, **bottleneck: Any) -> None:
        super().__init__(base, **bottleneck)
        self.token_mask = token_mask
        gate = first_gate(self.down.data, bottleneck["width"], bottleneck.get("generator"))
        self.gate_weight, self.gate_bias = gate

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        h: Tensor = self.base(x)
        z = self.read(x, h)
        gate = opened(F.linear(z, self.gate_weight, self.gate_bias), self.token_mask)
        inner = FUNCTIONS[self.non_linearity](F.linear(z, self.down, self.down_bias))
        return h + gate * self.scale * F.linear(inner, self.up, self.up_bias)

    def describe(self) -> str:
        """Say size, function, scale and place."""
        return f"gated {super().describe()}"


@dataclass(frozen=True, kw_only=True)
class GatedLoRA(OnLayers):
    """Low-rank updates with gates in the place of their scale (Mao et al. 2022).

    Args:
        head: see `Targeted`; the other places as well.
        rank: of the updates.
        dropout: probability of dropping an input of A.
        targets: `auto` for what makes queries and values; else see `Targeted`.
        layers: see there.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 8
    dropout: float = 0.0
    targets: str | Sequence[str] = AUTO

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, 1.0, self.dropout)

    @property
    def mergeable(self) -> bool:
        """No plain layer looks at its input first."""
        return False

    def most(self, model: nn.Module) -> int:
        """Return the largest rank that still adds expressiveness in some layer."""
        return max(min(sizes(layer)) for layer in self.chosen(model).values())

    def targets_on(self, model: nn.Module) -> str | Sequence[str]:
        """Return the short names of what makes queries and values."""
        if self.targets != AUTO:
            return self.targets
        aliases = aliases_of(model)
        found = [name for name in ("query", "value", "qkv") if name in aliases]
        if not found:
            refuse("adapter.targets=auto", "layers that make queries and values")
        return found

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what puts an update and its gate around a layer."""
        mask = adaptable(model).token_mask

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("unipelt", name, layer)
            return GatedLoRALinear(
                layer, rank=self.rank, dropout=self.dropout, token_mask=mask, generator=generator
            )

        return wrap


@dataclass(frozen=True, kw_only=True)
class GatedPrefix(Prefix):
    """Prefixes times gates (Mao et al. 2022); one gate for keys and values of a layer.

    Args:
        **prefix: see `Prefix`.
    """

    def layer(self, model: nn.Module, base: nn.Module, **prefix: Any) -> PrefixAttention:
        """Return an attention with a prefix and its gate."""
        (opens,) = {sizes(own)[0] for own in _keys(model, base)}
        mask = adaptable(model).token_mask
        return GatedPrefixAttention(base, opens=opens, token_mask=mask, **prefix)


@dataclass(frozen=True, kw_only=True)
class GatedBottleneck(Bottleneck):
    """Bottlenecks times gates (Mao et al. 2022).

    Args:
        **bottleneck: see `Bottleneck`.
    """

    def layer(self, model: nn.Module, base: nn.Module, **bottleneck: Any) -> BottleneckLinear:
        """Return a layer with a bottleneck and its gate."""
        mask = adaptable(model).token_mask
        return GatedBottleneckLinear(base, token_mask=mask, **bottleneck)


def _keys(model: nn.Module, attention: nn.Module) -> list[nn.Module]:
    """Return the layers in an attention that make its keys, and so take its input."""
    aliases = adaptable(model).target_aliases
    names = {*aliases.get("key", ()), *aliases.get("qkv", ())}
    inside = list(attention.modules())
    return [m for name, m in model.named_modules() if name in names and m in inside]
