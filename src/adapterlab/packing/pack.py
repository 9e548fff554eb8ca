"""Turning K adapted models over one frozen base into one module of K lanes, and back."""

import copy
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.base_names import base_name, wrapped_modules
from adapterlab.adapters.frozen import frozen_depth
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, replace_module
from adapterlab.models.frozen import staying_in_evaluation
from adapterlab.models.protocol import adaptable
from adapterlab.packing.dropout import LaneDropout
from adapterlab.packing.groups import Grouping, LaneGroups, within
from adapterlab.packing.known_rows import FirstLinear
from adapterlab.packing.lanes import Lanes
from adapterlab.packing.layers import LaneModule, same_numbers, training_modules
from adapterlab.packing.randomness import LaneRandomness, draws
from adapterlab.packing.signatures import CannotPackError, Signature, signature


class PackedModel(nn.Module):
    """K adapted models as one module.

    Frozen parameters are those of the first model, not copies. Rows of all lanes go through frozen
    modules together; see `Lanes` for their order.

    Args:
        models: adapted at the same places (see `signature`), over equal base weights. Quickest is
            to have those side by side that are adapted alike.
        streams: the stream of data that each reads while training.
        signatures: of the models, where they are known.

    Raises:
        CannotPackError: they are adapted at other places.
    """

    def __init__(
        self,
        models: Sequence[AdaptedModel],
        streams: Sequence[Hashable],
        signatures: Sequence[Signature] | None = None,
    ) -> None:
        super().__init__()
        signatures = signatures or [signature(model) for model in models]
        if any(one.ground != signatures[0].ground for one in signatures[1:]):
            raise CannotPackError("they train different parameters")
        self.lanes = Lanes(streams)
        self._grouping = Grouping(self.lanes)
        frozen = {id(t): t for t in _frozen(models[0].model).values()}
        self.model = copy.deepcopy(models[0].model, memo=frozen)
        self._places = [name for name, _ in training_modules(models[0].model)]
        for place, name in enumerate(self._places):
            of_lanes = [model.model.get_submodule(name) for model in models]
            alike = [one.parts[place] for one in signatures]
            replace_module(self.model, name, self._grouping.counterpart(of_lanes, alike))
        self._randomness = LaneRandomness(self.lanes)
        self._said = adaptable(self.model)
        self._depth = frozen_depth(models[0])
        self._draws = draws(self.model)

    def forward(
        self, inputs: Any, rows: int, *, together: bool = False, known: FirstLinear | None = None
    ) -> Tensor:
        """Return the logits of all lanes, ``[K, B, classes]``.

        Args:
            inputs: of the lanes' streams, one after the other, ``[G·B, ...]``.
            rows: B.
            together: all lanes read the same rows, ``[B, ...]``, as they do in evaluation.
            known: looks up what the first layer's frozen matrices make of the inputs.
        """
        self.lanes.begin(rows, together=together, known=known)
        random = self.training and (not self._said.is_chain or self._draws)
        with self._randomness if random else nullcontext():
            logits = self.model(self._for_lanes(inputs))
        return self.lanes.split(logits)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what is frozen stays in evaluation mode, as in `AdaptedModel`."""
        super().train(mode)
        if mode:
            added = (AdapterLayer, LaneModule, LaneGroups)
            for _, module in staying_in_evaluation(self.model, added):
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
            for name, module, own_lane in self._modules_of(lane)
            for parameter, tensor in module.lane(own_lane).items()
        }

    def lane_parameters(self, lane: int) -> dict[str, Tensor]:
        """Return what of a lane is trained, as views that gradients flow through."""
        return {
            f"{name}.{own}": module.stacks[own].part(getattr(module, own), own_lane)
            for name, module, own_lane in self._modules_of(lane)
            for own in module.trained
        }

    def lane_gradients(self, lane: int) -> dict[str, Tensor]:
        """Return the gradients of a lane's parameters, as views."""
        return {
            f"{name}.{own}": module.stacks[own].part(gradient, own_lane)
            for name, module, own_lane in self._modules_of(lane)
            for own in module.trained
            if (gradient := getattr(module, own).grad) is not None
        }

    def lane_frozen(self, lane: int) -> dict[str, Tensor]:
        """Return the frozen state of a lane's adapter layers, as views."""
        return {
            f"{name}.{own}": tensor
            for name, module, own_lane in self._modules_of(lane)
            for own, tensor in module.frozen_of(own_lane).items()
        }

    @torch.no_grad()
    def load_lane(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """Take up what `lane_state` gave."""
        for name, own in self.lane_state(lane).items():
            own.copy_(state[name])

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes, in their order; parameters stay the same objects."""
        for _, module in self.lane_modules():
            if kept := within(module.lanes, lanes):
                module.keep(kept)
        self._randomness.keep(lanes)
        self._grouping.keep(lanes)
        self.lanes.keep(lanes)
        for place in self._places:
            if isinstance(groups := self.model.get_submodule(place), LaneGroups):
                groups.drop()

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
                for own_lane in within(module.lanes, [lane]):
                    dropout = cast(SeededDropout, module.of_lanes[own_lane])
                    dropout.reseed(int(torch.randint(2**62, (), generator=generator)))

    def lane_modules(self) -> Iterator[tuple[str, LaneModule]]:
        """Yield the modules with trained parameters, by name in the model of their lanes."""
        for name in self._places:
            module = self.model.get_submodule(name)
            parts = module.parts if isinstance(module, LaneGroups) else [module]
            for part in parts:
                for inner, one in part.named_modules(prefix=name):
                    if isinstance(one, LaneModule):
                        yield inner, one

    def _modules_of(self, lane: int) -> Iterator[tuple[str, LaneModule, int]]:
        """Yield a lane's modules, and its number in each."""
        for name, module in self.lane_modules():
            for own_lane in within(module.lanes, [lane]):
                yield name, module, own_lane

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
    first = _by_base_name(models[0].model)
    for model in models[1:]:
        may_differ = _of_adapters(model.model)
        own_each = model.frozen_state(saved=True).keys()
        wrapped = wrapped_modules(model.model)
        for name, own in _frozen(model.model).items():
            shared = first.get(base_name(name, wrapped))
            if own is shared or name in own_each:
                continue
            if shared is None or not same_numbers(own, shared):
                if name in may_differ:
                    continue
                raise CannotPackError(f"{name} is frozen and differs between them")
            if not shared.requires_grad:  # else the first trains it
                parent, _, child = name.rpartition(".")
                setattr(model.model.get_submodule(parent), child, shared)
        if model is not models[0]:
            for parameter in model.trainable().values():
                parameter.data = parameter.data.clone()


def _by_base_name(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name in the model as it was before it was adapted."""
    wrapped = wrapped_modules(model)
    tensors = (*model.named_parameters(), *model.named_buffers(remove_duplicate=False))
    return {base_name(name, wrapped): tensor for name, tensor in tensors}


def _of_adapters(model: nn.Module) -> set[str]:
    """Return the names of what adapter layers hold themselves."""
    return {
        f"{place}.{name}"
        for place in wrapped_modules(model)
        for name, _ in model.get_submodule(place).named_buffers(recurse=False)
    }


def _frozen(model: nn.Module) -> dict[str, Tensor]:
    """Return frozen parameters and buffers by name."""
    parameters = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return parameters | dict(model.named_buffers(remove_duplicate=False))
