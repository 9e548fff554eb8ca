"""Several tests at once: p-values that keep their meaning as a family."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values: Holm, 1979, "A simple sequentially rejective multiple test procedure".

    The k-th smallest of m is multiplied by m - k + 1, then raised to the adjusted one before it
    and capped at 1. Rejecting where the adjusted value is below a level makes one or more false
    rejections at most that often, however the tests depend on each other.

    Args:
        p_values: m values from 0 to 1.

    Returns:
        m adjusted values, in the order of ``p_values``.

    Raises:
        ValueError: a value that is not from 0 to 1.
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"p is {p}; expected 0 to 1")
    m = len(p_values)
    adjusted = [0.0] * m
    largest = 0.0
    for rank, i in enumerate(sorted(range(m), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
