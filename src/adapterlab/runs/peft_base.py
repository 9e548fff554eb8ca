"""The base of `base=peft`: a PEFT adapter in the weights that its model comes with."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.config.schema import Config, PeftBase

if TYPE_CHECKING:
    from torch import Tensor


def require_peft_base(config: Config, base: PeftBase, *, has_weights: bool) -> None:
    """Refuse what no weights need to be loaded for to see that it cannot be merged.

    Raises:
        ConfigError: the model comes without weights.
        CheckpointError: the folder holds no adapter, or one without a counterpart here.
    """
    from adapterlab.adapters.formats.peft_merged import require_mergeable_peft

    if not has_weights:
        raise ConfigError(
            f"base=peft: model={config.model['name']} comes without weights, which an adapter "
            "belongs to; allowed: trained, checkpoint, scratch"
        )
    folder = Path(base.path)
    if not folder.is_dir():
        raise CheckpointError(f"base.path={base.path}: no such folder")
    require_mergeable_peft(folder)


@dataclass(frozen=True)
class UnderPeft:
    """Weights under an adapter.

    Attributes:
        merged: with the adapter in them.
        classes: of its head, if they are known.
        without: as they were before, but for what the adapter saves whole; None if not asked for.
    """

    merged: "dict[str, Tensor]"
    classes: tuple[str, ...] | None
    without: "dict[str, Tensor] | None" = None


def weights_under(
    base: PeftBase,
    classes: tuple[str, ...],
    make: Callable[[int], nn.Module],
    *,
    without: bool = False,
) -> UnderPeft:
    """Return the weights that an adapter belongs to, and it in them.

    Args:
        base: says which adapter.
        classes: of the data set.
        make: returns the model with its own weights and a head for so many classes.
        without: return those without it as well.

    Raises:
        CheckpointError: the adapter is damaged, or belongs to other weights.
        ConfigError: its head should be kept, and there is none, or `base.classes` are not as many.
    """
    from adapterlab.adapters.formats.peft_merged import (
        classes_of_peft,
        head_outputs,
        merge_peft,
        take_whole,
        whole_of_peft,
    )

    folder = Path(base.path)
    named = classes_of_peft(folder) if base.classes is None else tuple(base.classes)
    model = make(len(named or classes))
    outputs = head_outputs(model, folder)
    if outputs is None:
        if base.head == "keep":
            raise ConfigError(f"base.head=keep: {base.path} has no head; allowed: new, auto")
        named = None
    elif named is not None and len(named) != outputs:
        raise ConfigError(
            f"base.classes names {len(named)} classes, and the head in {base.path} has {outputs}"
        )
    elif outputs != len(named or classes):
        model = make(outputs)
    before = None
    if without:
        plain = deepcopy(model)
        take_whole(plain, whole_of_peft(plain, folder))
        before = plain.state_dict()
    merge_peft(model, folder)
    return UnderPeft(model.state_dict(), named, before)
