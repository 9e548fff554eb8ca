"""Mistakes in an optimizer and its roles: one line, exit code 2; and how roles are written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapterlab.config.optimizers import OfRole
from lab import Outcome, compose

MISTAKES = {
    "schedule for an optimizer": (
        "optimizer._target_=torch.optim.lr_scheduler.StepLR",
        "optimizer._target_=torch.optim.lr_scheduler.StepLR is not an optimizer",
    ),
    "optimizer of no class": (
        "~optimizer._target_ optimizer.name=lion",
        "optimizer._target_ is missing",
    ),
    "option of a class that is not there": (
        "optimizer._target_=torch.optim.RMSprop",
        "optimizer.betas is not an option",
        "alpha",
    ),
    "way of computing": ("+optimizer.fused=true", "optimizer.fused is not an option", "betas"),
    "decay that a class has not": (
        "optimizer=sgd optimizer._target_=torch.optim.Rprop ~optimizer.momentum "
        "~optimizer.nesterov optimizer.weight_decay=0.1",
        "optimizer.weight_decay=0.1: torch.optim.Rprop has none; 0 is allowed",
    ),
    "parameters that a class does not take": (
        "optimizer=sgd optimizer._target_=torch.optim.Muon optimizer.momentum=0.9",
        "optimizer._target_=torch.optim.Muon cannot train this",
        "only supports 2D parameters",
    ),
    "gradients that a class does not take": (
        "optimizer=sgd optimizer._target_=torch.optim.SparseAdam ~optimizer.momentum "
        "~optimizer.nesterov",
        "optimizer._target_=torch.optim.SparseAdam cannot train this",
        "does not support dense gradients",
    ),
    "unknown role": (
        "+optimizer.roles.heads.lr=0.1",
        "optimizer.roles.heads: no parameter that is trained has this role",
        "adapter, A, B, head, bias (did you mean head?)",
    ),
    "role of the base's training": ("+base.optimizer.roles.B.lr=0.1", "allowed: head, adapter"),
    "option of a role": (
        "+optimizer.roles.head.rate=0.1",
        "optimizer.roles.head.rate is not an option",
    ),
    "rate of a role": ("+optimizer.roles.head.lr=0", "optimizer.roles.head.lr=0", "than 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line(mistake: str, run_cli: Callable[..., Outcome]) -> None:
    overrides, *parts = MISTAKES[mistake]
    outcome = run_cli(*overrides.split(" "))
    for part in parts:
        assert part in outcome.error
    assert outcome.out == ""


def test_roles_are_set_on_the_command_line(tmp_path: Path) -> None:
    expected = {"head": OfRole(lr=0.1), "B": OfRole(weight_decay=0.0)}
    for overrides in (
        ["optimizer.roles={head:{lr:0.1},B:{weight_decay:0}}"],
        ["+optimizer.roles.head.lr=0.1", "+optimizer.roles.B.weight_decay=0"],
    ):
        assert compose(tmp_path, *overrides).optimizer.roles == expected
