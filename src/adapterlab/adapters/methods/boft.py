"""BOFT: inputs go through a butterfly of small rotations ahead of frozen weights."""

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
from adapterlab.adapters.methods.oft import InBlocks, turns_weight
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import MatrixAdapter, Wrapping, require_linear
from adapterlab.adapters.weights import matrix, sizes, with_matrix
from adapterlab.base.errors import ConfigError


class BOFTLinear(MatrixAdapter):
    """BOFT (Liu et al. 2024, https://arxiv.org/abs/2311.06243).

    y = s ∘ W (x R) + b with R = M_m ... M_1, each M_i a rotation in blocks of b inputs,
    (I - Q)(I + Q)⁻¹ of a skew Q. M_1 has neighbours in its blocks; a block of M_i is two halves of
    blocks, 2^(i-1) halves apart, so that m factors let each input reach 2^(m-1) · b others. What is
    trained is what of each Q is above its diagonal, 0 at first, and s, 1 at first. PEFT trains and
    counts whole matrices D instead, of which it takes Q = (D - Dᵀ) / 2.

    Shapes: x [..., d_in], W [d_out, d_in], y [..., d_out], s [d_out]; of n = d_in / b blocks,
    boft_R [m, n, b(b-1)/2], row by row of each Q.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        block_size: b, above 1; even where there are several factors.
        factors: m; 2^(m-1) · b divides d_in.
    """

    def __init__(self, base: nn.Module, *, block_size: int, factors: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.block_size, self.factors = block_size, factors
        (d_in, d_out), weight = sizes(base), matrix(base)
        shape = factors, d_in // block_size, block_size * (block_size - 1) // 2
        self.boft_R = nn.Parameter(weight.new_zeros(shape))
        self.boft_s = nn.Parameter(weight.new_ones(d_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        W, bias = matrix(self.base), cast(Tensor | None, self.base.bias)
        rows = x.reshape(1, -1, x.shape[-1])
        if turns_weight(self.base, x, rows.shape[1]):
            return F.linear(x, self.adapted_matrix(), bias)
        R = rotations(self.boft_R, self.block_size).to(x.dtype)
        y = F.linear(turned(rows, R[None]).view(x.shape), W) * self.boft_s
        return y if bias is None else y + bias

    def adapted_matrix(self) -> Tensor:
        """Return s ∘ (W Rᵀ), [d_out, d_in]; gradients flow."""
        R = rotations(self.boft_R, self.block_size).to(self.boft_R.dtype)
        return turned(matrix(self.base)[None], R[None], back=True)[0] * self.boft_s[:, None]

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with rotations and scale in its weight."""
        return with_matrix(self.base, self.adapted_matrix())

    def describe(self) -> str:
        """Say how many factors there are, and of which blocks."""
        count, n = self.factors, self.boft_R.shape[1]
        return (
            f"BOFT, {count} factor{'' if count == 1 else 's'} of {n} block{'' if n == 1 else 's'} "
            f"of {self.block_size}"
        )


def turned(rows: Tensor, R: Tensor, *, back: bool = False) -> Tensor:
    """Return rows times the M of a butterfly, from the last to the first.

    Args:
        rows: ``[K, N, d]``, or ``[1, N, d]`` where all share them.
        R: the blocks, ``[K, m, n, b, b]``.
        back: by the inverse.

    Returns:
        ``[K, N, d]``.
    """
    factors, size = R.shape[1], R.shape[-1]
    for i in range(factors) if back else reversed(range(factors)):
        blocks = R[:, i].mT if back else R[:, i]  # [K, n, b, b]
        # Halves that are 2^i apart come to lie side by side; blocks of the first do already.
        halves = (2, 2**i, size // 2) if i else (1, 1, size)
        beside = rows.reshape(*rows.shape[:2], -1, *halves).transpose(-3, -2)
        cut = beside.reshape(*rows.shape[:2], -1, size).transpose(1, 2)  # [K, n, N, b]
        rows = (cut @ blocks).transpose(1, 2)
        rows = rows.reshape(len(rows), *beside.shape[1:]).transpose(-3, -2).flatten(2)
    return rows


@dataclass(frozen=True, kw_only=True)
class BOFT(InBlocks):
    """Rotate the inputs of frozen layers by a butterfly (Liu et al. 2024, arXiv:2311.06243).

    Args:
        block_size: of a block; each layer's is the nearest that fits its inputs, the smaller of two
            that are as near, and not 1, which rotates nothing.
        factors: of the butterfly, PEFT's `boft_n_butterfly_factor`; with 1 it is `oft` and a scale
            of outputs. A layer whose inputs have no such blocks gets as many factors as they allow:
            block_size · 2^(factors - 1) divides them, and of several factors blocks are even.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    block_size: int = 8
    factors: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factors < 1:
            raise ConfigError(f"adapter.factors={self.factors} must be 1 or more")

    def most(self, model: nn.Module) -> int:
        """Return the largest block that some layer has at this number of factors."""
        inputs = [sizes(layer)[0] for layer in self.chosen(model).values()]
        return max(max(blocks_of(d_in, self.factors)[1], default=2) for d_in in inputs)

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what rotates a layer's inputs."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("boft", name, layer)
            factors, allowed = blocks_of(sizes(layer)[0], self.factors)
            if not allowed:
                raise ConfigError(f"adapter.targets: {name} has one input, which cannot be rotated")
            size = min(allowed, key=lambda n: (abs(n - self.block_size), n))
            return BOFTLinear(layer, block_size=size, factors=factors)

        return wrap


@cache
def blocks_of(d_in: int, factors: int) -> tuple[int, tuple[int, ...]]:
    """Return as many factors as inputs allow, and the sizes that their blocks may then have.

    Args:
        d_in: inputs of a layer.
        factors: that are wanted.
    """
    for count in range(min(factors, d_in.bit_length()), 1, -1):
        found = [b for b in range(2, d_in + 1, 2) if d_in % (b << (count - 1)) == 0]
        if found:
            return count, tuple(found)
    return 1, tuple(b for b in range(2, d_in + 1) if d_in % b == 0)


class _PeftBOFT(PlainMethod):
    """PEFT's BOFT, which keeps whole matrices, and uses what of them is skew."""

    peft_type = "BOFT"
    transposed = False
    counting: ClassVar[Mapping[str, Any]] = {"bias": "none"}
    further: ClassVar[tuple[str, ...]] = (
        *("boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout"),
        "init_weights",
    )

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return blocks and factors, which all layers have alike in PEFT.

        Raises:
            ConfigError: they differ between layers.
        """
        found = {(layer.block_size, layer.factors): name for name, layer in layers.items()}
        if len(found) > 1:
            (one, first), (other, second), *_ = found.items()
            raise ConfigError(
                f"PEFT's BOFT has one block size and number of factors for all layers, and {first} "
                f"has {one[0]} and {one[1]}, {second} has {other[0]} and {other[1]}; export the "
                "merged model instead"
            )
        ((size, factors),) = found
        return {
            **{"boft_block_size": size, "boft_block_num": 0, "boft_n_butterfly_factor": factors},
            **{"boft_dropout": 0.0, "bias": "none", "init_weights": True},
        }

    def written(self, layer: nn.Module, name: str, tensor: Tensor) -> Tensor:
        """Return the skew matrices, and the scale as a column."""
        if name == "boft_s":
            return tensor[:, None]
        size = cast(BOFTLinear, layer).block_size
        rows, columns = torch.triu_indices(size, size, 1)
        Q = tensor.new_zeros(*tensor.shape[:-1], size, size)
        Q[..., rows, columns], Q[..., columns, rows] = tensor, -tensor
        return Q

    def taken(self, layer: nn.Module, name: str, tensor: Tensor) -> dict[str, Tensor]:
        """Return what of the matrices' skew part is above the diagonal, and the scale."""
        if name == "boft_s":
            return {name: tensor[:, 0]}
        size = cast(BOFTLinear, layer).block_size
        rows, columns = torch.triu_indices(size, size, 1)
        return {name: (0.5 * (tensor - tensor.mT))[..., rows, columns]}


METHODS[BOFT] = _PeftBOFT(BOFTLinear, {"boft_R": "boft_R", "boft_s": "boft_s"})
