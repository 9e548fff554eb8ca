"""Ranks by explained variance: the shares are those of the inputs, the budget is kept."""

import copy
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from adapter_cases import MODELS, build, inputs
from torch import Tensor, nn

from adapterlab.adapters import DoRA, LoRA
from adapterlab.adapters.inputs_of_layers import Scatter, watched
from adapterlab.adapters.methods.lora import LoRALinear
from adapterlab.adapters.rank_budget import Room, by_importance, costs_of, give_out, importance
from adapterlab.base.errors import ConfigError

ROOMS = {
    "wide": Room([0.5, 0.3, 0.1, 0.05], first=10, more=10),
    "narrow": Room([0.9, 0.06, 0.02, 0.01], first=7, more=4),
}


class Batch(NamedTuple):
    inputs: Any
    labels: Tensor


def test_the_shares_are_those_of_numpy_over_all_rows() -> None:
    """Of layers.0 by hand: its inputs are the images."""
    adapted = LoRA(rank=1).apply(build(MODELS["mlp"], dtype=torch.float64)).eval()
    drawn = torch.Generator().manual_seed(0)
    rows = [torch.randn(9, 5, generator=drawn, dtype=torch.float64) * 3 + 2 for _ in range(4)]
    batches = [Batch(x, torch.zeros(9)) for x in rows]
    layers = {n: m for n, m in adapted.model.named_modules() if isinstance(m, LoRALinear)}
    seen = watched(adapted, layers, batches, Scatter)
    variances = np.linalg.eigvalsh(np.cov(torch.cat(rows).numpy().T))[::-1]
    np.testing.assert_allclose(seen["layers.0"].explained(), variances / variances.sum())
    for one in seen.values():
        shares = one.explained()
        assert float(shares.sum()) == pytest.approx(1)
        assert (shares.diff() <= 0).all()


def test_inputs_that_do_not_vary_explain_nothing() -> None:
    scatter = Scatter()
    scatter.add(torch.ones(6, 3, dtype=torch.float64))
    assert scatter.explained().tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("parameters", "most", "ranks"),
    [
        (7, 4, {"wide": 0, "narrow": 1}),
        (17, 4, {"wide": 1, "narrow": 1}),
        (27, 4, {"wide": 2, "narrow": 1}),
        (
            31,
            4,
            {"wide": 2, "narrow": 2},
        ),  # the third of `wide` has no room, the second of the other
        (41, 4, {"wide": 3, "narrow": 2}),
        (1000, 2, {"wide": 2, "narrow": 2}),
        (1000, 9, {"wide": 4, "narrow": 4}),
    ],
)
def test_what_explains_most_comes_first(parameters: int, most: int, ranks: dict[str, int]) -> None:
    assert give_out(ROOMS, parameters, most) == ranks


def test_what_has_to_have_a_rank_has_it_first() -> None:
    rooms = {**ROOMS, "head": Room([0.001, 0.0], first=6, more=6, least=1)}
    assert give_out(rooms, 13, 4) == {"wide": 0, "narrow": 1, "head": 1}
    assert give_out(rooms, 1000, 4)["head"] == 1  # the second explains nothing


def test_a_budget_without_room_says_how_much_is_lacking() -> None:
    with pytest.raises(ConfigError, match=r"leaves 6 parameters .* least is 7; .* of 1 more"):
        give_out(ROOMS, 6, 4)


@pytest.mark.parametrize("kind", [LoRA, DoRA])
@pytest.mark.parametrize("head", ["train", "adapt", "freeze"])
def test_costs_are_those_that_are_counted(kind: type[LoRA], head: Any) -> None:
    strategy = kind(head=head)
    model = build(MODELS["encoder"])
    costs, beside = costs_of(strategy, model)
    pattern = {name: 1 + place % 3 for place, name in enumerate(costs)}
    adapted = kind(head=head, rank=4, rank_pattern=pattern).apply(model)
    rooms = {name: Room([], *cost) for name, cost in costs.items()}
    counted = beside + sum(rooms[name].cost(rank) for name, rank in pattern.items())
    assert adapted.count().trainable == counted


def test_goras_ranks_are_its_shares_rounded() -> None:
    """Round of t · I / √(d_in + d_out), for the t that the budget has room for."""
    importances = {"a": 6.0, "b": 2.0, "c": 1.0, "d": 0.0}
    sides = {"a": (50, 50), "b": (20, 5), "c": (9, 7), "d": (8, 8)}
    worth = by_importance({n: torch.tensor(v) for n, v in importances.items()}, sides)
    assert {name: len(shares) for name, shares in worth.items()} == {
        "a": 50,
        "b": 5,
        "c": 7,
        "d": 8,
    }
    weights = {"a": 0.6, "b": 0.4, "c": 0.25, "d": 0.0}
    for t in (1, 5, 9.9):
        expected = {name: round(t * weight) for name, weight in weights.items()}
        rooms = {name: Room(shares, 1, 1) for name, shares in worth.items()}
        assert give_out(rooms, sum(expected.values()), 50) == expected


def test_the_importance_of_a_layer_by_hand() -> None:
    base = build(MODELS["mlp"], dtype=torch.float64)
    x, labels = inputs(dtype=torch.float64), torch.arange(16) % 3
    adapted = LoRA(rank=1).apply(copy.deepcopy(base)).eval()
    layers = {f"layers.{i}": adapted.model.get_submodule(f"layers.{i}") for i in range(3)}
    batches = [Batch(x[rows], labels[rows]) for rows in ([0, 1, 2], [4, 5, 8])]
    found = importance(adapted, layers, batches)  # type: ignore[arg-type]
    for one in batches:
        (nn.functional.cross_entropy(base(one.inputs), one.labels) / 2).backward()
    for i, layer in enumerate(base.layers):
        expected = (layer.weight * layer.weight.grad).abs().mean()
        torch.testing.assert_close(found[f"layers.{i}"], expected)


def test_where_nothing_is_worth_a_rank_it_is_said() -> None:
    """Not that the budget is too small."""
    rooms = {name: Room([0.0, 0.0], first=10, more=10) for name in ("one", "two")}
    with pytest.raises(ConfigError, match="no layer is worth a rank"):
        give_out(rooms, 100, 4)
