"""Two trained models on the same test examples."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from adapterlab.evidence.arrays import Booleans


@dataclass(frozen=True)
class McNemar:
    """What two classifiers disagree on.

    Attributes:
        only_a: how many examples A alone gets right.
        only_b: how many B alone gets right.
        p: how often a split at least this uneven would come of a fair coin.
    """

    only_a: int
    only_b: int
    p: float


def mcnemar(correct_a: Booleans, correct_b: Booleans) -> McNemar:
    """Test two classifiers on the same examples: McNemar, 1947; for classifiers, Dietterich, 1998.

    The exact two-sided binomial test of the examples that just one of them gets right. It speaks
    of two trained models, so of one seed; it says nothing about another training.

    Args:
        correct_a: ``[N]``, whether A is right.
        correct_b: ``[N]``, likewise, of the same examples in the same order.

    Returns:
        The counts and p; p is 1 if they never disagree.

    Raises:
        ValueError: shapes or types that do not fit.
    """
    for one in (correct_a, correct_b):
        if one.dtype != np.bool_ or one.ndim != 1 or one.size == 0:
            raise ValueError(
                f"answers of shape {one.shape} and type {one.dtype}; expected bool [N]"
            )
    if len(correct_a) != len(correct_b):
        raise ValueError(f"{len(correct_a)} examples for {len(correct_b)}; expected the same ones")
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    lesser_tail = float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return McNemar(only_a, only_b, min(1.0, 2 * lesser_tail))
