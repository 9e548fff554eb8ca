"""How well scores rank the examples of a class above all others: areas under ROC curves."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Floats, Integers

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """One class against the rest.

    Attributes:
        area: under its ROC curve: the probability that an example of the class is ranked above one
            that is not of it, where a tie counts half (Hanley & McNeil, 1982).
        placements: ``[N]``, of an example of the class the share of the others that it is ranked
            above; of another, the share of the class's that are ranked above it (DeLong et al.,
            1988). Their means over either kind are the area.
        of_class: ``[N]``, whether an example is of the class.
    """

    area: float
    placements: Values
    of_class: npt.NDArray[np.bool_]

    def without_each(self) -> Values:
        """Return the area without each example, ``[N]``; either kind has 2 or more."""
        own = int(self.of_class.sum())
        size = np.where(self.of_class, own, len(self.of_class) - own)
        areas: Values = (size * self.area - self.placements) / (size - 1)
        return areas


def rankings(logits: Floats, labels: Integers) -> list[Ranking]:
    """Rank the examples for each class that some are of and some are not.

    The score of a class is its log-odds, log p - log(1 - p), of the softmax in float64: they rank
    as probabilities do, and tell apart what probabilities round to 1.

    Args:
        logits: ``[N, C]``, all finite, C at least 2.
        labels: ``[N]``, integers from 0 to C - 1.

    Returns:
        In the order of the classes; with two classes the second alone, as the first mirrors it.
        Empty where all examples are of one class.
    """
    values = logits.astype(np.float64)
    present = [int(label) for label in np.unique(labels)]
    if len(present) < 2:
        return []
    if values.shape[1] == 2:
        return [_ranking(values[:, 1] - values[:, 0], labels == 1)]
    return [_ranking(_log_odds(values, label), labels == label) for label in present]


def mean_area(logits: Floats, labels: Integers) -> float | None:
    """Return the mean of the classes' areas, see `rankings`; None where there are none."""
    found = rankings(logits, labels)
    return float(np.mean([one.area for one in found])) if found else None


def _log_odds(logits: Values, label: int) -> Values:
    others = np.delete(logits, label, axis=1)
    most = others.max(axis=1)
    odds: Values = logits[:, label] - most - np.log(np.exp(others - most[:, None]).sum(axis=1))
    return odds


def _ranking(scores: Values, of_class: npt.NDArray[np.bool_]) -> Ranking:
    own = int(of_class.sum())
    rest = len(of_class) - own
    ranks = _ranks(scores)
    # A rank less the rank among one's own kind is how many of the other kind are below.
    below = ranks.copy()
    for kind in (of_class, ~of_class):
        below[kind] -= _ranks(scores[kind])
    placements = np.where(of_class, below / rest, 1 - below / own)
    return Ranking(float(placements[of_class].mean()), placements, of_class)


def _ranks(scores: Values) -> Values:
    """Return ranks from 1, equal scores having their mean.

    As `scipy.stats.rankdata`, which takes as long to import as a small model to train.
    """
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: Values = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks
