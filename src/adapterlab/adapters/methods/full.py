"""Full fine-tuning: every parameter of the base model is trained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adapterlab.adapters.anchors import keep_anchors
from adapterlab.adapters.hooks import ByRole, Moment
from adapterlab.adapters.strategy import AdaptedModel, Strategy, body_parameters
from adapterlab.adapters.targets import select_parameters
from adapterlab.base.errors import ConfigError

EVERYTHING = "*"


@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """Train the whole model; the reference that parameter-efficient strategies aim at.

    Args:
        targets: patterns of parameters or modules outside the head that are trained, where that is
            not all of them; see `select_parameters`.
        towards_base: how strongly weights outside the head are drawn back to the base's, in place
            of the decay towards zero: L2-SP (Li et al. 2018, arXiv:1802.01483), which adds
            towards_base / 2 · ‖w - w0‖² to the loss. Not at all where it is 0.
        head: `train` or `freeze`.

    Raises:
        ConfigError: an option is outside its domain.
    """

    targets: str | Sequence[str] = EVERYTHING
    towards_base: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.towards_base < math.inf:
            raise ConfigError(
                f"adapter.towards_base={self.towards_base:g} must be 0 or more and finite"
            )

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Unfreeze everything outside the head, or what is targeted."""
        chosen = dict(body_parameters(model))
        if self.targets != EVERYTHING:
            patterns = [self.targets] if isinstance(self.targets, str) else self.targets
            chosen = select_parameters(model, patterns, "targets")
        for parameter in chosen.values():
            parameter.requires_grad_(True)

    def apply(self, model: nn.Module, *, seed: int = 0) -> AdaptedModel:
        """Keep the base's weights where what is trained is drawn back to them."""
        adapted = super().apply(model, seed=seed)
        if self.towards_base:
            keep_anchors(adapted, [n for n in adapted.trainable() if not adapted.in_head(n)])
        return adapted

    def after_backward(self, moment: Moment) -> None:
        """Add the gradient of towards_base / 2 · ‖w - w0‖²."""
        for name, base in moment.base.items():
            if (gradient := moment.gradients.get(name)) is not None:
                gradient.add_(moment.parameters[name] - base, alpha=self.towards_base)

    def by_role(self) -> Mapping[str, ByRole]:
        """Leave out the decay towards zero where there is one towards the base."""
        return {"adapter": ByRole(weight_decay=0.0)} if self.towards_base else {}

    def uses(self, hook: str) -> bool:
        """Ask for nothing where weights are not drawn back."""
        return super().uses(hook) and bool(self.towards_base)

    def options(self) -> dict[str, Any]:
        """Leave out what is off, as checkpoints from before there was any of it do."""
        options = super().options()
        if not self.towards_base:
            del options["towards_base"]
        if self.targets == EVERYTHING:
            del options["targets"]
        return options
