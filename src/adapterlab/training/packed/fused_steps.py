"""Steps of fused Adam for many groups of small parameters: torch's kernel, without what is around.

Lanes of other rates are groups of their own, of a few small tensors each. What torch's optimizer
does for a group before its kernel takes longer than the kernel; what the lists hold is the same in
every step, so they are made once. The kernel, its arguments and its results are torch's own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from adapterlab.training.optimizers import without_compiler

Rows = tuple[int, slice | None]
"""Which parameter a piece is of, by its number, and which rows of it; None for all."""

_KERNELS = {"_fused_adam_": torch.optim.Adam, "_fused_adamw_": torch.optim.AdamW}

_REMEMBERED = {"step", "exp_avg", "exp_avg_sq"}


class FusedSteps:
    """Takes the steps of an optimizer that has taken one.

    Args:
        optimizer: one that `can_take` knows.
        pieces: of each of its groups, where what it trains is.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, pieces: Sequence[Sequence[Rows]]) -> None:
        self._kernel: Callable[..., None] = _kernel_of(optimizer)
        self._groups = [
            _Lists(optimizer, group, rows)
            for group, rows in zip(optimizer.param_groups, pieces, strict=True)
        ]
        self._optimizer, self._splits = optimizer, _splits(pieces)
        self._counts = [count for lists in self._groups for count in lists.counts]
        if all(torch.equal(count, self._counts[0]) for count in self._counts):
            # To count on in many tensors takes longer than to update what they count.
            self._counts = self._counts[:1]
            for lists in self._groups:
                lists.count_in(optimizer, self._counts[0])

    def end(self) -> None:
        """Leave the optimizer to itself, with a count for each of its parameters again."""
        for state in self._optimizer.state.values():
            state["step"] = state["step"].clone()

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Update all that is trained.

        Args:
            gradients: of each whole parameter.
        """
        torch._foreach_add_(self._counts, 1)
        parts = [
            (gradient,) if sizes is None else torch.split(gradient, sizes)
            for gradient, sizes in zip(gradients, self._splits, strict=True)
        ]
        ahead = [iter(of_one) for of_one in parts]
        for lists in self._groups:
            group = lists.group
            beta1, beta2 = group["betas"]
            self._kernel(
                lists.parameters,
                [next(ahead[number]) for number in lists.numbers],
                lists.averages,
                lists.squares,
                [],
                lists.counts,
                amsgrad=False,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
                grad_scale=None,
                found_inf=None,
            )


class _Lists:
    """What the kernel takes of a group, but for gradients."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, group: dict[str, Any], rows: Sequence[Rows]
    ) -> None:
        self.group, self.numbers = group, [number for number, _ in rows]
        self.parameters: list[Tensor] = list(group["params"])
        states = [optimizer.state[parameter] for parameter in group["params"]]
        self.averages = [state["exp_avg"] for state in states]
        self.squares = [state["exp_avg_sq"] for state in states]
        self.counts = [state["step"] for state in states]

    def count_in(self, optimizer: torch.optim.Optimizer, count: Tensor) -> None:
        """Let one tensor be the count of all."""
        self.counts = [count] * len(self.counts)
        for parameter in self.group["params"]:
            optimizer.state[parameter]["step"] = count


def can_take(optimizer: torch.optim.Optimizer) -> bool:
    """Say whether an optimizer is torch's Adam or AdamW, fused on a CPU, and has taken a step."""
    groups = optimizer.param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    otherwise = ("amsgrad", "maximize", "capturable", "differentiable")
    return (
        _kernel_of(optimizer) is not None
        and len({(parameter.dtype, parameter.device) for parameter in parameters}) == 1
        and parameters[0].device.type == "cpu"
        and all(group.get("fused") for group in groups)
        and not any(group.get(name) for group in groups for name in otherwise)
        and all(optimizer.state[one].keys() == _REMEMBERED for one in parameters)
    )


def _kernel_of(optimizer: torch.optim.Optimizer) -> Any:
    """Return torch's kernel for an optimizer of its own; None for any other."""
    for name, torchs in _KERNELS.items():
        if type(optimizer) in (torchs, without_compiler(torchs)):
            return getattr(torch, name, None)
    return None


def _splits(pieces: Sequence[Sequence[Rows]]) -> list[list[int] | None]:
    """Return into how many rows each parameter is cut, in the order of the groups; None: not."""
    found: dict[int, list[int] | None] = {}
    for number, rows in (piece for of_group in pieces for piece in of_group):
        if rows is None:
            found[number] = None
            continue
        sizes = found.setdefault(number, [])
        assert sizes is not None, "a parameter is whole, or cut"
        assert rows.start == sum(sizes), "groups follow each other in the order of their lanes"
        sizes.append(rows.stop - rows.start)
    return [found[number] for number in range(len(found))]
