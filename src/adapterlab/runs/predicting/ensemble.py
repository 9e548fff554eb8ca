"""Several runs as one: what each says of the same examples, in one order of classes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adapterlab.base.errors import AdapterLabError
from adapterlab.runs.predicting.members import Examples, Member

Values = npt.NDArray[np.float64]


class Ensemble:
    """Runs that answer together.

    Args:
        members: one, or several of the same task and classes.

    Raises:
        AdapterLabError: they have learnt other things, or some take texts and others pairs or
            images.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        first = members[0]
        self.classes, self.task = first.classes, first.task
        for other in members[1:]:
            if other.task != first.task:
                raise AdapterLabError(
                    f"{first.name} has learnt task={first.task}, and {other.name} "
                    f"task={other.task}: they answer no question together"
                )
            if sorted(other.classes) != sorted(first.classes):
                raise AdapterLabError(f"{_apart(first, other)}: they answer no question together")
            if other.takes != first.takes:
                raise AdapterLabError(
                    f"{first.name} takes {first.takes}, and {other.name} takes {other.takes}"
                )

    @property
    def limits(self) -> Values:
        """Probabilities above which each member answers labels, ``[M, C]``."""
        own = [np.array(one.limits)[self._order(one)] for one in self.members]
        return np.stack(own)

    def outputs(self, examples: Examples) -> Values:
        """Return what each member says of examples, in their order.

        Returns:
            ``[M, N, C]``: probabilities, or one number.
        """
        own = [one.outputs(examples)[:, self._order(one)] for one in self.members]
        return np.stack(own)

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

    def _order(self, one: Member) -> list[int]:
        return [one.classes.index(name) for name in self.classes]


def _apart(first: Member, other: Member) -> str:
    if first.task == "regression":
        return f"{first.name} says {first.classes[0]}, and {other.name} {other.classes[0]}"
    odd = sorted(set(other.classes) ^ set(first.classes))[0]
    return f"{first.name} and {other.name} have different classes, such as {odd}"
