"""One optimizer for all lanes of a pack, each with its own options, schedule and state."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from adapterlab.config.schema import SGD, Adam
from adapterlab.packing import PackedModel
from adapterlab.packing.layers import LaneModule
from adapterlab.training.optimizers import arguments, make_plateau, optimizer_class, rate_at

LaneState = dict[str, dict[str, Tensor]]
"""What an optimizer remembers of a lane: tensors by parameter's name and by torch's key."""


class LaneOptimizer:
    """Torch's own optimizer over the stacked parameters of a pack.

    Adjacent lanes of equal options are one group of parameters, a view of their part of each
    stacked parameter. An update is element by element, so a lane's does not depend on the others.

    Args:
        pack: whose lanes are trained.
        options: of each lane; all of one optimizer.
        total: steps of the whole training, for the schedules.
        steps: steps that have been taken, when a training goes on.
        states: what a training goes on from, one of each lane; see `lane_state`.
    """

    def __init__(
        self,
        pack: PackedModel,
        options: Sequence[SGD | Adam],
        total: int,
        *,
        steps: int = 0,
        states: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.pack, self.options, self.total, self.steps = pack, list(options), total, steps
        self.plateaus = [_Plateau(one) for one in options]
        self._named = list(_named(pack))
        self._parameters = [getattr(module, own) for _, module, own in self._named]
        self._build()
        if states:
            for plateau, state in zip(self.plateaus, states, strict=True):
                plateau.load_state(state["plateau"])
            self._restore([state["tensors"] for state in states])

    def step(self) -> None:
        """Clip each lane's gradient, set each lane's rate, and update; then drop the gradients."""
        self._clip()
        for group, lanes, pieces in zip(
            self.torch.param_groups, self._runs, self._pieces, strict=True
        ):
            group["lr"] = self.rate(lanes.start)
            for own, parameter, rows in zip(group["params"], self._parameters, pieces, strict=True):
                if own is not parameter:
                    own.grad = parameter.grad[rows] if parameter.grad is not None else None
        self.torch.step()
        for parameter in self._parameters:
            parameter.grad = None
        self.steps += 1

    def rate(self, lane: int) -> float:
        """Return the learning rate of a lane's next step."""
        options = self.options[lane]
        if options.schedule == "plateau":
            return self.plateaus[lane].rate
        return options.lr * rate_at(self.steps, self.total, options)

    def end_epoch(self, validation_losses: Sequence[float]) -> None:
        """Let the lanes whose schedule follows the validation loss do so."""
        for plateau, loss in zip(self.plateaus, validation_losses, strict=True):
            plateau.step(loss)

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with some of the lanes, of the pack as well."""
        states = [self._tensors(lane) for lane in lanes]
        self.options = [self.options[lane] for lane in lanes]
        self.plateaus = [self.plateaus[lane] for lane in lanes]
        self.pack.keep(lanes)
        self._build()
        self._restore(states)

    def lane_state(self, lane: int) -> dict[str, Any]:
        """Return what a lane's training goes on from."""
        return {"tensors": self._tensors(lane), "plateau": self.plateaus[lane].state()}

    def _build(self) -> None:
        """Set up torch's optimizer, without any memory."""
        self._runs = list(_runs(self.options))
        self._pieces = [
            [module.stacks[own].rows(run) for _, module, own in self._named] for run in self._runs
        ]
        parameters = self._parameters
        groups = []
        for run, pieces in zip(self._runs, self._pieces, strict=True):
            of_run = parameters
            if len(self._runs) > 1:
                of_run = [
                    nn.Parameter(p.data[rows]) for p, rows in zip(parameters, pieces, strict=True)
                ]
            groups.append({"params": of_run, **arguments(self.options[run.start])})
        fused = parameters[0].device.type in ("cpu", "cuda")
        self.torch = optimizer_class(self.options[0].name)(groups, fused=fused)
        limits = [options.clip_norm or float("inf") for options in self.options]
        self._limits = parameters[0].new_tensor(limits)
        self._unlimited = self._limits.isinf()

    @torch.no_grad()
    def _clip(self) -> None:
        """Bring the gradient norm of each lane down to its own limit, as torch's clipping does."""
        if self._unlimited.all():
            return
        gradients = [
            (module.stacks[own], parameter.grad)
            for (_, module, own), parameter in zip(self._named, self._parameters, strict=True)
            if parameter.grad is not None
        ]
        norms = torch.stack([stack.norms(gradient) for stack, gradient in gradients])
        share = (self._limits / (norms.norm(dim=0) + 1e-6)).clamp(max=1.0)
        # A norm may overflow where no gradient does; without a limit that harms nobody alone.
        share.masked_fill_(self._unlimited, 1.0)
        for stack, gradient in gradients:
            stack.scale(gradient, share)

    def _tensors(self, lane: int) -> LaneState:
        """Copy a lane's part of torch's state, without padding."""
        (index,) = (i for i, run in enumerate(self._runs) if run.start <= lane < run.stop)
        first = self._runs[index].start
        copied: LaneState = {}
        for (name, module, parameter), piece in zip(
            self._named, self.torch.param_groups[index]["params"], strict=True
        ):
            copied[name] = {}
            for key, tensor in self.torch.state[piece].items():
                if not isinstance(tensor, Tensor):
                    continue
                if tensor.ndim:
                    tensor = module.stacks[parameter].part(tensor, lane, first)
                copied[name][key] = tensor.clone()
        return copied

    def _restore(self, states: Sequence[LaneState]) -> None:
        """Set torch's state from copies of the lanes' own."""
        for run, group in zip(self._runs, self.torch.param_groups, strict=True):
            for (name, module, parameter), piece in zip(self._named, group["params"], strict=True):
                for key, tensor in states[run.start][name].items():
                    if not tensor.ndim:
                        self.torch.state[piece][key] = tensor.clone()
                        continue
                    stacked = torch.zeros_like(piece.data)
                    for lane in range(run.start, run.stop):
                        part = module.stacks[parameter].part(stacked, lane, run.start)
                        part.copy_(states[lane][name][key])
                    self.torch.state[piece][key] = stacked


class _Plateau:
    """A lane's own schedule that follows its validation loss; constant where it has none."""

    def __init__(self, options: SGD | Adam) -> None:
        self._rate = optimizer_class("sgd")([nn.Parameter(torch.zeros(()))], lr=options.lr)
        self._schedule: ReduceLROnPlateau | None = make_plateau(self._rate, options)

    @property
    def rate(self) -> float:
        return float(self._rate.param_groups[0]["lr"])

    def step(self, loss: float) -> None:
        if self._schedule is not None:
            self._schedule.step(loss)

    def state(self) -> dict[str, Any] | None:
        if self._schedule is None:
            return None
        return {"rate": self.rate, "schedule": self._schedule.state_dict()}

    def load_state(self, state: Mapping[str, Any] | None) -> None:
        if self._schedule is not None and state is not None:
            self._rate.param_groups[0]["lr"] = state["rate"]
            self._schedule.load_state_dict(state["schedule"])


def _named(pack: PackedModel) -> Iterator[tuple[str, LaneModule, str]]:
    """Yield every stacked parameter: its name in the model, its module, its name there."""
    for name, module in pack.lane_modules():
        for own in module.trained:
            yield f"{name}.{own}", module, own


def _runs(options: Sequence[SGD | Adam]) -> Iterator[slice]:
    """Yield the adjacent lanes of equal options; lanes on a plateau stand alone."""
    start = 0
    for _, group in groupby(
        enumerate(options), lambda pair: (pair[1], pair[1].schedule == "plateau" and pair[0])
    ):
        size = len(list(group))
        yield slice(start, start + size)
        start += size
