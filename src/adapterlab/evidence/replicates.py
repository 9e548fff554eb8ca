"""The runs of one arm on one test split, as all tests of arms take them."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Booleans, Floats


@dataclass(frozen=True, eq=False)
class Replicates:
    """The runs of one arm, on one test split.

    Attributes:
        name: the arm's.
        replicates: what tells its S runs apart, such as their seeds; at least 1, all different.
        values: ``[S, N]``, what each run has on each test example, in the order of
            ``replicates``. A run's score is their mean: for accuracy, whether it is right (bool, or
            0 and 1); for other metrics, contributions whose mean is the score.

    Raises:
        ValueError: what does not fit together, or values that are not finite.
    """

    name: str
    replicates: tuple[Hashable, ...]
    values: Floats | Booleans

    def __post_init__(self) -> None:
        shape = self.values.shape
        if not self.replicates or len(shape) != 2 or shape[0] != len(self.replicates):
            raise ValueError(
                f"{self.name}: values of shape {shape} for {len(self.replicates)} runs; "
                "expected [S, N], with S of at least 1"
            )
        if shape[1] == 0:
            raise ValueError(f"{self.name}: no test examples")
        if len(set(self.replicates)) != len(self.replicates):
            raise ValueError(f"{self.name}: a replicate comes twice in {self.replicates}")
        if not np.isfinite(self.values).all():
            raise ValueError(f"{self.name}: values hold {np.nan} or infinity; expected numbers")

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """The score of each run, ``[S]``."""
        scores: npt.NDArray[np.float64] = self.values.mean(axis=1, dtype=np.float64)
        return scores

    @property
    def runs(self) -> int:
        """How many there are, S."""
        return len(self.replicates)

    @property
    def examples(self) -> int:
        """The number of test examples, N."""
        return int(self.values.shape[1])

    @property
    def answers(self) -> Booleans | None:
        """``values`` as right and wrong; None if they are no such."""
        if self.values.dtype == np.bool_:
            return self.values  # type: ignore[return-value]
        right = self.values == 1
        return right if bool((right | (self.values == 0)).all()) else None
