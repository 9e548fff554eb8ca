import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterlab.evidence.pareto import pareto_front

# Few distinct numbers, so that ties are common.
numbers = st.sampled_from([-math.inf, 0.0, 0.5, 1.0, 2.0, math.inf])
points = st.lists(st.tuples(numbers, numbers), max_size=12)


@pytest.mark.parametrize(
    ("costs", "scores", "front"),
    [
        ([], [], []),
        ([3, 1, 2], [0.9, 0.7, 0.8], [1, 2, 0]),
        ([1, 2, 3], [0.9, 0.8, 0.95], [0, 2]),
        ([1, 1, 1], [0.5, 0.9, 0.9], [1, 2]),  # as cheap, and two as good
        ([1, 2], [0.9, 0.9], [0]),  # as good, but dearer
    ],
)
def test_golden_values_by_hand(costs: list[float], scores: list[float], front: list[int]) -> None:
    assert pareto_front(costs, scores) == front


@settings(deadline=None)
@given(points)
def test_the_front_is_what_nothing_dominates_by_rising_cost(points) -> None:
    costs, scores = [cost for cost, _ in points], [score for _, score in points]
    front = pareto_front(costs, scores)

    def dominated(i: int) -> bool:
        return any(
            (costs[j] <= costs[i] and scores[j] >= scores[i])
            and (costs[j] < costs[i] or scores[j] > scores[i])
            for j in range(len(points))
        )

    assert sorted(front) == [i for i in range(len(points)) if not dominated(i)]
    assert [costs[i] for i in front] == sorted(costs[i] for i in front)
    assert [scores[i] for i in front] == sorted(scores[i] for i in front)


def test_what_cannot_be_ordered_is_refused() -> None:
    with pytest.raises(ValueError, match="2 costs for 1 scores"):
        pareto_front([1, 2], [1])
    with pytest.raises(ValueError, match="nan"):
        pareto_front([1, 2], [1, math.nan])
