"""(IA)³: activations scaled by learned vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.peft_names import relative
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import MatrixAdapter, OnLayers, Wrapping, require_linear
from adapterlab.adapters.targets import ALL_LINEAR, aliases_of, names_matching, select_blocks
from adapterlab.adapters.weights import is_transposed, matrix, sizes, with_matrix
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError
from adapterlab.models.protocol import Aliases, adaptable, counted_layers

AUTO = "auto"
"""The paper's layers, where the model has them."""


class IA3Linear(MatrixAdapter):
    """(IA)³ (Liu et al. 2022, https://arxiv.org/abs/2205.05638).

    y = l ∘ (W x + b), or y = W (l ∘ x) + b on a feed-forward layer; W and b frozen, l starts as 1.

    Shapes: x [..., d_in], y [..., d_out], l [d_out, 1], or [1, d_in] on a feed-forward layer.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        feedforward: scale its input rather than its output.
    """

    def __init__(self, base: nn.Module, *, feedforward: bool = False) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.feedforward = feedforward
        (d_in, d_out), weight = sizes(base), matrix(base)
        shape = (1, d_in) if feedforward else (d_out, 1)
        self.ia3_l = nn.Parameter(weight.new_ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        l = self.ia3_l.flatten()  # noqa: E741  # the paper's name
        return cast(Tensor, self.base(l * x) if self.feedforward else l * self.base(x))

    def adapted_matrix(self) -> Tensor:
        """Return W with its rows, or its columns, scaled."""
        return self.ia3_l * matrix(self.base)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the layer with the vector in its weight, and in its bias."""
        new = with_matrix(self.base, self.adapted_matrix())
        bias = cast(Tensor | None, new.bias)
        if bias is not None and not self.feedforward:
            bias.mul_(self.ia3_l.flatten())
        return new

    def describe(self) -> str:
        """Say what is scaled."""
        return f"(IA)³ on its {'inputs' if self.feedforward else 'outputs'}"


@dataclass(frozen=True, kw_only=True)
class IA3(OnLayers):
    """Scale activations of frozen layers by learned vectors (Liu et al. 2022, arXiv:2205.05638).

    Args:
        targets: the layers, as for LoRA. `auto`: keys and values of attention (or `qkv` where one
            layer is all three) and the last feed-forward layer of a block, as in the paper; every
            linear layer of a model without such names.
        feedforward: those of them whose inputs are scaled rather than their outputs; by default
            the feed-forward layers that `targets: auto` finds. Empty: none.
        **targeted: `head` and `layers`, as for LoRA.
    """

    targets: str | Sequence[str] = AUTO
    feedforward: str | Sequence[str] = AUTO

    def targets_on(self, model: nn.Module) -> str | Sequence[str]:
        """Return the paper's layers for `auto`."""
        if self.targets != AUTO:
            return self.targets
        aliases = aliases_of(model)
        of_attention = [short for short in ("key", "value") if short in aliases] or [
            short for short in ("qkv",) if short in aliases
        ]
        down = _last_of_feedforward(model, aliases)
        if self.layers != "all":
            blocks = select_blocks(self.layers, adaptable(model).blocks, counted_layers(model))
            down = [name for name in down if within(name, blocks)]
        return [*of_attention, *down] if of_attention and down else ALL_LINEAR

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what lets a layer scale its outputs, or a feed-forward layer its inputs."""
        inputs = self._of_inputs(model)

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("ia3", name, layer)
            return IA3Linear(layer, feedforward=name in inputs)

        return wrap

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Add the feed-forward layers by their names."""
        return {**super().in_one_way(model), "feedforward": sorted(self._of_inputs(model))}

    def _of_inputs(self, model: nn.Module) -> set[str]:
        """Return the names of the layers whose inputs are scaled."""
        chosen, aliases = self.chosen(model), aliases_of(model)
        if self.feedforward == AUTO:
            return chosen.keys() & set(_last_of_feedforward(model, aliases))
        named = self.feedforward
        found = set[str]()
        for pattern in [named] if isinstance(named, str) else named:
            own = chosen.keys() & names_matching(pattern, chosen, aliases)
            if not own:
                raise ConfigError(
                    f"adapter.feedforward: {pattern!r} is none of the targets; "
                    f"layers: {', '.join(chosen)}"
                )
            found |= own
        return found


def _last_of_feedforward(model: nn.Module, aliases: Aliases) -> list[str]:
    """Return the feed-forward layers that come back to the model's width, by what it calls them."""
    names = aliases.get("ffn", aliases.get("mlp", ()))
    found = []
    for name in names:
        d_in, d_out = sizes(model.get_submodule(name))
        if d_in > d_out:
            found.append(name)
    return found


class _PeftIA3(PlainMethod):
    """PEFT's IA3."""

    peft_type = "IA3"
    further: ClassVar[tuple[str, ...]] = ("feedforward_modules", "init_ia3_weights")

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return which layers' inputs are scaled.

        Raises:
            ConfigError: PEFT, which looks at the ends of names, would take another one for one.
        """
        inputs = [relative(adapted, name) for name, layer in layers.items() if layer.feedforward]
        for name, layer in layers.items():
            if not layer.feedforward and relative(adapted, name).endswith(tuple(inputs)):
                raise ConfigError(f"PEFT would scale the inputs of {name}, not its outputs")
        return {
            "feedforward_modules": inputs,
            "init_ia3_weights": True,
            "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
        }


METHODS[IA3] = _PeftIA3(IA3Linear, {"ia3_l": "ia3_l"})
