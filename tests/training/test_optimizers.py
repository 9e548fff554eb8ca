"""Schedules by golden values from hand calculation, and optimizers from their options."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from adapterlab.config.optimizers import Optimizer
from adapterlab.training.optimizers import make_optimizer, make_plateau, make_schedule, rate_at


def sgd(**options: Any) -> Optimizer:
    return of_class("sgd", "torch.optim.SGD", {"momentum": 0.0, "nesterov": False}, options)


def adam(name: str, **options: Any) -> Optimizer:
    own = {"betas": [0.8, 0.9], "eps": 1e-6}
    target = {"adam": "torch.optim.Adam", "adamw": "torch.optim.AdamW"}[name]
    return of_class(name, target, own, {"lr": 0.01, "weight_decay": 0.1, **options})


def of_class(name: str, target: str, own: dict[str, Any], options: dict[str, Any]) -> Optimizer:
    shared: dict[str, Any] = {
        "lr": 0.1,
        "weight_decay": 0.0,
        "schedule": "constant",
        "plateau_patience": 1,
        "warmup": 0.0,
        "clip_norm": None,
    }
    own = {key: options.pop(key, value) for key, value in own.items()}
    return Optimizer(name=name, target=target, own=own, **(shared | options))


HALF = math.sqrt(0.5)

SCHEDULES: dict[tuple[Any, ...], list[float]] = {
    ("constant", 0.0): [1, 1, 1, 1, 1, 1, 1, 1],
    ("linear", 0.0): [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8],
    ("cosine", 0.0): [(1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)],
    ("constant", 0.5): [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1],
    ("linear", 0.25): [1 / 2, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6],
    ("cosine", 0.5): [
        1 / 4,
        2 / 4,
        3 / 4,
        1,
        1,
        (2 + math.sqrt(2)) / 4,
        1 / 2,
        (2 - math.sqrt(2)) / 4,
    ],
    ("linear", 0.0, 0.5): [1, 1, 1, 1, 1, 3 / 4, 2 / 4, 1 / 4],
    ("linear", 0.25, 0.5): [1 / 2, 1, 1, 1, 1, 1, 2 / 3, 1 / 3],
    ("linear", 0.0, 0.0, 0.2): [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3],
    ("cosine", 0.5, 0.5, 0.1): [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 0.55],
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_rates_over_eight_steps(case: tuple[Any, ...]) -> None:
    parameter = nn.Parameter(torch.zeros(()))
    named = zip(("schedule", "warmup", "hold", "floor"), case, strict=False)
    options = sgd(**dict(named))
    optimizer = make_optimizer({"w": parameter}, options)
    stepper = make_schedule(optimizer, 8, options)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        stepper.step()
    assert rates == pytest.approx([0.1 * share for share in SCHEDULES[case]])


@given(
    total=st.integers(1, 500),
    warmup=st.floats(0, 0.99),
    schedule=st.sampled_from(["constant", "cosine", "linear"]),
    hold=st.floats(0, 0.99),
    floor=st.floats(0, 0.99),
)
def test_rates_rise_to_the_peak_and_never_again(
    total: int, warmup: float, schedule: str, hold: float, floor: float
) -> None:
    options = sgd(schedule=schedule, warmup=warmup, hold=hold, floor=floor)
    rates = [rate_at(step, total, options) for step in range(total)]
    peak = rates.index(max(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert all(rate >= floor for rate in rates[peak:])
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == 1


def test_a_rate_past_the_end_is_the_last_one() -> None:
    assert rate_at(20, 8, sgd(schedule="linear")) == 0
    assert rate_at(20, 8, sgd(schedule="cosine")) == pytest.approx(0)
    assert rate_at(20, 8, sgd(schedule="linear", hold=0.9, floor=0.2)) == 0.2


def test_plateau_divides_by_ten_after_its_patience() -> None:
    options = sgd(schedule="plateau", plateau_patience=1)
    optimizer = make_optimizer({"w": nn.Parameter(torch.zeros(()))}, options)
    plateau = make_plateau(optimizer, options)
    assert plateau is not None
    rates = []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8):
        plateau.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001])
    assert make_plateau(optimizer, sgd()) is None


def test_plateau_divides_a_rate_however_small() -> None:
    options = sgd(schedule="plateau", plateau_patience=0, lr=1e-9)
    optimizer = make_optimizer({"w": nn.Parameter(torch.zeros(1))}, options)
    plateau = make_plateau(optimizer, options)
    assert plateau is not None
    for _ in range(2):
        plateau.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-10)


def test_plateau_stops_at_its_floor() -> None:
    options = sgd(schedule="plateau", plateau_patience=0, floor=0.05)
    optimizer = make_optimizer({"w": nn.Parameter(torch.zeros(()))}, options)
    plateau = make_plateau(optimizer, options)
    assert plateau is not None
    rates = []
    for _ in range(4):
        plateau.step(1.0)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.01, 0.005, 0.005])


def test_sgd_steps_as_by_hand() -> None:
    parameter = nn.Parameter(torch.tensor(1.0))
    optimizer = make_optimizer({"w": parameter}, sgd(momentum=0.5, weight_decay=0.2))
    for _ in range(2):
        parameter.grad = torch.tensor(1.0)
        optimizer.step()
    # v1 = 1 + 0.2 * 1 = 1.2, w1 = 0.88; v2 = 0.6 + 1 + 0.2 * 0.88 = 1.776, w2 = 0.7024
    assert float(parameter.detach()) == pytest.approx(0.7024)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adam", 2 - 0.01),  # the decay is part of the gradient: one normalised step
        ("adamw", 2 * (1 - 0.01 * 0.1) - 0.01),  # decoupled from it
    ],
)
def test_the_first_step_of_adam_and_adamw(name: str, expected: float) -> None:
    parameter = nn.Parameter(torch.tensor(2.0))
    optimizer = make_optimizer({"w": parameter}, adam(name))
    parameter.grad = torch.tensor(3.0)
    optimizer.step()
    assert float(parameter.detach()) == pytest.approx(expected, abs=1e-5)
    assert optimizer.defaults["betas"] == (0.8, 0.9)
    assert optimizer.defaults["eps"] == 1e-6
