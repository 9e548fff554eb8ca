"""The base of `base=peft`: a PEFT adapter in the weights that its model comes with."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from adapterlab.adapters.formats.peft_files import CONFIG
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.config.schema import Config, PeftBase

if TYPE_CHECKING:
    from torch import Tensor

UNIT, OWN_UNIT = "unit", "own"
"""What a file of an adapter says of the numbers of its head."""

_FOLDER, _WHOLE = "peft", "model.safetensors"
"""The adapter's folder in that of a run; the file of weights in that of an exported model."""


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
    if folder.is_file():
        raise CheckpointError(
            f"base.path={base.path} is a file, and an adapter is a folder; weights of a whole "
            "model in a file are base=checkpoint"
        )
    if not folder.is_dir():
        raise CheckpointError(f"base.path={base.path}: no such folder")
    if not (folder / CONFIG).exists() and (folder / _FOLDER / CONFIG).is_file():
        raise CheckpointError(
            f"base.path={base.path} is a run; its adapter is base.path={folder / _FOLDER}"
        )
    require_mergeable_peft(folder)


def require_file(path: str) -> None:
    """Refuse a place where no weights of a whole model can be read, `base.path` of a checkpoint.

    Raises:
        CheckpointError: there is no file; of a folder the text says what may have been meant.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return
    if not place.is_dir():
        raise CheckpointError(f"base.path={path}: no such file")
    further = ""
    for folder in (place, place / _FOLDER):
        if (folder / CONFIG).is_file():
            further = f"; an adapter is base=peft base.path={folder}"
    if (place / _WHOLE).is_file():
        further = f", such as base.path={place / _WHOLE}"
    raise CheckpointError(f"base.path={path} is a folder; allowed: a file of weights{further}")


def says_own_unit(folder: Path) -> bool:
    """Say whether the head in an adapter's file says numbers in their own unit.

    That of another program does; one of here says so, where it is not of an older version.
    """
    from adapterlab.adapters.formats.peft_files import read_weights

    _, metadata = read_weights(folder)
    return "base_sha256" not in metadata or metadata.get(UNIT) == OWN_UNIT


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
