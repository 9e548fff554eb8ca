"""Turning K adapted models over one frozen base into one module of K lanes, and back."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.frozen import frozen_depth
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, replace_module
from adapterlab.models.frozen import keeps_statistics, staying_in_evaluation
from adapterlab.models.protocol import adaptable
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import (
    COUNTERPARTS,
    LaneDropout,
    LaneModule,
    frozen_names,
    own_trained,
    same_numbers,
)
from adapterlab.packing.randomness import UNSUPPORTED, UNSUPPORTED_NAMES, LaneRandomness, draws


class CannotPackError(Exception):
    """These models cannot be lanes of one pack; the text says why, in a few words."""


Signature = tuple[tuple[object, ...], ...]
"""Name, type and fixed sizes of every module that trains parameters of its own."""


def signature(adapted: AdaptedModel) -> Signature:
    """Return what models must have in common to be lanes of one pack.

    It works on the meta device, so that packs can be planned before anything is loaded.

    Raises:
        CannotPackError: a module has no batched counterpart, or texts are computed by length.
    """
    if adapted.by_length:
        raise CannotPackError("texts of each length are computed apart")
    parts = []
    seen: dict[int, str] = {}
    for name, module in _training_modules(adapted.model):
        counterpart = COUNTERPARTS.get(type(module))
        if counterpart is None:
            raise CannotPackError(f"{type(module).__name__} has no batched counterpart")
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and seen.setdefault(id(parameter), name) != name:
                raise CannotPackError(f"{name} and {seen[id(parameter)]} share trained weights")
        if inner := _trained_inside(module):
            raise CannotPackError(
                f"{type(module).__name__} trains {inner[0]}, a parameter of a module inside it"
            )
        own = (*counterpart.signature(module), *frozen_names(module))
        parts.append((name, type(module).__name__, *own))
    frozen = {name for name, _ in adapted.frozen_modules()}  # which do neither
    for name, module in adapted.model.named_modules():
        kind = type(module).__name__
        draws_together = isinstance(module, UNSUPPORTED) or kind.endswith(UNSUPPORTED_NAMES)
        if draws_together and name not in frozen:
            raise CannotPackError(f"{name} is a {kind}, whose draws lanes share")
        if keeps_statistics(module) and name not in frozen:
            raise CannotPackError(f"{name} keeps statistics of the batch, which lanes would share")
    return tuple(parts)


class PackedModel(nn.Module):
    """K adapted models as one module.

    Frozen parameters are those of the first model, not copies. Rows of all lanes go through frozen
    modules together; see `Lanes` for their order.

    Args:
        models: adapted alike (see `signature`), over equal base weights.
        streams: the stream of data that each reads while training, in ascending order.

    Raises:
        CannotPackError: they are not alike.
    """

    def __init__(self, models: Sequence[AdaptedModel], streams: Sequence[int]) -> None:
        super().__init__()
        first = signature(models[0])
        if any(signature(model) != first for model in models[1:]):
            raise CannotPackError("they train different parameters")
        self.lanes = Lanes(streams)
        frozen = {id(t): t for t in _frozen(models[0].model).values()}
        self.model = copy.deepcopy(models[0].model, memo=frozen)
        for name, module in _training_modules(models[0].model):
            of_lanes = [model.model.get_submodule(name) for model in models]
            replace_module(self.model, name, COUNTERPARTS[type(module)](of_lanes, self.lanes))
        self._randomness = LaneRandomness(self.lanes)
        self._said = adaptable(self.model)
        self._depth = frozen_depth(models[0])
        self._draws = draws(self.model)

    def forward(self, inputs: Any, rows: int, *, together: bool = False) -> Tensor:
        """Return the logits of all lanes, ``[K, B, classes]``.

        Args:
            inputs: of the lanes' streams, one after the other, ``[G·B, ...]``.
            rows: B.
            together: all lanes read the same rows, ``[B, ...]``, as they do in evaluation.
        """
        self.lanes.begin(rows, together=together)
        random = self.training and (not self._said.is_chain or self._draws)
        with self._randomness if random else nullcontext():
            logits = self.model(self._for_lanes(inputs))
        return self.lanes.split(logits)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what is frozen stays in evaluation mode, as in `AdaptedModel`."""
        super().train(mode)
        if mode:
            for _, module in staying_in_evaluation(self.model, (AdapterLayer, LaneModule)):
                module.training = False
        return self

    @property
    def count(self) -> int:
        """How many lanes there are."""
        return self.lanes.count

    def lane_state(self, lane: int) -> dict[str, Tensor]:
        """Return what training has changed of a lane, as `AdaptedModel.state` does; views."""
        return {
            f"{name}.{parameter}": tensor
            for name, module in self.lane_modules()
            for parameter, tensor in module.lane(lane).items()
        }

    def lane_parameters(self, lane: int) -> dict[str, Tensor]:
        """Return what of a lane is trained, as views that gradients flow through."""
        return {
            f"{name}.{own}": module.stacks[own].part(getattr(module, own), lane)
            for name, module in self.lane_modules()
            for own in module.trained
        }

    def lane_gradients(self, lane: int) -> dict[str, Tensor]:
        """Return the gradients of a lane's parameters, as views."""
        return {
            f"{name}.{own}": module.stacks[own].part(gradient, lane)
            for name, module in self.lane_modules()
            for own in module.trained
            if (gradient := getattr(module, own).grad) is not None
        }

    def lane_frozen(self, lane: int) -> dict[str, Tensor]:
        """Return the frozen state of a lane's adapter layers, as views."""
        return {
            f"{name}.{own}": tensor
            for name, module in self.lane_modules()
            for own, tensor in module.frozen_of(lane).items()
        }

    @torch.no_grad()
    def load_lane(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """Take up what `lane_state` gave."""
        for name, own in self.lane_state(lane).items():
            own.copy_(state[name])

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes, in their order; parameters stay the same objects."""
        for _, module in self.lane_modules():
            module.keep(lanes)
        self._randomness.keep(lanes)
        self.lanes.keep(lanes)

    def reseed(self, model_seeds: Sequence[int], adapter_seeds: Sequence[int]) -> None:
        """Start every lane's random streams anew.

        Args:
            model_seeds: a lane's for the dropout of the model, as `torch.manual_seed` takes it.
            adapter_seeds: a lane's for adapter dropout, as `AdaptedModel.reseed` takes it.
        """
        device = next(self.parameters()).device
        self._randomness.reseed(model_seeds, device)
        self._draws = draws(self.model)
        dropouts = [m for m in self.model.modules() if isinstance(m, LaneDropout)]
        for lane, seed in enumerate(adapter_seeds):
            generator = torch.Generator().manual_seed(seed)
            for module in dropouts:
                dropout = cast(SeededDropout, module.of_lanes[lane])
                dropout.reseed(int(torch.randint(2**62, (), generator=generator)))

    def lane_modules(self) -> Iterator[tuple[str, LaneModule]]:
        """Yield the modules with trained parameters, by name in the model."""
        for name, module in self.model.named_modules():
            if isinstance(module, LaneModule):
                yield name, module

    def _for_lanes(self, inputs: Any) -> Any:
        """Share the frozen layers before the first trained one, where the model allows that."""
        if self._said.is_chain:
            return inputs  # its first layer that differs gives every lane rows of its own
        named: dict[str, Any] = dict(inputs) if isinstance(inputs, Mapping) else {}
        hidden = named.pop("hidden_states", None)
        depth = named.pop("depth", self._depth)
        states, noisy = self._said.hidden_states, self.training and self._said.frozen_dropout
        if hidden is None and states is not None and depth and not noisy:
            with torch.no_grad():
                hidden = states(named or inputs, depth)
        if hidden is None and not named:
            return self.lanes.expand(inputs)
        inputs = {name: self.lanes.expand(value) for name, value in named.items()}
        if hidden is not None:
            inputs |= {"hidden_states": self.lanes.expand(hidden), "depth": depth}
        return inputs


def share_frozen(models: Sequence[AdaptedModel]) -> None:
    """Let models over equal base weights hold those of the first, so that they are there once.

    Frozen state of adapters is shared as well where it is equal, and each lane's own where it is
    not. What they train is copied: read from a file, it would keep all of that file in memory.

    Raises:
        CannotPackError: other frozen parameters or buffers differ.
    """
    first = _frozen(models[0].model)
    for model in models[1:]:
        may_differ = model.frozen_state(saved=False).keys()
        own_each = model.frozen_state(saved=True).keys()
        for name, own in _frozen(model.model).items():
            shared = first.get(name)
            if own is shared or name in own_each:
                continue
            if shared is None or not same_numbers(own, shared):
                if name in may_differ:
                    continue
                raise CannotPackError(f"{name} is frozen and differs between them")
            parent, _, child = name.rpartition(".")
            setattr(model.model.get_submodule(parent), child, shared)
        if model is not models[0]:
            for parameter in model.trainable().values():
                parameter.data = parameter.data.clone()


def _frozen(model: nn.Module) -> dict[str, Tensor]:
    """Return frozen parameters and buffers by name."""
    parameters = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return parameters | dict(model.named_buffers(remove_duplicate=False))


def _trained_inside(module: nn.Module) -> list[str]:
    """Return the trained parameters that are not an adapter layer's own, but of modules in it."""
    if not isinstance(module, AdapterLayer):
        return []
    return [n for n, p in module.named_parameters() if p.requires_grad and "." in n]


def _training_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that own trained parameters, an adapter layer as one."""
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        if isinstance(module, AdapterLayer):
            inside += (f"{name}.",)
            yield name, module
        elif own_trained(module):
            yield name, module
