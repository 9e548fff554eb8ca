"""BitFit: only the bias terms are trained."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from adapterlab.adapters.strategy import AdaptedModel, HeadMode, Strategy, body_parameters
from adapterlab.adapters.weights import is_bias
from adapterlab.base.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BitFit(Strategy):
    """Train every bias and nothing else (Ben Zaken et al. 2022, arXiv:2106.10199).

    Args:
        head: `train` the classifier in full as the paper does, `adapt` only its biases, or
            `freeze` it.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train", "adapt", "freeze")

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Unfreeze the biases outside the head, and inside it for `head: adapt`."""
        names = {name for name, _ in body_parameters(model) if is_bias(name)}
        if not names:
            raise ConfigError("adapter=bitfit: the model has no bias outside its head")
        for name, parameter in model.named_parameters():
            if name in names or (is_bias(name) and self.head == "adapt"):
                parameter.requires_grad_(True)

    def came_later(self, adapted: AdaptedModel) -> set[str]:
        """Return biases that are no layer's, `in_proj_bias` say."""
        beside = (n for n in adapted.trainable() if is_bias(n) and n.rpartition(".")[2] != "bias")
        return {name for name in beside if self.head == "adapt" or not adapted.in_head(name)}
