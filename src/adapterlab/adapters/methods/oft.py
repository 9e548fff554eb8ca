"""OFT: inputs are rotated, in blocks, ahead of frozen weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.cayley import rotations
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import MatrixAdapter, OnLayers, Wrapping, require_linear
from adapterlab.adapters.weights import is_transposed, matrix, sizes, with_matrix
from adapterlab.base.errors import ConfigError


class OFTLinear(MatrixAdapter):
    """OFT (Qiu et al. 2023, https://arxiv.org/abs/2306.07280), its form of 2025 (OFTv2).

    y = W (x R) + b, with x R block by block and each block R = (I - Q)(I + Q)⁻¹ of a skew Q, so
    that R is a rotation. What is trained is what of Q is above its diagonal, 0 at first: R is I.

    Shapes: x [..., d_in], W [d_out, d_in], y [..., d_out]; of n = d_in / b blocks, oft_R
    [n, b(b-1)/2], row by row of each Q.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        block_size: b, which divides d_in and is above 1.
    """

    def __init__(self, base: nn.Module, *, block_size: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.block_size = block_size
        (d_in, _), weight = sizes(base), matrix(base)
        shape = d_in // block_size, block_size * (block_size - 1) // 2
        self.oft_R = nn.Parameter(weight.new_zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        if turns_weight(self.base, x, x.numel() // x.shape[-1]):
            return F.linear(x, self.adapted_matrix(), cast(nn.Linear, self.base).bias)
        R = rotations(self.oft_R, self.block_size)
        blocks = x.reshape(-1, len(R), self.block_size).transpose(0, 1)
        return cast(Tensor, self.base((blocks @ R.to(x.dtype)).transpose(0, 1).reshape(x.shape)))

    def adapted_matrix(self) -> Tensor:
        """Return W Rᵀ."""
        W, R = matrix(self.base), rotations(self.oft_R, self.block_size).to(self.oft_R.dtype)
        blocks = W.reshape(len(W), len(R), self.block_size).transpose(0, 1)
        return (blocks @ R.mT).transpose(0, 1).reshape(W.shape)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with the rotation in its weight."""
        return with_matrix(self.base, self.adapted_matrix())

    def describe(self) -> str:
        """Say how many blocks there are, and of which size."""
        count = len(self.oft_R)
        return f"OFT, {count} block{'' if count == 1 else 's'} of {self.block_size}"


@dataclass(frozen=True, kw_only=True)
class InBlocks(OnLayers):
    """Rotates inputs in blocks of `block_size`, above 1."""

    dial: ClassVar[str | None] = "block_size"

    block_size: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block_size < 2:
            raise ConfigError(
                f"adapter.block_size={self.block_size} must be 2 or more: a block of 1 rotates "
                "nothing"
            )

    @property
    def least(self) -> int:
        """The smallest block that rotates."""
        return 2


@dataclass(frozen=True, kw_only=True)
class OFT(InBlocks):
    """Rotate the inputs of frozen layers, block by block (Qiu et al. 2023, arXiv:2306.07280).

    Args:
        block_size: of a block; each layer's is the divisor of its inputs that is nearest to it, the
            smaller of two that are as near, and not 1, which rotates nothing.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    def most(self, model: nn.Module) -> int:
        """Return the inputs of the widest layer, as one block."""
        return max(sizes(layer)[0] for layer in self.chosen(model).values())

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what rotates a layer's inputs."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("oft", name, layer)
            d_in, _ = sizes(layer)
            if d_in < 2:
                raise ConfigError(f"adapter.targets: {name} has one input, which cannot be rotated")
            return OFTLinear(layer, block_size=nearest_divisor(d_in, self.block_size))

        return wrap


def turns_weight(base: nn.Module, x: Tensor, rows: int) -> bool:
    """Say whether to turn W rather than x, y = x (W Rᵀ)ᵀ + b: where it has fewer rows.

    Only where x is no layer's output that is trained: its gradient would be one more product.

    Args:
        base: the layer.
        x: its input.
        rows: how many of it are turned by one R.
    """
    return (
        type(base) is nn.Linear
        and rows > base.out_features
        and x.dtype == base.weight.dtype
        and not (torch.is_grad_enabled() and x.requires_grad)
        and not torch.is_autocast_enabled(x.device.type)
    )


@cache
def nearest_divisor(number: int, wanted: int) -> int:
    """Return the divisor above 1 that is nearest; of two that are as near, the smaller."""
    divisors = [n for n in range(2, number + 1) if number % n == 0]
    return min(divisors, key=lambda n: (abs(n - wanted), n))


class _PeftOFT(PlainMethod):
    """PEFT's OFT, by the inverse rather than its first terms."""

    peft_type = "OFT"
    counting: ClassVar[Mapping[str, Any]] = {
        **{"use_cayley_neumann": True, "coft": False, "block_share": False, "bias": "none"}
    }
    further: ClassVar[tuple[str, ...]] = (
        *("r", "oft_block_size", "num_cayley_neumann_terms", "eps", "init_weights"),
        "module_dropout",
    )

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the size of the blocks, which PEFT rounds for each layer as is done here.

        Raises:
            ConfigError: PEFT would round to blocks of 1.
        """
        strategy: Any = adapted.strategy
        for name, layer in layers.items():
            d_in, _ = sizes(layer.base)
            divisors = [n for n in range(1, d_in + 1) if d_in % n == 0]
            if min(divisors, key=lambda n: (abs(n - strategy.block_size), n)) == 1:
                raise ConfigError(
                    f"PEFT would make blocks of 1 of the {d_in} inputs of {name}; a larger "
                    "adapter.block_size is the same here and there"
                )
        return {
            **{"r": 0, "oft_block_size": strategy.block_size, "use_cayley_neumann": False},
            **{"coft": False, "block_share": False, "bias": "none", "init_weights": True},
            "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
        }


METHODS[OFT] = _PeftOFT(OFTLinear, {"oft_R": "oft_R.weight"})
