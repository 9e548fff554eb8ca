"""What a method may say about its training; a strategy inherits it, and by default says nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from adapterlab.adapters.strategy import AdaptedModel


@dataclass(frozen=True)
class ByRole:
    """How a method trains the parameters of a role, unless the run says it itself.

    Attributes:
        rate: what the run's learning rate is multiplied by.
        weight_decay: None for the run's.
    """

    rate: float = 1.0
    weight_decay: float | None = None


@dataclass(frozen=True)
class Moment:
    """A run in the middle of a step, alone or as a lane; tensors by their names in the model.

    Those of a lane are views of its part of the pack, without padding, so that what is done to
    them in place is done to this lane only.

    Attributes:
        step: steps that are done, from 0.
        total: of the whole training.
        parameters: what is trained.
        gradients: of the parameters that have any; none before the backward pass.
        frozen: frozen state of adapter layers. What checkpoints hold of it may be changed in place.
        base: what trained parameters were before the training, where the method has kept them
            (`adapters.anchors`).
    """

    step: int
    total: int
    parameters: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    frozen: Mapping[str, Tensor]
    base: Mapping[str, Tensor] = field(default_factory=dict)


class Hooks:
    """The part of a strategy that training asks, alone and for each lane of a pack.

    The law of packs holds for them: they see one run only, whatever its company.
    """

    @property
    def first_batches(self) -> int:
        """How many batches `first_values` is to have; none, and it is not called."""
        return 0

    def first_values(
        self, model: "AdaptedModel", batches: Sequence[Any], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return first values that come from data, from outputs or gradients of the first batches.

        Called once, before the training and not where it goes on. The result is kept in the cache
        under all that it is made from: base weights, what is trained and its first values so far,
        batches, options, seed and the source of the method and of this package.

        Args:
            model: in evaluation mode, on its device; it is alone also where a pack is to come.
            batches: the first of the training, with `inputs` and `labels`; as many as an epoch
                has at most.
            generator: CPU generator for every random draw.

        Returns:
            What replaces the tensors of these names in `model.state()`: trained parameters, and
            frozen state that checkpoints hold.
        """
        raise NotImplementedError(f"{type(self).__name__} asks for batches and makes nothing of it")

    @property
    def of_classes(self) -> str | None:
        """The option, as it is written, by which first values hang on a loss of classes.

        Runs of other tasks are refused with it before anything is read; None if any task will do.
        """
        return None

    def extra_loss(self, moment: Moment) -> Tensor | None:
        """Return what is added to the loss of a step, a scalar; None for nothing.

        It is a function of the parameters and is not part of what is logged as the loss.
        """
        return None

    def after_backward(self, moment: Moment) -> None:
        """Look at gradients, or change them in place, before they are clipped and used.

        Nothing is recorded for gradients meanwhile, so that other tensors can be changed as well.
        """

    def after_step(self, moment: Moment) -> None:
        """Look at what a step has made of the parameters, or change them in place.

        Called after each step of the optimizer, which `moment.step` counts in, with the gradients
        that it used, clipped where they are. Nothing is recorded for gradients meanwhile.
        """

    def settled(self, step: int, total: int) -> bool:
        """Say whether what a training is after so many steps is of the kind that the method gives.

        An epoch before that is chosen only where none comes after, whatever validation says of it,
        and patience begins with the first that is.
        """
        return True

    def came_later(self, adapted: "AdaptedModel") -> set[str]:
        """Return parameters that this version trains and one before left as the base has them.

        Files of that version lack them.
        """
        return set()

    def outcome(self, adapted: "AdaptedModel") -> str | None:
        """Say in a few words what a training chose, for the run's summary; None if nothing."""
        return None

    def by_role(self) -> Mapping[str, ByRole]:
        """Return what parameters of a role are trained with, where it is not the run's own.

        See `adapters.roles` for the roles that there are.
        """
        return {}

    def uses(self, hook: str) -> bool:
        """Say whether a method has a hook of its own: training asks no other."""
        return getattr(type(self), hook) is not getattr(Hooks, hook)
