"""What the tuned sweeper is asked for: what is tried, what is wrong, where the edges are."""

from typing import Any

import pytest

from adapterlab.base.errors import ConfigError
from adapterlab.studies.tuning.design import Design, Setting


def always(_: Setting) -> bool:
    return True


def test_every_arm_tries_every_setting_from_the_smallest_on() -> None:
    tune = {"optimizer.lr": [0.1, 0.001, 0.01], "optimizer.schedule": ["linear", "cosine"]}
    design = Design.of(["adapter=head"], tune, [1000, 1001], [0])
    assert design.trials == 12
    assert [tuple(setting.values()) for setting in design.settings] == [
        (0.001, "linear"), (0.001, "cosine"), (0.01, "linear"),
        (0.01, "cosine"), (0.1, "linear"), (0.1, "cosine"),
    ]  # fmt: skip


def test_numbers_that_were_written_as_texts_are_numbers_and_come_first() -> None:
    design = Design.of(["a=b"], {"x": ["1e-1", None, "0.01", "2", "auto", True]}, [1], [0])
    assert design.tune["x"] == (0.01, 0.1, 2, None, "auto", True)


@pytest.mark.parametrize(
    ("value", "said"), [(0.001, "smallest"), (0.01, ""), (0.1, "largest"), ("auto", "")]
)
def test_the_best_at_an_edge_is_said(value: Any, said: str) -> None:
    tune = {"optimizer.lr": ["auto", 0.1, 0.001, 0.01], "optimizer.schedule": ["linear", "cosine"]}
    design = Design.of(["adapter=head"], tune, [1], [0])
    lines = list(design.edges({"optimizer.lr": value, "optimizer.schedule": "linear"}, always))
    assert lines == ([f"optimizer.lr={value} is the {said} that was tried"] if said else [])
    alone = Design.of(["adapter=head"], {"optimizer.lr": [value]}, [1], [0])
    assert list(alone.edges({"optimizer.lr": value}, always)) == []


@pytest.mark.parametrize(
    ("value", "beyond"),
    [(0, -1), (1, 0), (0.0, -1.0), (0.25, 0.125), (8, 9), (0.9, 0.9009), (-1.0, -1.001)],
)
def test_an_edge_is_one_only_where_there_is_something_beyond(value: float, beyond: float) -> None:
    up = beyond > value
    values = [value, value - 7 if up else value + 7]
    design = Design.of(["a=b"], {"x": values, "y": [3]}, [1], [0])
    asked: list[Setting] = []

    def never(setting: Setting) -> bool:
        asked.append(setting)
        return False

    assert list(design.edges({"x": value, "y": 3}, never)) == []
    assert asked == [{"x": pytest.approx(beyond), "y": 3}]
    assert len(list(design.edges({"x": value, "y": 3}, always))) == 1


def test_a_grid_is_known_by_what_is_tried_and_how_it_is_chosen() -> None:
    def grid(values: list[float], seeds: list[int], metric: str = "accuracy") -> str:
        return Design.of(["a=b"], {"x": values}, seeds, [9]).grid(metric)

    assert grid([1, 2], [0]) == grid([2, 1], [0])
    others = [grid([1, 3], [0]), grid([1, 2], [1]), grid([1, 2], [0], "loss")]
    assert len({grid([1, 2], [0]), *others}) == 4


@pytest.mark.parametrize(
    ("arms", "tune", "seeds", "message"),
    [
        ([], {"x": [1]}, [0], "hydra.sweeper.arms is empty"),
        (None, {"x": [1]}, [0], "hydra.sweeper.arms is empty"),
        (3, {"x": [1]}, [0], "hydra.sweeper.arms=3 should be a list of arms"),
        ([{"a": 1}], {"x": [1]}, [0], "arms: {'a': 1} should be the overrides of an arm"),
        (["a=b", " "], {"x": [1]}, [0], "arms: ' ' should be the overrides of an arm"),
        (["a=b 'c"], {"x": [1]}, [0], "hydra.sweeper.arms: a=b 'c: a quote is not closed"),
        (["a=b \\"], {"x": [1]}, [0], "hydra.sweeper.arms: a=b \\: a \\ ends it"),
        (["a=b c"], {"x": [1]}, [0], "arms: a=b c: c is not of the form option=value"),
        (["a=b c=d", "c=d  a=b"], {"x": [1]}, [0], "arms: c=d  a=b is given twice"),
        (["a=b"], {}, [0], "hydra.sweeper.tune is empty"),
        (["a=b"], None, [0], "hydra.sweeper.tune is empty"),
        (["a=b"], [1, 2], [0], "hydra.sweeper.tune=[1, 2] should be lists of values by option"),
        (["a=b"], {"x": 1}, [0], "hydra.sweeper.tune: x=1 should be a list of values"),
        (["a=b"], {"x": None}, [0], "hydra.sweeper.tune: x=null should be a list of values"),
        (["a=b"], {"x": []}, [0], "hydra.sweeper.tune: x=[] should be a list of values"),
        (["a=b"], {"x": [1, 2, 1.0]}, [0], "hydra.sweeper.tune: x=1.0 is given twice"),
        (["a=b"], {"x": ["p", "p"]}, [0], "hydra.sweeper.tune: x=p is given twice"),
        (["a=b"], {"x": [1]}, [0, 0], "seeds=[0, 0] should be different seeds"),
        (["a=b"], {"x": [1]}, [], "seeds=[] should be different seeds"),
        (["a=b"], {"x": [1]}, [-1], "seeds=[-1] should be different seeds"),
        (["a=b"], {"x": [1]}, [1.5], "seeds=[1.5] should be different seeds, whole numbers"),
        (["a=b"], {"x": [1]}, [True], "seeds=[True] should be different seeds, whole numbers"),
        (["a=b"], {"x": [1]}, ["a"], "seeds=['a'] should be different seeds, whole numbers"),
        (["a=b"], {"x": [1]}, 3, "seeds=3 should be different seeds, whole numbers from 0"),
        (["a=b"], {"x": [1]}, None, "seeds=null should be different seeds"),
    ],
)
def test_what_is_no_comparison(arms: Any, tune: Any, seeds: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Design.of(arms, tune, [1000], seeds)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_seed_that_chose_is_not_compared() -> None:
    """Its run was picked for its luck, on validation, which a test split has a part of."""
    with pytest.raises(ConfigError) as caught:
        Design.of(["a=b"], {"x": [1, 2]}, [1000, 2, 1], [0, 1, 2])
    assert str(caught.value) == (
        "hydra.sweeper.seeds=[0, 1, 2] and tuning_seeds=[1000, 2, 1] should have no seed in "
        "common: a run that a value was chosen for is a lucky one, and that of seed 1 would count"
    )
