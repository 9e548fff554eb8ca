"""Which optimizers take the lanes of a pack: found out by a trial, not by a list of names."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_roles import OPTIONS
from torch import Tensor

from adapterlab.base.errors import ConfigError
from adapterlab.studies.planning.packing import plan_packs
from adapterlab.training.optimizers import moments
from adapterlab.training.packed.trial import why_not_packed
from lab import tiny

# Numbers kept for each parameter, by hand from torch's documentation.
PACKED = {
    "SGD": 0, "Adam": 2, "AdamW": 2, "NAdam": 2, "RAdam": 2, "Adamax": 2, "RMSprop": 1,
    "Adagrad": 1, "Adadelta": 2, "Rprop": 2,
}  # fmt: skip
ALONE = {
    "Adafactor": "is not of the shape of what it trains",
    "LBFGS": "parameter groups",
    "Muon": "only supports 2D parameters",
}


class Mixing(torch.optim.SGD):
    """A normalised gradient: it mixes lanes, and no error says so."""

    def step(self, closure: object = None) -> None:
        gradients: list[Tensor] = [
            p.grad for g in self.param_groups for p in g["params"] if p.grad is not None
        ]
        torch.nn.utils.clip_grads_with_norm_(
            [p for g in self.param_groups for p in g["params"]],
            max_norm=1e-3,
            total_norm=torch.nn.utils.get_total_norm(gradients),
        )
        super().step()


@pytest.mark.parametrize("name", PACKED)
def test_optimizers_that_work_element_by_element(name: str) -> None:
    decay = 0.0 if name == "Rprop" else 0.1
    options = replace(OPTIONS, target=f"torch.optim.{name}", weight_decay=decay)
    assert why_not_packed(options) is None
    assert moments(options) == PACKED[name]


def test_options_count() -> None:
    momentum = replace(OPTIONS, own={"momentum": 0.9})
    assert (moments(momentum), why_not_packed(momentum)) == (1, None)
    amsgrad = replace(OPTIONS, target="torch.optim.Adam", own={"amsgrad": True})
    assert (moments(amsgrad), why_not_packed(amsgrad)) == (3, None)


@pytest.mark.parametrize("name", ALONE)
def test_others_train_alone(name: str) -> None:
    why = why_not_packed(
        replace(OPTIONS, name=name, target=f"torch.optim.{name}", weight_decay=0.0)
    )
    assert why is not None
    assert why.startswith(f"optimizer={name} takes no step for several runs at once: ")
    assert ALONE[name] in why


def test_one_that_mixes_lanes_is_found_out() -> None:
    mixing = replace(OPTIONS, name="mixing", target=f"{__name__}.Mixing")
    why = why_not_packed(mixing, [__name__])
    assert "optimizer=mixing: lanes would change each other (by " in str(why)
    with pytest.raises(ConfigError, match=r"an optimizer is named from torch\.optim, or from a"):
        moments(mixing)


def test_the_plan_says_so_and_two_classes_are_two_packs(tmp_path: Path) -> None:
    nadam = ("optimizer._target_=torch.optim.NAdam", "optimizer.name=nadam")
    alone = ("optimizer._target_=torch.optim.Adafactor", "optimizer.name=adafactor",
             "~optimizer.betas", "~optimizer.eps")  # fmt: skip
    configs = [
        tiny(tmp_path, f"seed={seed}", *options)
        for seed in (0, 1)
        for options in ((), ("optimizer=sgd",), nadam, alone)
    ]
    packs = plan_packs(configs, [None] * len(configs), 16)
    assert [pack.jobs for pack in packs] == [(0, 4), (1, 5), (2, 6), (3,), (7,)]
    for pack in packs[3:]:
        assert not pack.packed
        assert pack.why.startswith("optimizer=adafactor takes no step for several runs at once")
