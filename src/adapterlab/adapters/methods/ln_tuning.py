"""LN-tuning: only the weights and biases of layer norms are trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.norms import WITH_NORMS, layer_norms, was_known_from_the_start
from adapterlab.adapters.strategy import AdaptedModel, Strategy
from adapterlab.adapters.targets import aliases_of, names_matching
from adapterlab.base.errors import ConfigError

EVERY = "*"


@dataclass(frozen=True, kw_only=True)
class LNTuning(Strategy):
    """Train layer norms and nothing else (Zhao et al. 2023, arXiv:2312.11420).

    Args:
        targets: patterns of names of norms outside the head; all of them by default.
        head: `train` or `freeze`.
    """

    targets: str | Sequence[str] = EVERY

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Unfreeze the norms."""
        for norm in self._chosen(model).values():
            for parameter in norm.parameters(recurse=False):
                parameter.requires_grad_(True)

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return the norms by their names where they are not all of them."""
        chosen = self._chosen(model)
        every = len(chosen) == len(layer_norms(model))
        return {"targets": EVERY if every else sorted(chosen)}

    def came_later(self, adapted: AdaptedModel) -> set[str]:
        """Return what is in norms that were not known by their names, timm's `RmsNorm` say."""
        return {
            f"{name}.{own}"
            for name, norm in layer_norms(adapted.model).items()
            if not was_known_from_the_start(norm)
            for own, _ in norm.named_parameters(recurse=False)
        }

    def _chosen(self, model: nn.Module) -> dict[str, nn.Module]:
        norms, aliases = layer_norms(model), aliases_of(model)
        if not norms:
            raise ConfigError(
                f"adapter=ln_tuning: {type(model).__name__} has no layer norms outside its head; "
                f"{WITH_NORMS}"
            )
        named, chosen = self.targets, set[str]()
        for pattern in [named] if isinstance(named, str) else named:
            found = names_matching(pattern, norms, aliases)
            if not found:
                raise ConfigError(
                    f"adapter.targets: {pattern!r} matches no layer norm; norms: {', '.join(norms)}"
                )
            chosen |= found
        if not chosen:
            raise ConfigError(f"adapter.targets is empty; norms: {', '.join(norms)}")
        return {name: norm for name, norm in norms.items() if name in chosen}


class _PeftLNTuning(PlainMethod):
    """PEFT's LN_TUNING, which trains copies of the norms."""

    peft_type = "LN_TUNING"

    def layers_of(self, adapted: AdaptedModel) -> dict[str, nn.Module]:
        """Return the norms that are trained."""
        strategy = adapted.strategy
        assert isinstance(strategy, LNTuning)
        return strategy._chosen(adapted.model)

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """There are no options."""
        return {}


METHODS[LNTuning] = _PeftLNTuning(
    nn.Module, {name: f"ln_tuning_layers.{name}" for name in ("weight", "bias")}
)
