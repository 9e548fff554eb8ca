"""Full fine-tuning: every parameter of the base model is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adapterlab.adapters.strategy import Strategy, body_parameters
from adapterlab.adapters.targets import select_parameters

EVERYTHING = "*"


@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """Train the whole model; the reference that parameter-efficient strategies aim at.

    Args:
        targets: patterns of parameters or modules outside the head that are trained, where that is
            not all of them; see `select_parameters`.
        head: `train` or `freeze`.
    """

    targets: str | Sequence[str] = EVERYTHING

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Unfreeze everything outside the head, or what is targeted."""
        chosen = dict(body_parameters(model))
        if self.targets != EVERYTHING:
            patterns = [self.targets] if isinstance(self.targets, str) else self.targets
            chosen = select_parameters(model, patterns, "targets")
        for parameter in chosen.values():
            parameter.requires_grad_(True)

    def options(self) -> dict[str, Any]:
        """Leave out `targets` where it is everything, as checkpoints from before it do."""
        options = super().options()
        if self.targets == EVERYTHING:
            del options["targets"]
        return options
