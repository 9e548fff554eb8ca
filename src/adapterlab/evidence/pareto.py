"""What is worth its cost: the arms that no other arm beats on both axes."""

from collections.abc import Sequence
from itertools import groupby
from math import inf, isnan


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Find what nothing dominates: nothing else is as cheap and as good, and better in one.

    Args:
        costs: ``[n]``, lower is better.
        scores: ``[n]``, higher is better.

    Returns:
        Indices by rising cost, and so by rising score. Those that tie in both are all kept, in
        their order.

    Raises:
        ValueError: if the lengths differ or a value is nan.
    """
    if len(costs) != len(scores):
        raise ValueError(f"{len(costs)} costs for {len(scores)} scores")
    for value in (*costs, *scores):
        if isnan(value):
            raise ValueError("costs and scores hold nan; leave out what was not measured")
    front: list[int] = []
    best = -inf
    by_cost = sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i], i))
    for _, group in groupby(by_cost, key=lambda i: (costs[i], scores[i])):
        same = list(group)
        # -inf is a score as well: the cheapest is on the front whatever it scores.
        if scores[same[0]] > best or not front:
            front += same
            best = scores[same[0]]
    return front
