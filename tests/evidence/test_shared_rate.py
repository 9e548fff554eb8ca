"""The best rate of each way to train, and what one for all costs, by hand and by simulation."""

from collections.abc import Sequence

import numpy as np
import pytest

from adapterlab.evidence.intervals import Interval, median_interval
from adapterlab.evidence.shared_rate import BestRates, best_rates
from adapterlab.evidence.spread import paired_interval
from simulations.shared_rate import study

NAN = float("nan")


def answers(right: Sequence[int], examples: int = 10) -> np.ndarray:
    """Return so many right answers of each seed, the first ones."""
    return np.arange(examples) < np.array(right)[:, None]


def found(
    validation: list[list[list[float]]], test: list[list[Sequence[int]]], **options: object
) -> BestRates:
    return best_rates(
        np.array(validation),
        lambda way, rate: answers(test[way][rate]),
        **options,  # type: ignore[arg-type]
    )


def test_golden_by_hand() -> None:
    """Two ways, three rates, three seeds.

    Means on validation: 5, 7, 6 of the first way and 4, 5, 8 of the second, so that the second rate
    loses 0 and 3, the third 1 and 0: it is the shared one, whichever seed is left out. Without
    one, the first way's means are 4.5, 7, 6.5 or 5, 7.5, 5.5 or 5.5, 6.5, 6: the second rate
    throughout, as the third is of the second way.
    """
    validation = [
        [[6, 5, 4], [7, 6, 8], [5, 7, 6]],
        [[4, 4, 4], [5, 5, 5], [8, 8, 8]],
    ]
    test: list[list[Sequence[int]]] = [
        [[1, 1, 1], [7, 8, 9], [6, 7, 7]],
        [[1, 1, 1], [5, 5, 5], [8, 8, 8]],
    ]
    one = found(validation, test)
    first, second = one.ways
    assert one.shared == 2
    assert (first.place, first.by_seed) == (1, (1, 2, 1))
    assert first.cost == pytest.approx((0.1 + 0.1 + 0.2) / 3)
    assert first.interval is not None
    assert first.interval.low < first.cost < first.interval.high
    expected = paired_interval(answers([7, 8, 9]), answers([6, 7, 7]), 1 - 0.05 / 2)
    assert first.interval == expected, "at once for both ways"
    assert (second.place, second.by_seed) == (2, (2, 2, 2))
    assert (second.cost, second.interval) == (0.0, None), "one rate: nothing was compared"


def test_a_seed_is_tested_at_rates_that_were_chosen_without_it() -> None:
    """Each seed has another rate that is lucky, in validation and in the test alike."""
    validation = [[[9, 5, 5], [5, 9, 5], [5, 5, 9]], [[9, 9, 9], [1, 1, 1], [1, 1, 1]]]
    test: list[list[Sequence[int]]] = [
        [[9, 5, 5], [5, 9, 5], [5, 5, 9]],
        [[9, 9, 9], [1, 1, 1], [1, 1, 1]],
    ]
    one = found(validation, test).ways[0]
    assert one.by_seed == (0, 1, 2)
    # Without seed 0, rates 1 and 2 are equal and better than 0: its own choice is 1, at which it
    # has 5, not its lucky 9; the shared rate is 0 throughout, at which seed 0 has 9.
    assert one.cost == pytest.approx(np.mean([0.5 - 0.9, 0.5 - 0.5, 0.5 - 0.5]))


def test_what_failed_is_not_chosen() -> None:
    validation = [[[5, 5, 5], [9, 9, NAN], [6, 6, 6]], [[5, 5, 5], [6, 6, 6], [7, 7, 7]]]
    test: list[list[Sequence[int]]] = [[[5] * 3, [9] * 3, [6] * 3], [[5] * 3, [6] * 3, [7] * 3]]
    one = found(validation, test)
    assert (one.shared, one.ways[0].place) == (2, 2)
    assert one.ways[0].by_seed == (1, 1, 2), "of the seeds that have finished"
    validation[1] = [[5, 5, 5], [6, 6, 6], [7, NAN, 7]]
    validation[0][0] = [NAN, 5, 5]
    one = found(validation, test)
    assert (one.shared, one.ways[0].place, one.ways[1].place) == (None, 2, 1)
    assert [(way.cost, way.interval) for way in one.ways] == [(None, None)] * 2


def test_where_less_is_better() -> None:
    validation = [[[5] * 3, [9] * 3], [[9] * 3, [1] * 3]]
    test: list[list[Sequence[int]]] = [[[8] * 3, [5] * 3], [[1] * 3, [9] * 3]]
    one = found(validation, test, higher_is_better=False)
    assert one.shared == 0
    assert one.ways[0].cost == pytest.approx(0.3)


@pytest.mark.parametrize(
    "validation", [np.zeros((1, 2, 3)), np.zeros((2, 1, 3)), np.zeros((2, 2, 1)), np.zeros((2, 2))]
)
def test_too_few_of_something(validation: np.ndarray) -> None:
    with pytest.raises(ValueError, match="two of each at least"):
        best_rates(validation, lambda way, rate: answers([1]))


def test_a_way_that_failed_throughout() -> None:
    with pytest.raises(ValueError, match="has failed at each rate"):
        found([[[NAN, 1.0], [1.0, NAN]], [[1.0, 1.0], [1.0, 1.0]]], [])


def test_a_part_of_the_simulation() -> None:
    """Where two rates are equally good and luck chooses, the shared one is seldom said to cost."""
    rng = np.random.default_rng(0)
    drawn = [study("flat", 3, rng) for _ in range(40)]
    costs = [one.interval is not None and one.interval.low > 0 for ways in drawn for one in ways]
    assert sum(costs) <= 4, "of 200, at half a percent each"


class TestPairedInterval:
    def test_luck_that_runs_share_is_none(self) -> None:
        """Seeds differ by 30 of 100 examples, and both arms alike."""
        a, b = answers([50, 80, 65], 100), answers([48, 78, 63], 100)
        found = paired_interval(a, b, 0.95)
        assert found.low < 0.02 < found.high
        # Unpaired, of the seeds alone: two means of three whose deviation is 0.15.
        assert found.half_width < 0.05 < 0.15 * np.sqrt(2 / 3)

    def test_equal_answers_do_not_show_that_there_is_no_difference(self) -> None:
        same = answers([50, 80, 65], 100)
        found = paired_interval(same, same, 0.95)
        assert found.low < 0 < found.high

    def test_of_runs_it_is_students(self) -> None:
        """So many examples that they have no part: t(.975, 2) is 4.3027."""
        rng = np.random.default_rng(0)
        b = rng.random((3, 400_000)) < 0.5
        a = b.copy()
        for seed, more in enumerate((0.01, 0.02, 0.03)):
            a[seed, rng.permutation(np.flatnonzero(~b[seed]))[: int(400_000 * more)]] = True
        found = paired_interval(a, b, 0.95)
        assert found.half_width == pytest.approx(4.3027 * 0.01 / np.sqrt(3), rel=0.03)


class TestMedianInterval:
    @pytest.mark.parametrize(
        ("n", "level", "expected"),
        [
            (5, 0.95, None),  # 1 - 2 / 32 = 93.75%
            (5, 0.93, (1, 5)),
            (6, 0.95, (1, 6)),  # 96.9%
            (8, 0.95, (1, 8)),  # the second to the seventh hold 93.0%
            (9, 0.95, (2, 8)),  # 96.1%
            (10, 0.95, (2, 9)),  # 97.9%
            (20, 0.95, (6, 15)),  # 95.9%: as in tables of the sign test
            (1, 0.5, None),
        ],
    )
    def test_ranks_as_in_tables(
        self, n: int, level: float, expected: tuple[float, float] | None
    ) -> None:
        values = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
        interval = None if expected is None else Interval(*expected)
        assert median_interval(values, level=level) == interval
