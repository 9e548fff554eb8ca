"""The rank, or the number of layers, that a budget of parameters asks for."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterlab.adapters import (
    OFT,
    SVFT,
    BitFit,
    Combined,
    DoRA,
    Full,
    Head,
    LastLayers,
    LoKr,
    LoRA,
    Strategy,
)
from adapterlab.adapters.budget import fit, in_parameters
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP


def network(*widths: int) -> MLP:
    with torch.device("meta"):
        return MLP((784,), 10, widths=widths or (128,))


# 784-128-10: LoRA trains 912 a rank and 1,290 in the head, DoRA 128 more, the base has 101,770.
GOLDEN = [
    (LoRA(), 10_000, "rank", 9, 9_498),
    (LoRA(), 9_498, "rank", 9, 9_498),
    (LoRA(), 9_497, "rank", 8, 8_586),
    (LoRA(), "10%", "rank", 9, 9_498),  # 10,177
    (LoRA(head="freeze"), 10_000, "rank", 10, 9_120),
    (LoRA(head="adapt"), 10_000, "rank", 9, 9 * (912 + 138)),
    (DoRA(), 10_000, "rank", 9, 9_626),
    (DoRA(magnitude="per_input"), 10_000, "rank", 8, 9_370),
    (LoRA(rank=50), 1_000, "rank", 1, 2_202),  # over, and the least there is
    (LoRA(), "100%", "rank", 110, 101_610),
    (LoRA(), 10**9, "rank", 128, 118_026),  # a larger rank adds no expressiveness
    (LastLayers(), 10_000, "n", 1, 101_770),
]


@pytest.mark.parametrize(("strategy", "budget", "dial", "value", "trained"), GOLDEN)
def test_by_hand(
    strategy: Strategy, budget: int | str, dial: str, value: int, trained: int
) -> None:
    fitted = fit(strategy, network(), budget)
    assert getattr(fitted.strategy, dial) == value
    assert fitted.trained == trained
    assert fitted.over == max(trained - fitted.asked, 0)


@pytest.mark.parametrize(("budget", "n"), [(2_000, 1), (6_000, 2), (100_000, 2), (10**6, 3)])
def test_layers(budget: int, n: int) -> None:
    """784-128-32-16-10: 170 in the head, then 528, 4,128 and 100,480, counted from there."""
    assert fit(LastLayers(), network(128, 32, 16), budget).strategy == LastLayers(n=n)


@pytest.mark.parametrize("strategy", [Full(), Head(), BitFit()])
def test_what_has_no_dial_stays(strategy: Strategy) -> None:
    fitted = fit(strategy, network(), 1_000)
    assert fitted.strategy == strategy
    assert fitted.trained == strategy.apply(network()).count().trainable
    assert fitted.over == max(fitted.trained - 1_000, 0)


def test_a_dial_that_may_train_less_is_tried_out_in_a_combination_as_well() -> None:
    """From 4 inputs to 31 outputs: 33 a rank, until the second factor is a matrix of 62."""
    lokr = LoKr(targets=["layers.0"], head="freeze")
    with torch.device("meta"):
        model = MLP((4,), 3, widths=(31,))
    for strategy in (lokr, Combined(parts={"lokr": lokr}, dial_of="lokr", head="freeze")):
        assert fit(strategy, model, 67).trained == 2 + 62  # rank 2 has 2 + 66
        assert fit(strategy, model, 63).trained == 2 + 33


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OFT(targets=["layers.1"]), r"layers\.1 has one input, which cannot be rotated"),
        (lambda: LastLayers(), r"adapter\.n=1 is more than the 0 layers before the head"),
        (lambda: Combined(parts={"svft": SVFT()}, dial_of="svft"), r"dial_of=svft names no part"),
    ],
)
def test_what_no_budget_can_set_is_one_line(make: Callable[[], Strategy], message: str) -> None:
    with torch.device("meta"):
        model = MLP((4,), 3, widths=() if "layers before" in message else (1, 4))
    with pytest.raises(ConfigError, match=message):
        fit(make(), model, 50)


def test_what_is_said() -> None:
    assert str(fit(LoRA(), network(), 10_000)) == "budget: 10,000 asked, 9,498 trained (95.0%)"


@pytest.mark.filterwarnings("ignore:rank")  # above the smaller side of one layer
@settings(max_examples=30, deadline=None)
@given(
    widths=st.lists(st.integers(2, 40), min_size=1, max_size=3),
    budget=st.integers(1, 60_000),
    strategy=st.sampled_from([LoRA(), DoRA(), LoRA(head="freeze"), DoRA(head="adapt")]),
)
def test_one_rank_more_is_too_much(widths: list[int], budget: int, strategy: LoRA) -> None:
    def trained(rank: int) -> int:
        return strategy.turned(rank).apply(network(*widths)).count().trainable

    fitted = fit(strategy, network(*widths), budget)
    rank = fitted.strategy.options()["rank"]
    assert fitted.trained == trained(rank)
    assert fitted.trained <= budget or rank == 1
    assert budget < trained(rank + 1) or rank == strategy.most(network(*widths))


@pytest.mark.parametrize(
    ("scaling", "alpha"),
    [("alpha_over_rank", 18.0), ("alpha_over_sqrt_rank", 16 * (9 / 8) ** 0.5), ("alpha", 16.0)],
)
def test_the_update_stays_as_strong(scaling: str, alpha: float) -> None:
    given = LoRA(scaling=scaling, alpha_pattern={"layers.0": 4.0})  # type: ignore[arg-type]
    fitted = fit(given, network(), 10_000).strategy.options()
    assert fitted["alpha"] == pytest.approx(alpha)
    assert fitted["alpha_pattern"]["layers.0"] == pytest.approx(alpha / 4)


def test_a_share_is_of_the_base_whatever_was_added() -> None:
    base = network()
    assert in_parameters("1%", base) == 1_017
    for strategy in (LoRA(rank=64), DoRA(head="adapt"), Full()):
        assert in_parameters("1%", strategy.apply(network()).model) == 1_017
    assert in_parameters("0.00001%", base) == 1


def test_ranks_by_pattern_leave_nothing_to_solve() -> None:
    with pytest.raises(
        ConfigError, match=r"rank_pattern=\{'layers.0': 2\} does not go with budget"
    ):
        fit(LoRA(rank_pattern={"layers.0": 2}), network(), 10_000)
