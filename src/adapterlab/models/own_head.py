"""The head that a checkpoint of transformers has, and the classes that it tells apart."""

import re
from typing import Any, cast

import torch
from torch import nn

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import AutoConfig, PreTrainedModel

from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.models.loading import UNAVAILABLE, cached_first, quiet, source_of, unavailable
from adapterlab.models.protocol import adaptable
from adapterlab.models.safe_loading import PLAIN, TENSORS

_NAMELESS = re.compile(r"LABEL_\d+")


def own_classes(name_or_path: str, revision: str | None = None) -> tuple[str, ...]:
    """Return the classes of a checkpoint's head, in the order of its outputs.

    Raises:
        ConfigError: there is no such checkpoint, or it does not name its classes.
    """
    try:
        source = source_of(name_or_path, revision)
        config = cached_first(AutoConfig.from_pretrained, source, revision, **PLAIN)
    except UNAVAILABLE as error:
        raise ConfigError(unavailable(name_or_path, error)) from None
    names = {int(label): str(name) for label, name in (config.id2label or {}).items()}
    if not names or all(_NAMELESS.fullmatch(name) for name in names.values()):
        raise ConfigError(
            f"base.head=keep: {name_or_path} does not name the classes of its head (id2label in "
            "its config.json), so nothing says that they are the data set's"
        )
    return tuple(names[label] for label in sorted(names))


def require_own_classes(
    name_or_path: str, classes: tuple[str, ...], revision: str | None = None
) -> None:
    """Refuse a head whose classes are not those of a data set, by name and in their order.

    Raises:
        ConfigError: they are not; or the checkpoint does not name them.
    """
    own = own_classes(name_or_path, revision)
    if own == classes:
        return
    if sorted(own) == sorted(classes):
        raise ConfigError(
            f"base.head=keep: the head of {name_or_path} has the data set's classes in another "
            f"order; dataset.classes=[{','.join(own)}] puts them into the head's"
        )
    odd = sorted(set(own) ^ set(classes))
    where = "head" if odd[0] in own else "data set"
    raise ConfigError(
        f"base.head=keep: the head of {name_or_path} has {len(own)} classes and the data set "
        f"{len(classes)}, which should agree by name: only the {where} has {odd[0]!r}"
    )


def load_own_head(model: nn.Module, name_or_path: str, revision: str | None = None) -> None:
    """Put a checkpoint's own head into a model that was made of it with a new one.

    Args:
        model: one of transformers in its wrapper, with as many classes.
        name_or_path: of the checkpoint.
        revision: of it on the hub.

    Raises:
        CheckpointError: the checkpoint has no head, or cannot be read.
    """
    inner = cast(PreTrainedModel, model.model)
    load: Any = type(inner).from_pretrained
    try:
        with quiet():
            own, report = cached_first(
                load,
                source_of(name_or_path, revision),
                revision,
                dtype=torch.float32,
                output_loading_info=True,
                **TENSORS,
            )
    except (*UNAVAILABLE, RuntimeError) as error:
        raise CheckpointError(unavailable(name_or_path, error)) from None
    for path in adaptable(model).head_modules:
        name = path.removeprefix("model.")
        if lacking := [key for key in report["missing_keys"] if key.startswith(f"{name}.")]:
            raise CheckpointError(
                f"base.head=keep: {name_or_path} has no {lacking[0]}: it is no classifier"
            )
        model.get_submodule(path).load_state_dict(own.get_submodule(name).state_dict())
