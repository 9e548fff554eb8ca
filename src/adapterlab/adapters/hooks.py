"""What a method may say about its training; a strategy inherits it, and by default says nothing."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ByRole:
    """How a method trains the parameters of a role, unless the run says it itself.

    Attributes:
        rate: what the run's learning rate is multiplied by.
        weight_decay: None for the run's.
    """

    rate: float = 1.0
    weight_decay: float | None = None


class Hooks:
    """The part of a strategy that training asks, alone and for each lane of a pack."""

    def by_role(self) -> Mapping[str, ByRole]:
        """Return what parameters of a role are trained with, where it is not the run's own.

        See `adapters.roles` for the roles that there are.
        """
        return {}
