"""One optimizer for all lanes of a pack, each with its own options, schedule and state."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from adapterlab.config.optimizers import Optimizer
from adapterlab.config.schedules import PLATEAU
from adapterlab.packing import PackedModel
from adapterlab.packing.groups import runs_of, within
from adapterlab.packing.layers import LaneModule
from adapterlab.training.optimizers import (
    Setting,
    arguments,
    make_plateau,
    optimizer_class,
    rate_at,
    takes_fused,
    without_compiler,
)
from adapterlab.training.packed.fused_steps import FusedSteps, Rows, can_take

_Place = tuple[str, LaneModule, str]
"""A stacked parameter: the name of its module, the module, and its own name there."""

_OF_GROUPS = ("min_lrs", "default_min_lr", "_last_lr")
"""What torch's schedule keeps for each group of an optimizer."""

LaneState = dict[str, dict[str, Tensor]]
"""What an optimizer remembers of a lane: tensors by parameter's name and by torch's key."""


class LaneOptimizer:
    """Torch's own optimizer over the stacked parameters of a pack.

    Adjacent lanes of equal options are one group of parameters for each setting, a view of their
    part of each stacked parameter. An update must be element by element, so that a lane's does not
    depend on the others; `training.packed.trial` finds out whether it is.

    Args:
        pack: whose lanes are trained.
        options: of each lane; all of one class.
        settings: what each lane's parameters are trained with, by name.
        total: steps of the whole training, for the schedules.
        allow: whose code may be the optimizer's, see `config.trust.target`.
        steps: that each lane has taken; None for none. Lanes need not have come equally far.
        states: what a training goes on from, one of each lane; see `lane_state`. None for a lane
            that begins.
    """

    def __init__(
        self,
        pack: PackedModel,
        options: Sequence[Optimizer],
        settings: Sequence[Mapping[str, Setting]],
        total: int,
        *,
        allow: Sequence[str] = (),
        steps: Sequence[int] | None = None,
        states: Sequence[Mapping[str, Any] | None] = (),
    ) -> None:
        self.pack, self.options, self.total = pack, list(options), total
        self.steps = list(steps or [0] * len(options))
        self.settings, self.allow = list(settings), allow
        self.plateaus = [_Plateau(*one) for one in zip(options, settings, strict=True)]
        self._named = list(_named(pack))
        self._parameters = [getattr(module, own) for _, module, own in self._named]
        self.torch: torch.optim.Optimizer
        self._fused: FusedSteps | None = None
        self._build()
        if states:
            for plateau, state in zip(self.plateaus, states, strict=True):
                if state is not None:
                    plateau.load_state(state["plateau"])
            self._restore([state["tensors"] if state else {} for state in states])

    def step(self) -> None:
        """Clip each lane's gradient, set each lane's rate, and update; then drop the gradients."""
        self._clip()
        for group, ours in zip(self.torch.param_groups, self._groups, strict=True):
            group["lr"] = self._rate(ours.lanes.start, ours.peak)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        whole = len(gradients) == len(self._parameters)
        if self._fused is not None and not whole:
            self._fused.end()
            self._fused = None
        if self._fused is not None:
            self._fused.step(gradients)
        else:
            self._step_of_torch()
            if whole and self._may_fuse:
                self._fuse()
        for parameter in self._parameters:
            parameter.grad = None
        self.steps = [count + 1 for count in self.steps]

    def rate(self, lane: int) -> float:
        """Return the rate of a lane's next step, where a role has none of its own."""
        return self._rate(lane, self.options[lane].lr)

    def end_epoch(self, validation_losses: Sequence[float]) -> None:
        """Let the lanes whose schedule follows the validation loss do so."""
        for plateau, loss in zip(self.plateaus, validation_losses, strict=True):
            plateau.step(loss)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes, of the pack as well."""
        states = [self._tensors(lane) for lane in lanes]
        self.options = [self.options[lane] for lane in lanes]
        self.settings = [self.settings[lane] for lane in lanes]
        self.steps = [self.steps[lane] for lane in lanes]
        self.plateaus = [self.plateaus[lane] for lane in lanes]
        self.pack.keep(lanes)
        self._build()
        self._restore(states)

    def lane_state(self, lane: int) -> dict[str, Any]:
        """Return what a lane's training goes on from."""
        return {"tensors": self._tensors(lane), "plateau": self.plateaus[lane].state()}

    def _step_of_torch(self) -> None:
        """Let torch's optimizer update what has a gradient."""
        for group, ours in zip(self.torch.param_groups, self._groups, strict=True):
            for own, index, rows in zip(group["params"], ours.members, ours.rows, strict=True):
                parameter = self._parameters[index]
                if own is not parameter:
                    own.grad = parameter.grad[rows] if parameter.grad is not None else None
        self.torch.step()

    def _fuse(self) -> None:
        """Take the steps after this one by torch's kernel itself, if it has one for them."""
        self._may_fuse = can_take(self.torch)
        if self._may_fuse:
            self._fused = FusedSteps(self.torch, self._pieces())
            for group in self.torch.param_groups:
                for own in group["params"]:
                    own.grad = None

    def _rate(self, lane: int, peak: float) -> float:
        """Return the rate of a lane's next step for parameters of a peak rate."""
        options = self.options[lane]
        if options.schedule == PLATEAU:
            return self.plateaus[lane].rate(peak)
        return peak * rate_at(self.steps[lane], self.total, options)

    def _build(self) -> None:
        """Set up torch's optimizer, without any memory."""
        self._groups: list[_Group] = []
        self._fused, self._may_fuse = None, True
        groups = []
        starts = {module.lanes.start for _, module, _ in self._named}
        for lanes in _runs(self.options, self.settings, self.steps, starts):
            options, settings = self.options[lanes.start], self.settings[lanes.start]
            members: dict[Setting, list[int]] = {}
            for index, (name, module, own) in enumerate(self._named):
                if within(module.lanes, [lanes.start]):
                    members.setdefault(settings[f"{name}.{own}"], []).append(index)
            for setting, indices in members.items():
                places = [self._named[index] for index in indices]
                rows = [
                    module.stacks[own].rows(_own_slice(module, lanes)) for _, module, own in places
                ]
                of_group = [
                    parameter if module.lanes.all == lanes else nn.Parameter(parameter.data[part])
                    for (_, module, _), parameter, part in zip(
                        places, [self._parameters[index] for index in indices], rows, strict=True
                    )
                ]
                self._groups.append(_Group(lanes, setting.lr, indices, rows))
                groups.append({"params": of_group, **arguments(options, setting, self.allow)})
        options, first = self.options[0], self._parameters[0]
        usual = arguments(options, Setting(options.lr, options.weight_decay), self.allow)
        if takes_fused(options, self.allow):
            usual["fused"] = first.device.type in ("cpu", "cuda")
        self.torch = optimizer_class(options, self.allow)(groups, **usual)
        limits = [options.clip_norm or float("inf") for options in self.options]
        self._limits = first.new_tensor(limits)
        self._unlimited = self._limits.isinf()
        self._clips = not bool(self._unlimited.all())

    @torch.no_grad()
    def _clip(self) -> None:
        """Bring the gradient norm of each lane down to its own limit, as torch's clipping does."""
        if not self._clips:
            return
        gradients = [
            (module.lanes.all, module.stacks[own], parameter.grad)
            for (_, module, own), parameter in zip(self._named, self._parameters, strict=True)
            if parameter.grad is not None
        ]
        norms = self._limits.new_zeros(len(gradients), len(self._limits))
        for own, (lanes, stack, gradient) in zip(norms, gradients, strict=True):
            own[lanes] = stack.norms(gradient)
        share = (self._limits / (norms.norm(dim=0) + 1e-6)).clamp(max=1.0)
        # A norm may overflow where no gradient does; without a limit that harms nobody alone.
        share.masked_fill_(self._unlimited, 1.0)
        for lanes, stack, gradient in gradients:
            stack.scale(gradient, share[lanes])

    def _tensors(self, lane: int) -> LaneState:
        """Copy a lane's part of torch's state, without padding."""
        copied: LaneState = {}
        for (name, module, own), lanes, piece in self._states():
            if lanes.start <= lane < lanes.stop:
                copied[f"{name}.{own}"] = kept = {}
                for key, tensor in self.torch.state[piece].items():
                    if not isinstance(tensor, Tensor):
                        continue
                    if tensor.ndim:
                        if tensor.shape != piece.shape:
                            raise ValueError(f"its {key} is not of the shape of what it trains")
                        first = module.lanes.start
                        tensor = module.stacks[own].part(tensor, lane - first, lanes.start - first)
                    kept[key] = tensor.clone()
        return copied

    def _restore(self, states: Sequence[LaneState]) -> None:
        """Set torch's state from copies of the lanes' own."""
        for (name, module, own), lanes, piece in self._states():
            full = f"{name}.{own}"
            # Lanes of a group have come equally far: all of them have a memory, or none has.
            for key, tensor in states[lanes.start].get(full, {}).items():
                if not tensor.ndim:
                    self.torch.state[piece][key] = tensor.clone()
                    continue
                stacked = torch.zeros_like(piece.data)
                for lane in range(lanes.start, lanes.stop):
                    first = module.lanes.start
                    part = module.stacks[own].part(stacked, lane - first, lanes.start - first)
                    part.copy_(states[lane][full][key])
                self.torch.state[piece][key] = stacked

    def _pieces(self) -> list[list[Rows]]:
        """Return of each group where what it trains is."""
        return [
            [
                (index, None if own is self._parameters[index] else rows)
                for own, index, rows in zip(group["params"], ours.members, ours.rows, strict=True)
            ]
            for group, ours in zip(self.torch.param_groups, self._groups, strict=True)
        ]

    def _states(self) -> Iterator[tuple[_Place, slice, nn.Parameter]]:
        """Yield every tensor that torch's optimizer updates: where it is, and of which lanes."""
        for group, ours in zip(self.torch.param_groups, self._groups, strict=True):
            for index, piece in zip(ours.members, group["params"], strict=True):
                yield self._named[index], ours.lanes, piece


@dataclass(frozen=True)
class _Group:
    """One of torch's groups of parameters.

    Attributes:
        lanes: that it is of.
        peak: their learning rate, before schedules.
        members: its parameters, as indices into all of the pack.
        rows: what it has of each.
    """

    lanes: slice
    peak: float
    members: list[int]
    rows: list[slice]


class _Plateau:
    """A lane's own schedule that follows its validation loss; constant where it has none."""

    def __init__(self, options: Optimizer, settings: Mapping[str, Setting]) -> None:
        self._peaks = list(dict.fromkeys([options.lr, *(one.lr for one in settings.values())]))
        self._rates = without_compiler(torch.optim.SGD)(
            [{"params": nn.Parameter(torch.zeros(())), "lr": peak} for peak in self._peaks]
        )
        self._schedule: ReduceLROnPlateau | None = make_plateau(self._rates, options)

    def rate(self, peak: float) -> float:
        """Return what has become of a peak rate."""
        return float(self._rates.param_groups[self._peaks.index(peak)]["lr"])

    def step(self, loss: float) -> None:
        if self._schedule is not None:
            self._schedule.step(loss)

    def state(self) -> dict[str, Any] | None:
        if self._schedule is None:
            return None
        rates = [self.rate(peak) for peak in self._peaks]
        return {"rates": rates, "schedule": self._schedule.state_dict()}

    def load_state(self, state: Mapping[str, Any] | None) -> None:
        if self._schedule is not None and state is not None:
            # Lanes of before had one rate.
            rates = state["rates"] if "rates" in state else [state["rate"]]
            for group, rate in zip(self._rates.param_groups, rates, strict=True):
                group["lr"] = rate
            # Rates stop where its own do: one that began alone has other groups.
            kept = {key: value for key, value in state["schedule"].items() if key not in _OF_GROUPS}
            self._schedule.load_state_dict(kept)


def _named(pack: PackedModel) -> Iterator[_Place]:
    """Yield every stacked parameter."""
    for name, module in pack.lane_modules():
        for own in module.trained:
            yield name, module, own


def _own_slice(module: LaneModule, lanes: slice) -> slice:
    """Return where a pack's lanes are among those of a module."""
    first = module.lanes.start
    return slice(lanes.start - first, lanes.stop - first)


def _runs(
    options: Sequence[Optimizer],
    settings: Sequence[Mapping[str, Setting]],
    steps: Sequence[int],
    starts: Set[int],
) -> Iterator[slice]:
    """Return the adjacent lanes of equal options and steps; lanes on a plateau stand alone.

    None goes on over one of the `starts`, where another group of lanes begins.
    """

    def told_apart(lane: int) -> tuple[object, ...]:
        alone = options[lane].schedule == PLATEAU and lane
        return (
            options[lane],
            settings[lane],
            steps[lane],
            alone,
            sum(start <= lane for start in starts),
        )

    return runs_of(map(told_apart, range(len(options))))
