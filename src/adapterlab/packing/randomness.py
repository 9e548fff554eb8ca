"""Dropout of the model itself, drawn for each lane as it would be drawn alone."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from adapterlab.packing.lanes import Lanes

UNSUPPORTED = (
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.RReLU,
)
"""Modules whose draws are not told apart by lane."""

UNSUPPORTED_NAMES = ("StochasticDepth", "DropPath")
"""Likewise, of libraries that are not imported here; each of them has names that end so."""


class Draws(TorchFunctionMode):
    """Takes over what draws random numbers inside a forward pass, and leaves all else as it is.

    It works on functions, not modules, because attention draws inside
    `scaled_dot_product_attention`. Calls that draw nothing are not taken over.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function, or what is done in its place if it draws."""
        kwargs = kwargs or {}
        if func is F.dropout:
            return self._dropout(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        return func(*args, **kwargs)

    @abstractmethod
    def dropout(self, x: Tensor, p: float) -> Tensor:
        """Return what dropout that draws makes of x."""

    @abstractmethod
    def attention(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> Tensor:
        """Return attention that draws; `options` are torch's others."""

    def _dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0.0:
            return F.dropout(input, p, training, inplace)
        return self.dropout(input, p)

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        names = ("attn_mask", "dropout_p", "is_causal")
        options = dict(zip(names, args, strict=False)) | kwargs
        if not options.get("dropout_p"):
            return F.scaled_dot_product_attention(query, key, value, **options)
        mask = options.pop("attn_mask", None)
        return self.attention(query, key, value, mask, **options)


class LaneRandomness(Draws):
    """Lets what draws random numbers inside a pack's forward pass draw them lane by lane.

    A model's own dropout draws from torch's global generator, which a run alone seeds at the start
    of each epoch. Here every lane has a state of that generator of its own; a call that draws is
    made once for each lane, on its rows, under its state.

    Args:
        lanes: of the pack.
    """

    def __init__(self, lanes: Lanes) -> None:
        super().__init__()
        self.lanes = lanes
        self._states: list[Tensor] = []

    def reseed(self, seeds: Sequence[int], device: torch.device) -> None:
        """Start every lane's stream as `torch.manual_seed` would.

        That seeds the generators of all devices as well, and where CUDA has not begun it keeps a
        trace of the caller until it does: to begin with the states themselves takes no time.
        """
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._states = [generator.get_state() for generator in generators]

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes."""
        self._states = [self._states[lane] for lane in lanes] if self._states else []

    def dropout(self, x: Tensor, p: float) -> Tensor:
        """Draw lane by lane."""
        rows = self.lanes.split(self.lanes.expand(x))
        return torch.cat([F.dropout(own, p, True) for own in self._each(rows, x.device)])

    def attention(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> Tensor:
        """Draw lane by lane."""
        of_lanes: list[Any] = [self.lanes.split(t) for t in (query, key, value)]
        if mask is not None and mask.shape[0] == query.shape[0]:
            masks: Any = self.lanes.split(mask)
        else:
            masks = [mask] * self.lanes.count
        parts = zip(*of_lanes, masks, strict=True)
        drawn = [
            F.scaled_dot_product_attention(q, k, v, attn_mask=own_mask, **options)
            for q, k, v, own_mask in self._each(list(parts), query.device)
        ]
        return torch.cat(drawn)

    def _each(self, parts: Any, device: torch.device) -> Iterator[Any]:
        """Yield the lanes' parts, each while its lane's state is the generator's."""
        with _generator_of(device):
            for lane, part in enumerate(parts):
                _set_state(self._states[lane], device)
                yield part
                self._states[lane] = _get_state(device)


def draws(model: nn.Module) -> bool:
    """Say whether a model's own dropout draws while it trains.

    Only a module of torch's own dropout is seen; a model of `transformers` may draw in attention
    that has none, and is always taken to draw while any of it trains.
    """
    return any(isinstance(m, nn.Dropout) and m.p > 0 for m in model.modules())


def _get_state(device: torch.device) -> Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()


def _set_state(state: Tensor, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


@contextmanager
def _generator_of(device: torch.device) -> Iterator[None]:
    """Leave torch's global generators as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield
