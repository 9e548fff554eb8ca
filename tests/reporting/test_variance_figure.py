from pathlib import Path

import numpy as np
import pytest

from adapterlab.drawing.canvas import save
from adapterlab.evidence.intervals import Interval
from adapterlab.evidence.variance import EXAMPLES, INTERACTIONS, Component, Luck, put_together
from adapterlab.reporting.figures.variance import variance_figure
from adapterlab.reporting.reading.study import Run
from adapterlab.reporting.sentences.luck import about_luck, alike, luck_of, variance_table


def run(accuracy: float, **seeds: int) -> Run:
    params = {"adapter.rank": "8", "seed": "0", "init_seed": "0", "order_seed": "0"}
    params |= {"dataset.validation_seed": "0", "base.seed": "0"}
    params |= {name.replace("_DOT_", "."): str(value) for name, value in seeds.items()}
    params["base.dataset.validation_seed"] = params["dataset.validation_seed"]
    return Run("id", "arm", {}, params, {"test/accuracy": accuracy})


STAR = [
    run(0.80),
    run(0.82, init_seed=1),
    run(0.78, init_seed=2),
    run(0.81, order_seed=1),
    run(0.84, dataset_DOT_validation_seed=1),
    run(0.80, base_DOT_seed=1),
    run(0.80, base_DOT_seed=2),
]


def component(name: str, deviation: float, reach: float = 0.1) -> Component:
    low, high = (1 - reach) * deviation, (1 + reach) * deviation
    return Component(name, deviation, Interval(low, high), 10)


def luck(*components: Component) -> Luck:
    return put_together(components)


class TestLuckOfRuns:
    def test_each_draw_is_a_component(self) -> None:
        correct = np.random.default_rng(0).random((7, 90)) < np.linspace(0.5, 1, 90)
        found, why = luck_of(STAR, correct)
        assert found is not None, why
        deviations = {one.name: one.deviation for one in found.components}
        assert deviations.pop(EXAMPLES) > 0
        assert deviations == pytest.approx(
            {
                "initialisation": 0.02,
                "batch order": 0.01 / np.sqrt(2),
                "validation cut": 0.04 / np.sqrt(2),
                "base": 0.0,
            }
        )

    def test_seeds_that_go_together_are_one_source(self) -> None:
        found, _ = luck_of([run(0.7 + 0.1 * k, init_seed=k, order_seed=k) for k in range(3)], None)
        assert found is not None
        (one,) = found.components
        assert (one.name, one.runs) == ("initialisation with batch order", 3)
        assert one.deviation == pytest.approx(0.1)
        assert "only initialisation with batch order was looked at" in about_luck(found)

    def test_a_full_cross_is_analysed_as_one(self) -> None:
        runs = [run(0.7 + 0.1 * i + 0.02 * j, init_seed=i, order_seed=j)
                for i in range(3) for j in range(3)]  # fmt: skip
        found, _ = luck_of(runs, None)
        assert found is not None
        assert {one.name for one in found.components} == {
            "initialisation", "batch order", INTERACTIONS,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("runs", "why"),
        [
            ([run(0.8), run(0.9, adapter_DOT_rank=4)], "its runs differ in adapter.rank too"),
            ([run(0.8)], "nothing that is drawn at random was varied"),
            ([*STAR, run(0.8)], "its runs are no design that tells sources apart: 2 runs at"),
        ],
    )
    def test_what_tells_nothing_says_why(self, runs: list[Run], why: str) -> None:
        found, said = luck_of(runs, None)
        assert found is None
        assert said.startswith(why)


def test_runs_that_differ_in_draws_only_are_alike_whatever_their_arm() -> None:
    other = [run(0.8, adapter_DOT_rank=4), run(0.9, adapter_DOT_rank=4, init_seed=1)]
    groups = alike([other[0], *STAR, other[1]])
    assert groups == [STAR, other]


class TestWords:
    def test_the_table_has_points_and_shares(self) -> None:
        table = variance_table(luck(component("base", 0.03), component("cut", 0.04)))
        assert table.rows == (
            ("cut", "4.00", "3.60 to 4.40", "64%", "10"),
            ("base", "3.00", "2.70 to 3.30", "36%", "10"),
        )

    @pytest.mark.parametrize(
        ("components", "said"),
        [
            ([component("base", 0.03), component(EXAMPLES, 0.01)], "more seeds would take off"),
            ([component("base", 0.01), component(EXAMPLES, 0.03)], "more test examples would"),
            ([component("base", 0.03, 0.5), component("cut", 0.02, 0.5)], "open between base and"),
            ([component("base", 0.0), component("cut", 0.0)], "Nothing that was drawn at random"),
        ],
    )
    def test_what_helps_follows_from_what_rules(
        self, components: list[Component], said: str
    ) -> None:
        assert said in about_luck(luck(*components))

    def test_a_component_that_was_not_seen_is_no_zero(self) -> None:
        table = variance_table(luck(component("base", 0.0), component("cut", 0.04)))
        assert table.rows[1][1] == "none seen"


def test_bars_are_as_long_as_deviations(tmp_path: Path) -> None:
    found = luck(component("base", 0.03), component(EXAMPLES, 0.01), component("cut", 0.029))
    figure = variance_figure(found)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([3, 2.9, 1])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["base", "cut", EXAMPLES]
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] == colours[1] != colours[2]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["may be the largest", "is not the largest", "95% interval"]
    save(figure, tmp_path / "luck.png")
    assert (tmp_path / "luck.png").stat().st_size > 1000
