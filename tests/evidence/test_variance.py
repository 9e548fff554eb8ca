import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from adapterlab.evidence.intervals import Interval
from adapterlab.evidence.variance import (
    EXAMPLES,
    INTERACTIONS,
    Component,
    crossed,
    of_examples,
    one_at_a_time,
    put_together,
)

# A common point at 0, three more init seeds and two more orders; the last run takes no part.
STAR = {"init": [0, 1, 2, 3, 0, 0, 1], "order": [0, 0, 0, 0, 1, 2, 1]}
ACCURACIES = [0.80, 0.82, 0.78, 0.84, 0.81, 0.79, 0.10]


def cross(a: int, b: int) -> dict[str, list[int]]:
    rows = list(itertools.product(range(a), range(b)))
    return {"init": [i for i, _ in rows], "order": [j for _, j in rows]}


class TestOneAtATime:
    def test_a_factor_is_the_sample_deviation_of_the_runs_in_which_it_varies(self) -> None:
        init, order = one_at_a_time(ACCURACIES, STAR)
        assert (init.name, init.runs, order.name, order.runs) == ("init", 4, "order", 3)
        assert init.deviation == pytest.approx(np.std([0.80, 0.82, 0.78, 0.84], ddof=1))
        assert order.deviation == pytest.approx(0.01)

    def test_the_interval_is_that_of_a_table_of_chi_square(self) -> None:
        # χ²(3) is between 0.2158 and 9.348 in 95 of 100.
        (init, _) = one_at_a_time(ACCURACIES, STAR)
        assert init.interval.low == pytest.approx(init.deviation * math.sqrt(3 / 9.348), rel=1e-3)
        assert init.interval.high == pytest.approx(init.deviation * math.sqrt(3 / 0.2158), rel=1e-3)

    def test_a_factor_that_was_not_varied_is_no_component(self) -> None:
        found = one_at_a_time([0.8, 0.9], {"init": [0, 1], "cut": [5, 5]})
        assert [one.name for one in found] == ["init"]

    def test_known_components_are_found(self) -> None:
        rng = np.random.default_rng(0)
        levels = {
            "init": [*range(10), *[0] * 9],
            "order": [*[0] * 10, *range(1, 10)],
        }
        true = {"init": 0.02, "order": 0.005}
        held = dict.fromkeys(true, 0)
        squares = dict.fromkeys(true, 0.0)
        for _ in range(400):
            effects = {name: rng.normal(0, sd, 10) for name, sd in true.items()}
            values = sum(effects[name][np.array(levels[name])] for name in true)
            for one in one_at_a_time(values, levels):
                held[one.name] += one.interval.low <= true[one.name] <= one.interval.high
                squares[one.name] += one.deviation**2 / 400
        noise = 3 * math.sqrt(0.05 * 0.95 / 400)
        for name, deviation in true.items():
            assert held[name] / 400 == pytest.approx(0.95, abs=noise)
            assert squares[name] == pytest.approx(deviation**2, rel=0.1)

    @pytest.mark.parametrize(
        ("values", "levels", "message"),
        [
            ([1, 2], {}, "no factor"),
            ([1, 2], {"init": [0]}, "1 levels of init for 2 runs"),
            ([1, 2, 3], {"init": [0, 0, 1]}, "2 runs at the common point, init=0; expected one"),
            ([1, 2, 3, 4], {"a": [0, 1, 2, 0], "b": [1, 0, 0, 2]}, "0 runs at the common point"),
            ([1, 2, 3, 4], {"a": [0, 1, 1, 0], "b": [0, 0, 0, 1]}, "one level of a twice"),
        ],
    )
    def test_what_is_no_such_design_is_refused(
        self, values: list, levels: dict, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            one_at_a_time(values, levels)


class TestCrossed:
    def test_golden_values_by_hand(self) -> None:
        # Rows 1 and 5 on average, columns 2 and 4, no rest: σ² = 8 / 2 - 0 and 2 / 2 - 0.
        init, order, rest = crossed([0, 2, 4, 6], cross(2, 2))
        assert init.deviation**2 == pytest.approx(8)
        assert order.deviation**2 == pytest.approx(2)
        assert (rest.name, rest.deviation) == (INTERACTIONS, pytest.approx(0, abs=1e-7))

    def test_it_is_the_mixed_model_of_statsmodels_where_no_estimate_is_below_0(self) -> None:
        rng = np.random.default_rng(2)
        levels = cross(6, 8)
        values = (
            rng.normal(0, 2, 6)[levels["init"]]
            + rng.normal(0, 1, 8)[levels["order"]]
            + rng.normal(0, 0.7, 48)
        )
        ours = {one.name: one.deviation**2 for one in crossed(values, levels)}
        frame = pd.DataFrame({"y": values, **levels})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = MixedLM.from_formula(
                "y ~ 1",
                frame,
                groups=np.ones(48),
                re_formula="0",
                vc_formula={"init": "0 + C(init)", "order": "0 + C(order)"},
            ).fit(reml=True)
        theirs = dict(zip(fitted.model.exog_vc.names, fitted.vcomp, strict=True))
        assert ours["init"] == pytest.approx(theirs["init"], rel=2e-2)
        assert ours["order"] == pytest.approx(theirs["order"], rel=2e-2)
        assert ours[INTERACTIONS] == pytest.approx(fitted.scale, rel=1e-3)

    @pytest.mark.parametrize(
        ("shape", "true"), [((5, 5), (1, 0.3, 0.5)), ((10, 4), (1, 0, 1)), ((3, 3), (1, 1, 1))]
    )
    def test_intervals_hold_known_components(
        self, shape: tuple[int, int], true: tuple[float, ...]
    ) -> None:
        rng = np.random.default_rng(0)
        levels, studies = cross(*shape), 600
        held = np.zeros(3)
        for _ in range(studies):
            x = rng.normal(0, true[0], (shape[0], 1)) + rng.normal(0, true[1], (1, shape[1]))
            found = crossed((x + rng.normal(0, true[2], shape)).ravel(), levels)
            held += [one.interval.low <= sd <= one.interval.high
                     for one, sd in zip(found, true, strict=True)]  # fmt: skip
        assert np.all(held / studies > 0.95 - 3 * math.sqrt(0.05 * 0.95 / studies))
        assert np.all(held / studies < 0.99)

    def test_a_variance_below_0_is_0_and_said(self) -> None:
        # Rows nearly agree on average, but not within columns.
        init, _, rest = crossed([0, 5, 5, 1], cross(2, 2))
        assert (init.deviation, init.truncated) == (0, True)
        assert init.interval.high > 0
        assert rest.deviation > 0

    @pytest.mark.parametrize(
        ("values", "levels", "message"),
        [
            ([1, 2], {"init": [0, 1]}, "expected two or more of two or more"),
            ([1, 2], {"init": [0, 1], "order": [0, 0]}, "expected two or more"),
            ([1, 2, 3], {"init": [0, 1, 0], "order": [0, 0, 1]}, "3 runs in 3 cells .* 2 x 2"),
            ([1] * 5, {"a": [0, 0, 1, 1, 1], "b": [0, 1, 0, 1, 1]}, "5 runs in 4 cells"),
        ],
    )
    def test_what_is_no_cross_is_refused(self, values: list, levels: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            crossed(values, levels)


class TestExamples:
    def test_one_run_is_a_share(self) -> None:
        right = np.arange(200) < 150
        found = of_examples(right)
        assert (found.name, found.runs) == (EXAMPLES, 1)
        assert found.deviation == pytest.approx(math.sqrt(0.75 * 0.25 / 199))
        assert found.interval.low < found.deviation < found.interval.high

    def test_runs_and_examples_are_a_cross(self) -> None:
        right = np.random.default_rng(0).random((4, 30)) < np.linspace(0.3, 1, 30)
        levels = {"run": np.repeat(range(4), 30).tolist(), "example": list(range(30)) * 4}
        _, example, _ = crossed(right.ravel().astype(float), levels)
        assert of_examples(right).deviation == pytest.approx(example.deviation / math.sqrt(30))

    @pytest.mark.parametrize(("runs", "n"), [(1, 300), (4, 300)])
    def test_it_finds_how_accuracy_varies_over_test_splits(self, runs: int, n: int) -> None:
        rng = np.random.default_rng(0)
        splits, hard = 200, stats.beta(2, 0.5)
        # With one run an example is right or wrong; with more, what they have in common counts.
        true = math.sqrt((0.8 * 0.2 if runs == 1 else hard.var()) / n)
        found = [
            of_examples(rng.random((runs, n)) < hard.rvs(n, random_state=rng), resamples=200)
            for _ in range(splits)
        ]
        mean = np.mean([one.deviation**2 for one in found])
        assert mean == pytest.approx(true**2, rel=0.05)
        held = np.mean([one.interval.low <= true <= one.interval.high for one in found])
        assert held > 0.95 - 3 * math.sqrt(0.05 * 0.95 / splits)

    def test_runs_that_differ_on_all_examples_have_none_in_common(self) -> None:
        right = np.array([[True, False] * 5, [False, True] * 5])
        found = of_examples(right)
        assert (found.deviation, found.truncated) == (0, True)

    @pytest.mark.parametrize(
        ("right", "message"),
        [
            (np.zeros((2, 3)), "expected bool"),
            (np.zeros((2, 1), bool), "N of at least 2"),
            (np.zeros((0, 4), bool), r"\(0, 4\)"),
        ],
    )
    def test_what_is_no_answer_is_refused(self, right: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            of_examples(right)


class TestPutTogether:
    def test_shares_are_of_the_variance_and_the_largest_comes_first(self) -> None:
        luck = put_together(
            [
                Component("order", 0.3, Interval(0.2, 0.5), 10),
                Component("init", 0.4, Interval(0.3, 0.6), 10),
                Component("cut", 0.0, Interval(0.0, 0.1), 10),
            ]
        )
        assert [one.name for one in luck.components] == ["init", "order", "cut"]
        assert [one.share for one in luck.components] == pytest.approx([0.64, 0.36, 0])
        assert luck.deviation == pytest.approx(0.5)
        assert luck.rules == ("init", "order")

    def test_one_that_is_above_all_others_rules(self) -> None:
        luck = put_together(
            [
                Component("order", 0.1, Interval(0.05, 0.2), 10),
                Component("init", 0.4, Interval(0.3, 0.6), 10),
            ]
        )
        assert luck.rules == ("init",)

    def test_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="expected at least one"):
            put_together([])
