"""The regret of a prediction: what the sweep is ahead, paired by seeds, with its interval."""

from pathlib import Path

import pytest

from adapterlab.base.errors import AdapterLabError
from adapterlab.evidence.intervals import t_interval
from adapterlab.reporting.predicted_ranks import Predicted, predicted_figure, predicted_ranks
from adapterlab.reporting.reading.study import Arm, Replicate, Run

CURVES = {"wide": [0.4, 0.7, 0.85, 0.94], "narrow": [0.9, 1.0]}


def arm(
    rank: str,
    trained: int,
    test: list[float],
    validation: float = 0.5,
    *,
    budget: int | None = None,
    artifacts: Path = Path("nowhere"),
    dataset: str = "digits",
    by: str | None = None,
) -> Arm:
    runs = []
    for seed, accuracy in enumerate(test):
        metrics = {"test/accuracy": accuracy, "best/val_accuracy": validation}
        metrics |= {"params/trainable": float(trained)}
        params = {"adapter.rank": rank, "ranks.asked": "None"}
        if budget is not None:
            metrics |= {"budget/asked": float(budget)}
            params = {"adapter.rank": "3", "ranks.asked.rank": "auto"}
        if by is not None:
            params["ranks.by"] = by
        tags = {"dataset": dataset, "model": "mlp", "strategy": "lora"}
        where = str(artifacts)
        replicate = Replicate(seed, seed)
        runs.append(Run(f"{rank}{seed}", rank, tags, params, metrics, where, replicate=replicate))
    return Arm(rank, tuple(runs))


@pytest.fixture
def study(tmp_path: Path) -> list[Arm]:
    (tmp_path / "choice").mkdir()
    lines = ["layer,rank,component,explained,cumulative"]
    for layer, sums in CURVES.items():
        lines += [f"{layer},1,{place},0,{value}" for place, value in enumerate(sums, 1)]
    (tmp_path / "choice" / "explained_variance.csv").write_text("\n".join(lines))
    return [
        arm("1", 100, [0.60, 0.62, 0.61], 0.60),
        arm("2", 200, [0.70, 0.71, 0.74], 0.71),
        arm("4", 400, [0.70, 0.73, 0.72], 0.70),
        arm("a", 190, [0.63, 0.62, 0.64], budget=199, artifacts=tmp_path),
        arm("b", 390, [0.75, 0.71], budget=400, artifacts=tmp_path),
    ]


def found(study: list[Arm]) -> Predicted:
    return predicted_ranks(study)


def test_under_a_budget_the_largest_rank_within_it_is_compared(study: list[Arm]) -> None:
    one, two = found(study).budgets
    assert (one.asked, one.found, one.seeds) == ("budget 199", "rank 1", 3)
    assert one.points == pytest.approx(100 * (-0.03 + 0.00 - 0.03) / 3)
    interval = t_interval([-3, 0, -3])
    assert interval is not None
    assert one.interval is not None
    assert one.interval.low == pytest.approx(interval.low)
    assert (two.found, two.seeds) == ("rank 4", 2), "paired by the seeds that both have"
    assert two.points == pytest.approx(100 * (-0.05 + 0.02) / 2)


def test_a_rank_is_predicted_from_the_mean_over_layers(study: list[Arm]) -> None:
    """Of ranks 1, 2, 4 on average 65%, 85% and 97%."""
    found_ = found(study)
    assert found_.explained == pytest.approx((0.65, 0.85, 0.925, 0.97))
    low, rule, high = found_.ranks
    assert [one.found for one in found_.ranks] == ["rank 2"] * 3, "by validation, not by test"
    assert (low.predicted, low.interval) == ("rank 2", None)
    assert str(low) == "80% of the variance: rank 2 against rank 2: regret none, the same ranks"
    assert (rule.predicted, high.predicted) == ("rank 4", "rank 4")
    assert rule.points == pytest.approx(0.0)
    assert rule.interval is not None
    assert rule.interval.high > 0 > rule.interval.low


def test_its_picture(study: list[Arm]) -> None:
    left, right = predicted_figure(found(study), "study").axes
    assert len(left.containers) == 2
    assert [line.get_label() for line in right.lines[-2:]] == [
        "best on validation: 2",
        "90% of the variance: 4",
    ]


def test_ranks_from_gradients_have_a_regret_and_predict_no_single_rank(study: list[Arm]) -> None:
    """Beside those from inputs, under the same budget, and by themselves."""
    own = arm("g", 390, [0.70, 0.75], budget=400, by="gradients")
    both = found([*study, own])
    assert [one.predicted for one in both.budgets] == [
        "by layer",
        "by layer",
        "by layer, from gradients,",
    ]
    assert both.budgets[:2] == found(study).budgets
    assert both.budgets[2].points == pytest.approx(100 * (0.00 - 0.02) / 2)
    assert str(both.budgets[2]).startswith("budget 400: by layer, from gradients, against rank 4:")
    assert len(predicted_figure(both, "study").axes[0].containers) == 3
    alone = found([*study[:3], own])
    assert (alone.ranks, alone.explained) == ((), ())
    assert alone.budgets == both.budgets[2:]
    assert len(predicted_figure(alone, "study").axes) == 1


def test_arms_that_would_hide_each_other_are_refused(study: list[Arm]) -> None:
    with pytest.raises(AdapterLabError, match=r"several arms with adapter\.rank=4"):
        predicted_ranks([*study, arm("4", 400, [0.7])])
    again = arm("c", 390, [0.7], budget=400)
    with pytest.raises(AdapterLabError, match=r"adapter\.rank=auto and budget=400"):
        predicted_ranks([*study, again])


def test_other_studies_are_refused(study: list[Arm]) -> None:
    with pytest.raises(AdapterLabError, match="3 ranks and 0 budgets"):
        predicted_ranks(study[:3])
    with pytest.raises(AdapterLabError, match="1 ranks and 2 budgets"):
        predicted_ranks([study[0], *study[3:]])
    with pytest.raises(AdapterLabError, match="several data sets"):
        predicted_ranks([*study, arm("8", 800, [0.7], dataset="other")])
    with pytest.raises(AdapterLabError, match="has kept no choice"):
        predicted_ranks([*study, arm("c", 700, [0.7], budget=701)])
