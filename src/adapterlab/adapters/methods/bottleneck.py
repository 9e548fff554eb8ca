"""Bottlenecks: small networks after layers of the base, or beside them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.canonical_targets import blocks_of, targets_of
from adapterlab.adapters.insertion_points import (
    WITH_ATTENTION,
    attention_outputs,
    chain,
    feed_forwards,
    refuse,
    within_blocks,
)
from adapterlab.adapters.strategy import AdapterLayer, Strategy, replace_module
from adapterlab.adapters.targets import AUTO, Layers, check_layers, select_layers
from adapterlab.adapters.weights import is_linear, matrix, sizes
from adapterlab.base.errors import ConfigError, allowed
from adapterlab.models.forward_passes import Passed
from adapterlab.models.protocol import adaptable

Placement = Literal["houlsby", "pfeiffer", "parallel"]
"""After attention and after the feed-forward network, after this alone, or beside it."""

NonLinearity = Literal["relu", "swish", "gelu", "tanh"]
"""Functions that leave zero where it is, so that lanes of other sizes may stand in one pack."""

Init = Literal["kaiming", "bert", "houlsby"]
"""First values: Down Kaiming-uniform and Up zero; both N(0, 0.02²); both N(0, 0.01²) cut at 2σ."""

FUNCTIONS: dict[NonLinearity, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "swish": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class _Usual:
    """What the papers take where an option says nothing."""

    reduction_factor: int
    non_linearity: NonLinearity
    scale: float


_USUAL: dict[Placement, _Usual] = {
    "houlsby": _Usual(16, "swish", 1.0),
    "pfeiffer": _Usual(16, "relu", 1.0),
    "parallel": _Usual(2, "relu", 4.0),
}


class Tapped(AdapterLayer):
    """A layer whose input is handed to a bottleneck beside the network that it begins."""

    mergeable = False
    only_calls_base = True

    def __init__(self, base: nn.Module, passed: Passed) -> None:
        super().__init__()
        self.base, self.passed = base, passed

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer returns."""
        self.passed.give(x)
        return cast(Tensor, self.base(x))

    def describe(self) -> str:
        """Say what it is for."""
        return "read by a bottleneck"


class BottleneckLinear(AdapterLayer):
    """A bottleneck at a linear layer with outputs h = W x + b.

    After it (Houlsby et al. 2019, https://arxiv.org/abs/1902.00751):
    y = h + s · (U f(D h + c) + e). Beside it, or beside a network that it is the last layer of
    (He et al. 2022, https://arxiv.org/abs/2110.04366): y = h + s · (U f(D x + c) + e) with the
    input x of that.

    Shapes: h [..., d_out], D [size, d], c [size], U [d_out, size], e [d_out]; d is d_out after the
    layer, and the width of x beside it.

    Args:
        base: the layer; frozen here.
        size: m of the bottleneck, at least 1.
        width: d.
        non_linearity: f.
        scale: s.
        init: see `Init`.
        beside: whether it reads the layer's input rather than its output.
        passed: the input of the network, where that is not the layer's.
        generator: CPU generator that D and U are drawn from; torch's default one when None.

    Raises:
        ConfigError: an argument is outside its domain.
    """

    mergeable = False
    only_calls_base = True

    def __init__(
        self,
        base: nn.Module,
        *,
        size: int,
        width: int,
        non_linearity: NonLinearity = "relu",
        scale: float = 1.0,
        init: Init = "kaiming",
        beside: bool = False,
        passed: Passed | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_bottleneck(size, scale, non_linearity, init)
        self.base = base.requires_grad_(False)
        self.non_linearity, self.scale = non_linearity, scale
        self.beside, self.passed = beside, passed
        weight = matrix(base)
        d_out = weight.shape[0]
        shapes = ((size, width), (d_out, size))
        if weight.is_meta:  # no values, and no memory for them
            down, up = (torch.empty(*shape, device="meta") for shape in shapes)
        else:
            down, up = (torch.zeros(*shape) for shape in shapes)
            _draw(init, down, up, generator)
        self.down = nn.Parameter(down.to(weight))
        self.down_bias = nn.Parameter(weight.new_zeros(size))
        self.up = nn.Parameter(up.to(weight))
        self.up_bias = nn.Parameter(weight.new_zeros(d_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        h: Tensor = self.base(x)
        inner = F.linear(self.read(x, h), self.down, self.down_bias)
        inner = FUNCTIONS[self.non_linearity](inner)
        return h + F.linear(inner, self.scale * self.up, self.scale * self.up_bias)

    def read(self, x: Tensor, h: Tensor) -> Tensor:
        """Return what the bottleneck reads, of the layer's input and output."""
        if self.passed is not None:
            return self.passed.take()
        return x if self.beside else h

    def describe(self) -> str:
        """Say size, function, scale and place."""
        place = "beside" if self.beside else "after"
        scaled = "" if self.scale == 1 else f", scale {self.scale:g}"
        return f"bottleneck {len(self.down)} {place}, {self.non_linearity}{scaled}"


@dataclass(frozen=True, kw_only=True)
class Bottleneck(Strategy):
    """Put bottlenecks at frozen layers (Houlsby et al. 2019, arXiv:1902.00751).

    In an MLP all placements are at each of its layers, after it or (`parallel`) beside it.

    Args:
        placement: `houlsby` after attention's output and after the feed-forward network's,
            `pfeiffer` (Pfeiffer et al. 2021, arXiv:2005.00247) after the latter only, `parallel`
            (He et al. 2022, arXiv:2110.04366) beside the feed-forward network.
        size: of a bottleneck; None for its width divided by the reduction factor.
        reduction_factor: None for 16, of `parallel` 2, where there is no size either.
        non_linearity: `relu`, `swish`, `gelu` or `tanh`; None for swish of `houlsby`, else relu.
        scale: what the bottleneck's output is multiplied with; None for 4 of `parallel`, else 1.
        init: `kaiming`, which starts as the base, `bert` or `houlsby`, which start near to it.
        targets: `auto`, where the placement has them; or patterns or short names of linear layers
            to have a bottleneck after or beside each of them instead; see `select_layers`.
        layers: the blocks that have bottlenecks: `all`, `first N`, `last N`, or a list of indices.
    """

    dial: ClassVar[str | None] = "size"

    placement: Placement = "pfeiffer"
    size: int | None = None
    reduction_factor: int | None = None
    non_linearity: NonLinearity | None = None
    scale: float | None = None
    init: Init = "kaiming"
    targets: str | Sequence[str] = AUTO
    layers: Layers = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.placement not in _USUAL:
            raise ConfigError(
                f"adapter.placement={self.placement}; {allowed(self.placement, _USUAL)}"
            )
        if self.size is not None and self.reduction_factor is not None:
            raise ConfigError(
                f"adapter.size={self.size} and adapter.reduction_factor={self.reduction_factor} "
                "say the same; leave one of them out"
            )
        if self.reduction_factor is not None and self.reduction_factor < 1:
            raise ConfigError(f"adapter.reduction_factor={self.reduction_factor} must be 1 or more")
        usual = _USUAL[self.placement]
        check_bottleneck(
            1 if self.size is None else self.size,
            usual.scale if self.scale is None else self.scale,
            self.non_linearity or usual.non_linearity,
            self.init,
        )
        check_layers(self.layers)

    @property
    def mergeable(self) -> bool:
        """No plain layer has a nonlinearity inside."""
        return False

    def most(self, model: nn.Module) -> int:
        """Return the widest of what the bottlenecks read."""
        return max(self._width(model, *place) for place in self._places(model))

    def turned(self, value: int) -> Self:
        """Return the strategy with bottlenecks of another size."""
        return replace(self, size=value, reduction_factor=None)

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return targets and blocks in one way."""
        places = self._places(model)
        if self.targets != AUTO:
            targets, layers = targets_of(model, [last for _, last in places])
            return {"targets": targets, "layers": layers}
        blocks = adaptable(model).blocks
        chosen = within_blocks(model, blocks, self.layers)
        return {"layers": blocks_of([blocks.index(name) for name in chosen], len(blocks))}

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Put a bottleneck at every place."""
        usual, beside = _USUAL[self.placement], self.placement == "parallel"
        for first, last in self._places(model):
            width = self._width(model, first, last)
            factor = self.reduction_factor or usual.reduction_factor
            passed = Passed() if beside and first != last else None
            layer = self.layer(
                model,
                model.get_submodule(last),
                size=self.size or max(1, width // factor),
                width=width,
                non_linearity=self.non_linearity or usual.non_linearity,
                scale=usual.scale if self.scale is None else self.scale,
                init=self.init,
                beside=beside,
                passed=passed,
                generator=generator,
            )
            if passed is not None:
                replace_module(model, first, Tapped(model.get_submodule(first), passed))
            replace_module(model, last, layer)

    def layer(self, model: nn.Module, base: nn.Module, **bottleneck: Any) -> BottleneckLinear:
        """Return a layer with a bottleneck."""
        return BottleneckLinear(base, **bottleneck)

    def _width(self, model: nn.Module, first: str, last: str) -> int:
        """Return the width of what the bottleneck at a place reads."""
        if self.placement == "parallel":
            return sizes(model.get_submodule(first))[0]
        return sizes(model.get_submodule(last))[1]

    def _places(self, model: nn.Module) -> list[tuple[str, str]]:
        """Return the first and the last layer of what each bottleneck is at, in forward order."""
        if self.targets != AUTO:
            names = list(select_layers(model, self.targets, with_head=False, layers=self.layers))
            places = [(name, name) for name in names]
        else:
            places = [
                place
                for place in self._usual_places(model)
                if within_blocks(model, place[1:], self.layers)
            ]
        for _, last in places:
            if not is_linear(model.get_submodule(last)):
                raise ConfigError(
                    f"adapter=bottleneck: {last} is a convolution; a bottleneck is put at linear "
                    f"layers, models with: {WITH_ATTENTION}"
                )
        return places

    def _usual_places(self, model: nn.Module) -> list[tuple[str, str]]:
        """Return where the placement has bottlenecks.

        Raises:
            ConfigError: nowhere.
        """
        if in_chain := chain(model):
            return [(name, name) for name in in_chain]
        networks, attention = feed_forwards(model), attention_outputs(model)
        asked = f"adapter=bottleneck adapter.placement={self.placement}"
        if not networks:
            refuse(asked, "feed-forward layers", f"convnext, mlp, {WITH_ATTENTION}")
        if self.placement != "houlsby":
            return networks
        if not attention:
            refuse(asked, "attention layers", f"mlp (after its layers), {WITH_ATTENTION}")
        order = [name for name, _ in model.named_modules()]
        both = [*networks, *((name, name) for name in attention)]
        return sorted(both, key=lambda place: order.index(place[1]))


def check_bottleneck(size: int, scale: float, non_linearity: str, init: str) -> None:
    """Refuse what no bottleneck has.

    Raises:
        ConfigError: size below 1, a scale that is 0 or not finite, or an unknown name.
    """
    if size < 1:
        raise ConfigError(
            f"adapter.size={size} must be 1 or more; to train without an adapter: adapter=head"
        )
    if not (scale != 0 and math.isfinite(scale)):
        raise ConfigError(f"adapter.scale={scale:g} must be finite and not 0")
    if non_linearity not in FUNCTIONS:
        raise ConfigError(
            f"adapter.non_linearity={non_linearity}; {allowed(non_linearity, FUNCTIONS)}"
        )
    if init not in get_args(Init):
        raise ConfigError(f"adapter.init={init}; {allowed(init, get_args(Init))}")


def _draw(init: Init, down: Tensor, up: Tensor, generator: torch.Generator | None) -> None:
    match init:
        case "kaiming":
            nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        case "bert":
            for matrix_ in (down, up):
                nn.init.normal_(matrix_, std=0.02, generator=generator)
        case "houlsby":
            for matrix_ in (down, up):
                nn.init.trunc_normal_(matrix_, std=0.01, a=-0.02, b=0.02, generator=generator)
