"""Several runs as one: the mean of their probabilities, and how many of them agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.runs.predicting.members import Examples, Member, Probabilities


@dataclass(frozen=True)
class Answers:
    """What an ensemble says of some examples.

    Attributes:
        classes: in label order.
        probabilities: means over the members.
        agreement: the share of members that say by themselves what all say together; None of one.
    """

    classes: tuple[str, ...]
    probabilities: Probabilities
    agreement: npt.NDArray[np.float64] | None

    @property
    def best(self) -> npt.NDArray[np.intp]:
        """The most probable class of each, int ``[N]``."""
        return np.asarray(self.probabilities.argmax(axis=1))

    def values(self, top_k: int, every: bool) -> list[list[Any]]:
        """Return the values of the columns that `Ensemble.columns` names."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :top_k]
        found: list[list[Any]] = []
        for place in range(top_k):
            labels = order[:, place]
            rows = np.arange(len(labels))
            found.append([self.classes[label] for label in labels])
            found.append(self.probabilities[rows, labels].tolist())
        if self.agreement is not None:
            found.append(self.agreement.tolist())
        if every:
            found += self.probabilities.T.tolist()
        return found


class Ensemble:
    """Runs that answer together.

    Args:
        members: one, or several of the same classes.

    Raises:
        AdapterLabError: they have other classes, or some take texts and others pairs or images.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        first = members[0]
        self.classes = first.classes
        for other in members[1:]:
            if sorted(other.classes) != sorted(first.classes):
                odd = sorted(set(other.classes) ^ set(first.classes))
                raise AdapterLabError(
                    f"{first.name} and {other.name} have different classes, such as {odd[0]}: "
                    "they answer no question together"
                )
            if other.takes != first.takes:
                raise AdapterLabError(
                    f"{first.name} takes {first.takes}, and {other.name} takes {other.takes}"
                )

    def within(self, top_k: int | None) -> int:
        """Return how many classes are named, 1 if nothing is said.

        Raises:
            ConfigError: more than there are.
        """
        if top_k is not None and top_k > len(self.classes):
            raise ConfigError(
                f"top_k={top_k} is more than the {len(self.classes)} classes of "
                f"{self.members[0].name}"
            )
        return top_k or 1

    def columns(self, top_k: int, every: bool, prefix: str = "") -> list[str]:
        """Return the names of the columns that `Answers.values` fills.

        Args:
            top_k: how many classes are named, the most probable first.
            every: the probability of every class.
            prefix: begins each name.
        """
        names = ["prediction", "probability"]
        for place in range(2, top_k + 1):
            names += [f"prediction_{place}", f"probability_{place}"]
        if len(self.members) > 1:
            names.append("agreement")
        if every:
            names += [f"probability/{name}" for name in self.classes]
        return [f"{prefix}{name}" for name in names]

    def answers(self, examples: Examples) -> Answers:
        """Ask all members about examples, in their order."""
        own = [self._in_order(one, one.probabilities(examples)) for one in self.members]
        mean = np.mean(own, axis=0)
        agreement = None
        if len(own) > 1:
            together = mean.argmax(axis=1)
            agreement = np.mean([each.argmax(axis=1) == together for each in own], axis=0)
        return Answers(self.classes, mean, agreement)

    def notes(self, rows: int) -> tuple[str, ...]:
        """Return what a reader of the answers to so many rows must know."""
        notes = [f"{one.name}: {note}" for one in self.members for note in one.notes]
        for one in self.members:
            if one.truncated:
                notes.append(
                    f"{one.truncated:,} of {rows:,} texts have more than {one.max_length} tokens, "
                    "and are cut off as in training"
                )
        return tuple(dict.fromkeys(notes))

    def _in_order(self, one: Member, probabilities: Probabilities) -> Probabilities:
        if one.classes == self.classes:
            return probabilities
        return probabilities[:, [one.classes.index(name) for name in self.classes]]
