"""Whether confidence means anything: accuracy by bins of confidence."""

from dataclasses import dataclass

import numpy as np

from adapterlab.evidence.arrays import Booleans, Floats


@dataclass(frozen=True)
class Bin:
    """The examples whose confidence is above ``low`` and at most ``high``.

    Attributes:
        low: the lower end, outside the bin (but 0 is in the first).
        high: the upper end, inside.
        count: the number of examples.
        confidence: their mean confidence; None for a bin without examples.
        accuracy: the share of them that is right; None for a bin without examples.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None

    @property
    def gap(self) -> float:
        """How far accuracy is above confidence; 0 for a bin without examples."""
        if self.accuracy is None or self.confidence is None:
            return 0.0
        return self.accuracy - self.confidence


def reliability(
    probabilities_of_predicted: Floats, correct: Booleans, *, bins: int = 10
) -> list[Bin]:
    """Bin examples by confidence, for a reliability diagram.

    Murphy & Winkler, 1977, "Reliability of subjective probability forecasts of precipitation and
    temperature"; of networks, Guo et al., 2017 (arXiv:1706.04599), figure 1.

    Args:
        probabilities_of_predicted: the confidence, ``[N]``: the probability of the predicted
            class, from 0 to 1.
        correct: ``[N]``, whether the predicted class is the true one.
        bins: the number of equal-width bins, at least 1.

    Returns:
        All bins from 0 to 1, those without examples too.

    Raises:
        ValueError: shapes that do not fit, or ``bins`` below 1.
    """
    confidence = probabilities_of_predicted
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ValueError(
            f"confidences of shape {confidence.shape} for {correct.shape} answers; "
            "expected [N] for [N]"
        )
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected at least 1")
    edges = np.linspace(0, 1, bins + 1)
    members = np.digitize(confidence, edges[1:-1], right=True)
    counts = np.bincount(members, minlength=bins)
    confidences = np.bincount(members, weights=confidence, minlength=bins)
    right = np.bincount(members, weights=correct, minlength=bins)
    return [
        Bin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            count=int(n),
            confidence=float(confidences[i] / n) if n else None,
            accuracy=float(right[i] / n) if n else None,
        )
        for i, n in enumerate(counts)
    ]
