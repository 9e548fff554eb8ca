"""SHiRA: a few entries of frozen weights are trained, chosen by a sparse mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn

from adapterlab.adapters.data_driven_init import cross_entropy
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import OnLayers, WholeWeight, Wrapping, require_linear
from adapterlab.adapters.weights import is_transposed, matrix, sizes
from adapterlab.base.errors import CheckpointError, ConfigError, allowed

Mask = Literal["random", "magnitude", "gradient", "snip"]
"""Which entries of a layer's W: drawn; those of the largest |W|, |G| or |G ∘ W|, G its gradient."""

FROM_GRADIENTS = ("gradient", "snip")


class SHiRALinear(WholeWeight):
    """SHiRA (Bhardwaj et al. 2024, https://arxiv.org/abs/2406.13175): y = (W + S) x + b.

    S is zero but for n entries, which are trained and start at zero.

    Shapes: x [..., d_in], W and S [d_out, d_in], y [..., d_out], values [n], and rows and columns
    of these [2, n], whole numbers in the order of rows.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        places: of the entries that are trained, in the flattened W, [n], ascending.
        saved: whether checkpoints hold the mask: one that comes from gradients.
    """

    shira_indices: Tensor

    def __init__(self, base: nn.Module, places: Tensor, *, saved: bool = False) -> None:
        super().__init__(base)
        weight = matrix(base)
        self.keep_frozen("shira_indices", indices(places, weight).to(weight.device), saved=saved)
        self.shira_weight = nn.Parameter(weight.new_zeros(len(places)))

    def adapted_matrix(self) -> Tensor:
        """Return W + S."""
        W = matrix(self.base)
        places = in_rows(self.shira_indices, W)
        return W.reshape(-1).index_add(0, places, self.shira_weight).view(W.shape)

    def describe(self) -> str:
        """Say how many entries there are."""
        count, total = len(self.shira_weight), matrix(self.base).numel()
        return f"SHiRA, {count:,} entries, {count / total:.1%}"


@dataclass(frozen=True, kw_only=True)
class SHiRA(OnLayers):
    """Train a few entries of frozen weights (Bhardwaj et al. 2024, arXiv:2406.13175).

    Args:
        rank: each layer has rank · (d_in + d_out) entries, as many as LoRA of this rank has; PEFT
            calls it `r`, and it says nothing of the rank of S.
        mask: see `Mask`.
        random_seed: of `mask=random`; runs of all seeds share the mask.
        batches: of the training, over which `gradient` and `snip` sum the gradient of the loss.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    dial: ClassVar[str | None] = "rank"

    rank: int = 8
    mask: Mask = "random"
    random_seed: int = 0
    batches: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("rank", "batches"):
            if (value := getattr(self, option)) < 1:
                raise ConfigError(f"adapter.{option}={value} must be 1 or more")
        if self.mask not in get_args(Mask):
            raise ConfigError(f"adapter.mask={self.mask}; {allowed(self.mask, get_args(Mask))}")
        if self.random_seed < 0:
            raise ConfigError(f"adapter.random_seed={self.random_seed} must be 0 or more")

    def most(self, model: nn.Module) -> int:
        """Return the largest rank of which no layer has more entries than its weight."""
        return max(min(map(_most, self.chosen(model).values())), 1)

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what makes entries of a layer's weight trained."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("shira", name, layer)
            if (most := _most(layer)) < self.rank:
                d_in, d_out = sizes(layer)
                raise ConfigError(
                    f"adapter.rank={self.rank}: {name} would have {self.rank * (d_in + d_out):,} "
                    f"entries of {d_in * d_out:,}; allowed there: "
                    + (f"1 to {most}" if most else "none, leave it out of adapter.targets")
                )
            return SHiRALinear(layer, self._places(layer), saved=self.mask in FROM_GRADIENTS)

        return wrap

    def _places(self, layer: nn.Module) -> Tensor:
        """Return the entries of the mask; for one that comes from gradients, those of magnitude."""
        W = matrix(layer)
        count = self.rank * sum(W.shape)
        if W.is_meta:
            return torch.empty(count, dtype=torch.long, device="meta")
        if self.mask == "random":  # just as PEFT draws it
            own = torch.Generator().manual_seed(self.random_seed)
            return torch.randperm(W.numel(), generator=own)[:count].sort().values
        return largest(W.detach().abs(), count)

    @property
    def first_batches(self) -> int:
        """How many batches the mask is made of."""
        return self.batches if self.mask in FROM_GRADIENTS else 0

    @property
    def of_classes(self) -> str | None:
        """Masks from gradients, which are of cross-entropy."""
        return f"adapter.mask={self.mask}" if self.mask in FROM_GRADIENTS else None

    def first_values(
        self, model: AdaptedModel, batches: Sequence[Any], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return the masks, from gradients of the frozen weights."""
        layers = {
            name: module
            for name, module in model.model.named_modules()
            if isinstance(module, SHiRALinear)
        }
        weights = [cast(nn.Parameter, layer.base.weight) for layer in layers.values()]
        sums = [torch.zeros_like(weight) for weight in weights]
        try:
            for weight in weights:
                weight.requires_grad_(True)
            for batch in batches:
                found = torch.autograd.grad(cross_entropy(model, batch), weights)
                for total, gradient in zip(sums, found, strict=True):
                    total += gradient
        finally:
            for weight in weights:
                weight.requires_grad_(False)
        masks = {}
        for (name, layer), total in zip(layers.items(), sums, strict=True):
            G = total.mT if is_transposed(layer.base) else total
            score = (G * matrix(layer.base) if self.mask == "snip" else G).abs()
            masks[f"{name}.shira_indices"] = indices(largest(score, len(layer.shira_weight)), score)
        return masks


def largest(score: Tensor, count: int) -> Tensor:
    """Return the places of the largest entries of a matrix, [count], in ascending order.

    Of equal ones, the first in the order of rows.
    """
    order = score.flatten().argsort(descending=True, stable=True)
    return order[:count].sort().values


def indices(places: Tensor, W: Tensor) -> Tensor:
    """Return rows and columns, [2, n], of places in a flattened matrix, as PEFT's files do."""
    width = W.shape[1]
    return torch.stack([places // width, places % width]).to(torch.int32)


def in_rows(indices: Tensor, W: Tensor) -> Tensor:
    """Return places in a flattened matrix, [..., n], of rows and columns [..., 2, n]."""
    rows, columns = indices.long().unbind(-2)
    return rows * W.shape[1] + columns


def _most(layer: nn.Module) -> int:
    d_in, d_out = sizes(layer)
    return d_in * d_out // (d_in + d_out)


class _PeftSHiRA(PlainMethod):
    """PEFT's SHIRA, whose files hold the mask."""

    peft_type = "SHIRA"
    transposed = False
    further: ClassVar[tuple[str, ...]] = ("r", "init_weights", "mask_type", "random_seed")

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return how the mask is made."""
        strategy: Any = adapted.strategy
        seed = strategy.random_seed if strategy.mask == "random" else None
        return {
            **{"r": strategy.rank, "mask_type": strategy.mask, "random_seed": seed},
            "init_weights": True,
        }

    def require_same(
        self, adapted: AdaptedModel, layers: Mapping[str, Any], config: dict[str, Any], folder: Any
    ) -> None:
        """Refuse a mask that checkpoints of this model would not hold, and could not make again."""
        ours: Any = adapted.strategy
        if ours.mask in FROM_GRADIENTS:
            return
        for option, own in self.own(adapted, layers).items():
            if option in ("mask_type", "random_seed") and config.get(option) != own:
                raise CheckpointError(
                    f"{folder}: {option} is {config.get(option)} in the file and {own} in the "
                    "model, so that its entries are others; adapter.mask=gradient takes any over"
                )


METHODS[SHiRA] = _PeftSHiRA(
    SHiRALinear, {"shira_weight": "shira_weight", "shira_indices": "shira_indices"}
)
