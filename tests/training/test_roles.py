"""Parameters by role: rates and decays of their own, from the run or from the method."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn

from adapterlab.adapters import AdaptedModel, BitFit, Combined, DoRA, Full, LoRA, Strategy
from adapterlab.adapters.hooks import ByRole
from adapterlab.adapters.roles import roles_of
from adapterlab.base.errors import ConfigError
from adapterlab.config.optimizers import OfRole, Optimizer
from adapterlab.models import MLP
from adapterlab.training.optimizers import (
    Setting,
    make_optimizer,
    make_plateau,
    make_schedule,
    require_optimizer,
    settings_of,
)

OPTIONS = Optimizer(
    name="sgd",
    target="torch.optim.SGD",
    lr=0.1,
    weight_decay=0.5,
    schedule="linear",
    plateau_patience=0,
    warmup=0.0,
    clip_norm=None,
)


@dataclass(frozen=True, kw_only=True)
class LoRAPlus(LoRA):
    """LoRA with a larger rate for B (Hayou et al. 2024, arXiv:2402.12354), as a method would."""

    ratio: float = 16.0

    def by_role(self) -> Mapping[str, ByRole]:
        return {"B": ByRole(rate=self.ratio, weight_decay=0.0)}


def adapted(strategy: Strategy) -> AdaptedModel:
    generator = torch.Generator().manual_seed(0)
    return strategy.apply(MLP((1, 2, 2), 3, widths=(5, 5), generator=generator))


def options(**roles: Any) -> Optimizer:
    return replace(OPTIONS, roles={role: OfRole(**of) for role, of in roles.items()})


def test_the_head_the_adapter_and_what_a_layer_says() -> None:
    assert roles_of(adapted(DoRA(rank=2, targets=["layers.1"]))) == {
        "layers.1.lora_A": ("adapter", "A"),
        "layers.1.lora_B": ("adapter", "B"),
        "layers.1.magnitude": ("adapter", "magnitude"),
        "head.weight": ("head",),
        "head.bias": ("head", "bias"),
    }
    in_the_head = roles_of(adapted(LoRA(rank=2, head="adapt", targets=["head"])))
    assert set(in_the_head.values()) == {("head", "A"), ("head", "B")}
    whole = roles_of(adapted(Full()))
    assert {name for name, roles in whole.items() if roles[1:] == ("bias",)} == {
        name for name in whole if name.endswith(".bias")
    }
    assert {roles[0] for roles in whole.values()} == {"adapter", "head"}


def test_norms_of_any_class_have_a_role_and_their_biases_no_other() -> None:
    class ScaledRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

    class RmsNorm2dFp32(ScaledRMSNorm):
        """A name as timm has them."""

    own = (ScaledRMSNorm(), RmsNorm2dFp32())

    class Net(MLP):
        def __init__(self) -> None:
            super().__init__((1, 2, 2), 3, widths=(5,))
            self.norms = nn.ModuleList(
                [nn.LayerNorm(4), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), *own]
            )

    found = roles_of(Full().apply(Net()))
    assert {roles for name, roles in found.items() if "norms" in name} == {("adapter", "norm")}
    assert found["layers.0.bias"] == ("adapter", "bias")


def test_biases_beside_layers_are_biases_and_trained_by_bitfit() -> None:
    class Net(MLP):
        def __init__(self) -> None:
            super().__init__((1, 2, 2), 3, widths=(5,))
            self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)

    own = ("in_proj_bias", "out_proj.bias", "bias_k", "bias_v")
    found, trained = roles_of(Full().apply(Net())), BitFit().apply(Net()).trainable()
    for name in (n for n in found if n.startswith("attention")):
        is_bias = name.endswith(own)
        assert found[name] == (("adapter", "bias") if is_bias else ("adapter",))
        assert (name in trained) == is_bias


def test_a_decay_of_norms_and_biases_may_be_set_where_there_are_none() -> None:
    of_none = options(norm={"weight_decay": 0.0}, bias={"weight_decay": 0.0})
    require_optimizer(of_none, "optimizer", adapted(LoRA(rank=2, head="freeze")))
    with pytest.raises(ConfigError, match=r"roles\.norm: no parameter that is trained has this"):
        require_optimizer(options(norm={"lr": 1.0}), "optimizer", adapted(LoRA(rank=2)))


def test_rates_decay_from_the_head_down() -> None:
    decayed = replace(options(head={"lr": 1.0}), layer_decay=0.5)
    for strategy in (Full(), LoRA(rank=2)):
        for name, setting in settings_of(adapted(strategy), decayed).items():
            place = name.rpartition(".")[0]
            assert setting.lr == {"layers.0": 0.025, "layers.1": 0.05, "head": 1.0}[place]


# (strategy, roles of the run, what A, B and the head are trained with)
CASES: dict[str, tuple[Strategy, dict[str, Any], list[tuple[float, float]]]] = {
    "none": (LoRA(rank=2), {}, [(0.1, 0.5), (0.1, 0.5), (0.1, 0.5)]),
    "a rate": (LoRA(rank=2), {"head": {"lr": 1.0}}, [(0.1, 0.5), (0.1, 0.5), (1.0, 0.5)]),
    "a decay": (LoRA(rank=2), {"head": {"weight_decay": 0}}, [(0.1, 0.5), (0.1, 0.5), (0.1, 0)]),
    "the narrower wins": (
        LoRA(rank=2),
        {"B": {"lr": 3.0}, "adapter": {"lr": 2.0, "weight_decay": 0.1}},
        [(2.0, 0.1), (3.0, 0.1), (0.1, 0.5)],
    ),
    "a method's factor": (LoRAPlus(rank=2), {}, [(0.1, 0.5), (1.6, 0.0), (0.1, 0.5)]),
    "a method's factor of the adapter's rate": (
        LoRAPlus(rank=2, ratio=4),
        {"adapter": {"lr": 2.0}},
        [(2.0, 0.5), (8.0, 0.0), (0.1, 0.5)],
    ),
    "the run wins over the method": (
        LoRAPlus(rank=2),
        {"B": {"lr": 3.0, "weight_decay": 0.7}},
        [(0.1, 0.5), (3.0, 0.7), (0.1, 0.5)],
    ),
    "a method's factor in a combination": (
        Combined(
            parts={"lora": LoRAPlus(rank=2, targets=["layers.0"]), "full": Full(targets="layers.1")}
        ),
        {},
        [(0.1, 0.5), (1.6, 0.0), (0.1, 0.5)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_each_role_is_trained_with(case: str) -> None:
    strategy, roles, expected = CASES[case]
    settings = settings_of(adapted(strategy), options(**roles))
    names = ("layers.0.lora_A", "layers.0.lora_B", "head.weight")
    assert [settings[name] for name in names] == [Setting(*pair) for pair in expected]


def test_parts_of_a_combination_do_not_contradict_each_other() -> None:
    parts = {f"p{n}": LoRAPlus(rank=2, ratio=n, targets=[f"layers.{n - 1}"]) for n in (1, 2)}
    with pytest.raises(ConfigError, match="p1 and p2 train parameters of the role B at different"):
        Combined(parts=parts).by_role()


def test_a_schedule_scales_every_roles_rate() -> None:
    model, chosen = adapted(LoRAPlus(rank=2)), options(head={"lr": 1.0})
    optimizer = make_optimizer(model.trainable(), chosen, settings_of(model, chosen))
    schedule = make_schedule(optimizer, 4, chosen)
    for share in (1, 3 / 4, 2 / 4, 1 / 4):
        rates = sorted(group["lr"] for group in optimizer.param_groups)
        assert rates == pytest.approx([0.1 * share, share, 1.6 * share])
        optimizer.step()
        schedule.step()
    chosen = replace(chosen, schedule="plateau")
    optimizer = make_optimizer(model.trainable(), chosen, settings_of(model, chosen))
    plateau = make_plateau(optimizer, chosen)
    assert plateau is not None
    for loss in (1.0, 1.0):
        plateau.step(loss)
    assert sorted(g["lr"] for g in optimizer.param_groups) == pytest.approx([0.01, 0.1, 0.16])


def test_a_step_is_that_of_the_role() -> None:
    model, chosen = adapted(LoRA(rank=2)), options(head={"lr": 1.0, "weight_decay": 0.0})
    optimizer = make_optimizer(model.trainable(), chosen, settings_of(model, chosen))
    before = {name: p.detach().clone() for name, p in model.trainable().items()}
    for parameter in model.trainable().values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, parameter in model.trainable().items():
        in_head = name.startswith("head")
        lr, decay = (1.0, 0.0) if in_head else (0.1, 0.5)
        torch.testing.assert_close(
            parameter.detach(), before[name] - lr * (1 + decay * before[name])
        )


def test_one_setting_is_one_group_in_the_models_order() -> None:
    model = adapted(LoRA(rank=2))
    same = options(head={"lr": 0.1})
    for chosen in (options(), same):
        (group,) = make_optimizer(
            model.trainable(), chosen, settings_of(model, chosen)
        ).param_groups
        for own, other in zip(group["params"], model.trainable().values(), strict=True):
            assert own is other


def test_a_class_of_one_group_refuses_roles() -> None:
    lbfgs = replace(OPTIONS, name="lbfgs", target="torch.optim.LBFGS", weight_decay=0.0)
    require_optimizer(lbfgs, "optimizer", adapted(LoRA(rank=2)))
    with pytest.raises(ConfigError, match=r"LBFGS cannot train this: .*parameter groups"):
        require_optimizer(
            replace(lbfgs, roles={"head": OfRole(lr=1.0)}), "optimizer", adapted(LoRA(rank=2))
        )


def test_other_modules_say_nothing_of_roles() -> None:
    """A model of a user's own may have an attribute of this name."""

    class Net(MLP):
        roles = "mine"

    model = Full().apply(Net((1, 2, 2), 3, widths=(5,)))
    assert isinstance(model.model, nn.Module)
    assert {roles[0] for roles in roles_of(model).values()} == {"adapter", "head"}
