"""LoReFT: hidden states edited in a subspace of few dimensions, after blocks or linear layers."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.canonical_targets import blocks_of, targets_of
from adapterlab.adapters.insertion_points import WITH_ATTENTION, refuse, within_blocks
from adapterlab.adapters.methods.dora import full_precision
from adapterlab.adapters.strategy import AdapterLayer, Strategy, replace_module
from adapterlab.adapters.targets import AUTO, Layers, check_layers, select_layers
from adapterlab.adapters.weights import is_convolution, is_linear, sizes
from adapterlab.base.errors import ConfigError, allowed
from adapterlab.models.forward_passes import Passed, SpeaksForBase
from adapterlab.models.protocol import adaptable

Init = Literal["identity", "random"]
"""First values of W: those of R, so that nothing is edited, or drawn as torch draws."""

_POSITIONS = re.compile(r"f(?P<first>[1-9]\d*)(?:\+l(?P<also>[1-9]\d*))?|l(?P<last>[1-9]\d*)")


@dataclass(frozen=True)
class Positions:
    """Which tokens of a text are edited: so many from its beginning, and so many from its end."""

    first: int
    last: int

    def chosen(self, mask: Tensor) -> Tensor:
        """Say of every token whether it is one of them, [batch, tokens, 1].

        Args:
            mask: attention mask, [batch, tokens]; the tokens of a text may be on either side.
        """
        real = mask.bool()
        before = real.cumsum(-1) - 1
        after = real.sum(-1, keepdim=True) - 1 - before
        return (real & ((before < self.first) | (after < self.last)))[..., None]


def orthonormal_rows(rotation: Tensor) -> Tensor:
    """Return R with R Rᵀ = 1, by Householder reflections; differentiable.

    Row i of `rotation` is the vector v_i of a reflection 1 - 2 v_i v_iᵀ / ‖v_i‖²: a one at place i,
    zeros before it, and what the row has after it. The rows of R are the first of their product, so
    that those of smaller R do not depend on rows that come after.

    Shapes: [..., rank, d] to the same.
    """
    wide = rotation.float() if rotation.dtype in (torch.float16, torch.bfloat16) else rotation
    rank = wide.shape[-2]
    one = torch.eye(rank, wide.shape[-1], dtype=wide.dtype, device=wide.device)
    with full_precision(wide.device):
        vectors = one + wide.triu(1)
        # The product is 1 - Vᵀ T V with T⁻¹ = V Vᵀ above its diagonal and half of it there.
        products = vectors @ vectors.mT
        halves = torch.diag_embed(products.diagonal(dim1=-2, dim2=-1) / 2)
        solved = torch.linalg.solve_triangular((products.triu(1) + halves).mT, vectors, upper=False)
        R: Tensor = one - vectors[..., :rank].mT @ solved
    return R.to(rotation.dtype)


class LoReFT(SpeaksForBase, AdapterLayer):
    """LoReFT (Wu et al. 2024, https://arxiv.org/abs/2404.03592).

    h' = h + Rᵀ (W h + b - R h), with R Rᵀ = 1, on the output h of any module.

    Shapes: h [..., d], the module's output or the first of several; R and W [rank, d], b [rank].

    Args:
        base: a block or a layer; frozen here.
        rank: of the subspace, from 1 to d.
        width: d.
        positions: which tokens are edited; None for all.
        token_mask: where the model holds the mask of its batch; needed with positions.
        init: see `Init`.
        like: a tensor of the type and device that the parameters should have.
        generator: CPU generator of every draw; torch's default one when None.

    Raises:
        ConfigError: an argument is outside its domain.
    """

    mergeable = False
    only_calls_base = True

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        width: int,
        positions: Positions | None = None,
        token_mask: Passed | None = None,
        init: Init = "identity",
        like: Tensor,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= rank <= width:
            raise ConfigError(f"adapter.rank={rank} must be from 1 to the width, {width}")
        if init not in get_args(Init):
            raise ConfigError(f"adapter.init={init}; {allowed(init, get_args(Init))}")
        self.base = base.requires_grad_(False)
        self.positions, self.token_mask = positions, token_mask
        if like.is_meta:  # no values, and no memory for them
            rotation, source = (torch.empty(rank, width, device="meta") for _ in range(2))
        else:
            # Uniform over all subspaces, as reflections: R of a normal matrix.
            normal = torch.randn(width, rank, generator=generator)
            rotation = torch.geqrf(normal)[0].mT.contiguous()
            source = torch.empty(rank, width)
            bound = 1 / math.sqrt(width)
            source.uniform_(-bound, bound, generator=generator)
        self.rotation = nn.Parameter(rotation.to(like))
        self.source = nn.Parameter(source.to(like))
        self.source_bias = nn.Parameter(like.new_zeros(rank))
        if init == "identity" and not like.is_meta:
            self.source.data = orthonormal_rows(self.rotation.data)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the base returns, its hidden state edited."""
        output = self.base(*args, **kwargs)
        if isinstance(output, tuple):
            return self.edited(output[0]), *output[1:]
        return self.edited(output)

    def edited(self, h: Tensor) -> Tensor:
        """Return h', [..., d]."""
        R = orthonormal_rows(self.rotation)
        edit = F.linear(h, self.source - R, self.source_bias) @ R
        if self.positions is not None:
            edit = edit * self.positions.chosen(mask_of(self.token_mask, h))
        return h + edit

    def describe(self) -> str:
        """Say rank and places."""
        places = self.positions
        said = "" if places is None else f", first {places.first} and last {places.last} tokens"
        return f"LoReFT rank {len(self.source)}{said}"


@dataclass(frozen=True, kw_only=True)
class ReFT(Strategy):
    """Edit hidden states in a low-rank subspace (Wu et al. 2024, arXiv:2404.03592).

    Args:
        rank: dimensions of the subspace.
        positions: tokens that are edited: `all`, or as in pyreft `f4+l4` for the first and last
            four of a text, `f1` or `l1`. A text's own tokens count, not its padding.
        init: `identity`, which starts as the base, or `random`, which does not and is pyreft's.
        targets: `auto`, the outputs of blocks; or patterns or short names of linear layers whose
            outputs are edited instead; see `select_layers`.
        layers: the blocks that are edited: `all`, `first N`, `last N`, or a list of indices.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 4
    positions: str = "all"
    init: Init = "identity"
    targets: str | Sequence[str] = AUTO
    layers: Layers = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise ConfigError(
                f"adapter.rank={self.rank} must be 1 or more; to train without an adapter: "
                "adapter=head"
            )
        if self.init not in get_args(Init):
            raise ConfigError(f"adapter.init={self.init}; {allowed(self.init, get_args(Init))}")
        positions_of(self.positions)
        check_layers(self.layers)

    @property
    def mergeable(self) -> bool:
        """No layer of the base computes an edit."""
        return False

    def most(self, model: nn.Module) -> int:
        """Return the narrowest hidden state, whose whole space is edited then."""
        return min(self._places(model).values())

    def turned(self, value: int) -> Self:
        """Return the strategy at another rank."""
        return replace(self, rank=value)

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return targets and blocks in one way."""
        places = self._places(model)
        if self.targets != AUTO:
            targets, layers = targets_of(model, places)
            return {"targets": targets, "layers": layers}
        blocks = adaptable(model).blocks
        return {"layers": blocks_of([blocks.index(name) for name in places], len(blocks))}

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Put an edit after every block or layer."""
        positions, mask = positions_of(self.positions), adaptable(model).token_mask
        if positions is not None and mask is None:
            raise ConfigError(
                f"adapter.positions={self.positions} counts tokens of a text, and this model takes "
                "none; allowed: all"
            )
        for name, width in self._places(model).items():
            base = model.get_submodule(name)
            edited = LoReFT(
                base,
                rank=self.rank,
                width=width,
                positions=positions,
                token_mask=mask,
                init=self.init,
                like=next(base.parameters()),
                generator=generator,
            )
            replace_module(model, name, edited)

    def _places(self, model: nn.Module) -> dict[str, int]:
        """Return what is edited and how wide it is, by name in forward order.

        Raises:
            ConfigError: it cannot be.
        """
        if self.targets != AUTO:
            layers = select_layers(model, self.targets, with_head=False, layers=self.layers)
            for name, layer in layers.items():
                if not is_linear(layer):
                    raise ConfigError(
                        f"adapter.targets: {name} is a convolution; a linear layer is meant"
                    )
            return {name: sizes(layer)[1] for name, layer in layers.items()}
        blocks = within_blocks(model, adaptable(model).blocks, self.layers)
        return {name: _width(model, name) for name in blocks}


def positions_of(text: str) -> Positions | None:
    """Return the positions that a text names; None for all.

    Raises:
        ConfigError: it names none.
    """
    if text == "all":
        return None
    found = _POSITIONS.fullmatch(text)
    if not found:
        raise ConfigError(f"adapter.positions={text}; allowed: all, fN, lN or fN+lM, as f4+l4")
    return Positions(int(found["first"] or 0), int(found["also"] or found["last"] or 0))


def mask_of(token_mask: Passed | None, h: Tensor) -> Tensor:
    """Return the mask of the batch that h is of; all ones where the model was given none."""
    held = None if token_mask is None else token_mask.held
    return h.new_ones(h.shape[:2]) if held is None else held


def _width(model: nn.Module, block: str) -> int:
    """Return how wide the hidden states are that a block gives.

    Raises:
        ConfigError: it cannot be told.
    """
    module = model.get_submodule(block)
    layers = [layer for layer in module.modules() if is_linear(layer)]
    convolutional = any(is_convolution(layer) for layer in module.modules())
    if is_linear(module):
        return sizes(module)[1]
    if not layers or convolutional or sizes(layers[0])[0] != sizes(layers[-1])[1]:
        refuse(
            f"adapter=reft on {block}",
            "blocks of linear layers that give as wide hidden states as they take",
            f"mlp, {WITH_ATTENTION.replace('swin, ', '')}",
        )
    return sizes(layers[-1])[1]
