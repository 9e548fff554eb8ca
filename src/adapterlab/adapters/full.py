"""Full fine-tuning: every parameter of the base model is trained."""

from dataclasses import dataclass

import torch
from torch import nn

from adapterlab.adapters.strategy import Strategy, body_parameters


@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """Train the whole model; the reference that parameter-efficient strategies aim at.

    Args:
        head: `train` or `freeze`.
    """

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Unfreeze everything outside the head."""
        for _, parameter in body_parameters(model):
            parameter.requires_grad_(True)
