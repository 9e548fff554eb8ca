"""GPS: of each output of frozen layers, the few weights that the loss asks most to change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.data_driven_init import cross_entropy, gradients, require_classes
from adapterlab.adapters.methods.shira import SHiRALinear, indices
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import OnLayers, Wrapping, require_linear
from adapterlab.adapters.weights import matrix, sizes
from adapterlab.base.errors import ConfigError, allowed
from adapterlab.models.protocol import adaptable

Score = Literal["contrastive", "cross_entropy"]
"""The loss whose gradient scores weights: of features, without a head, or of the logits."""

_TEMPERATURE = 0.07
"""Of the contrastive loss: that of Khosla et al. 2020, which the published code keeps."""


class GPSLinear(SHiRALinear):
    """GPS (Zhang et al. 2024, https://arxiv.org/abs/2312.10136): y = (W + S) x + b.

    S is zero but for K entries of each of its rows, which are trained and start at zero. It is
    SHiRA's layer with another mask, of [d_out · K] entries.
    """

    def describe(self) -> str:
        """Say how many weights of an output there are."""
        d_in, d_out = sizes(self.base)
        return f"GPS, {len(self.shira_weight) // d_out} of {d_in:,} weights of each output"


@dataclass(frozen=True, kw_only=True)
class GPS(OnLayers):
    """Train the weights of each output with the largest gradients (Zhang et al. 2024, 2312.10136).

    The paper's gradient is that of a supervised contrastive loss of what the head reads, since a
    new head is random; it takes two augmented views of each example there, and one here, as the
    training's batches have it. How many batches they are is left open there; its code passes over
    all of the training once. The code trains every bias as well, which is not done here.

    Args:
        connections: K, weights of each output; a layer with fewer inputs trains all of them.
        score: see `Score`.
        batches: of the training, over which gradients are summed.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    dial: ClassVar[str | None] = "connections"

    connections: int = 1
    score: Score = "contrastive"
    batches: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("connections", "batches"):
            if (value := getattr(self, option)) < 1:
                raise ConfigError(f"adapter.{option}={value} must be 1 or more")
        if self.score not in get_args(Score):
            raise ConfigError(f"adapter.score={self.score}; {allowed(self.score, get_args(Score))}")
        if self.head == "adapt" and self.score == "contrastive":
            raise ConfigError(
                "adapter.head=adapt needs adapter.score=cross_entropy: the contrastive loss has no "
                "head, and no gradient of its weights"
            )

    def most(self, model: nn.Module) -> int:
        """Return the inputs of the widest layer, of which all weights are then trained."""
        return max(sizes(layer)[0] for layer in self.chosen(model).values())

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what makes weights of each output trained: at first those of magnitude."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("gps", name, layer)
            W = matrix(layer)
            if W.is_meta:
                places = torch.empty(
                    len(W) * min(self.connections, W.shape[1]), dtype=torch.long, device="meta"
                )
            else:
                places = largest_of_rows(W.detach().abs(), self.connections)
            return GPSLinear(layer, places, saved=True)

        return wrap

    @property
    def first_batches(self) -> int:
        """How many batches the mask is made of."""
        return self.batches

    @property
    def of_classes(self) -> str | None:
        """All of it, by either score."""
        return "adapter=gps"

    def first_values(
        self, model: AdaptedModel, batches: Sequence[Any], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return the masks, from gradients of the frozen weights.

        Raises:
            ConfigError: no two examples of a batch are of one class, where these are contrasted.
        """
        layers = {
            name: module
            for name, module in model.model.named_modules()
            if isinstance(module, GPSLinear)
        }
        for batch in batches:
            require_classes(self, batch.labels)
        if self.score == "contrastive" and not any(_has_pairs(one.labels) for one in batches):
            raise ConfigError(
                "adapter.score=contrastive compares examples of one class, and no batch has two; "
                "allowed: a larger batch_size, or adapter.score=cross_entropy"
            )
        loss_of = contrastive if self.score == "contrastive" else cross_entropy
        masks = {}
        for name, G in gradients(model, layers, batches, loss_of).items():
            places = largest_of_rows(G.abs(), self.connections)
            masks[f"{name}.shira_indices"] = indices(places, G)
        return masks


def largest_of_rows(score: Tensor, count: int) -> Tensor:
    """Return the places of each row's largest entries in the flattened matrix, ascending.

    Of equal ones, the first.
    """
    order = score.argsort(dim=1, descending=True, stable=True)[:, :count]
    first = torch.arange(len(score), device=score.device)[:, None] * score.shape[1]
    return (first + order).flatten().sort().values


def contrastive(model: AdaptedModel, batch: Any) -> Tensor:
    """Return the supervised contrastive loss of what the head reads (Khosla et al. 2020).

    Of each example, the mean over the others of its class of -log softmax over all others, of
    cosines by the temperature; the mean over the examples that have one. Of texts whose head is
    handed all tokens, the mean over the text's own.
    """
    features = F.normalize(before_head(model.model, batch.inputs), dim=1)
    cosines = features @ features.mT / _TEMPERATURE
    itself = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
    logs = cosines.masked_fill(itself, -torch.inf).log_softmax(1)
    alike = (batch.labels[:, None] == batch.labels) & ~itself
    of_each = -logs.masked_fill(~alike, 0).sum(1) / alike.sum(1).clamp(min=1)
    loss: Tensor = of_each.sum() / alike.any(1).sum().clamp(min=1)
    return loss


def before_head(model: nn.Module, inputs: Any) -> Tensor:
    """Return what the first module of a model's head takes, [batch, features]."""
    taken: list[Tensor] = []
    head = model.get_submodule(adaptable(model).head_modules[0])
    handle = head.register_forward_pre_hook(lambda module, given: taken.append(given[0]))
    try:
        model(inputs)
    finally:
        handle.remove()
    x = taken[0]
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    if mask is not None and x.ndim > 2 and x.shape[:2] == mask.shape:
        own = mask.to(x.dtype)[..., None]
        x = (x * own).sum(1) / own.sum(1)
    return x.flatten(1)


def _has_pairs(labels: Tensor) -> bool:
    """Say whether two examples are of one class."""
    return len(torch.unique(labels)) < len(labels)
