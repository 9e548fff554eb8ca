"""What a training goes on from: a checkpoint is looked at before anything is taken from it.

It is read as tensors, numbers and texts (see `reading`), must have the parts that a checkpoint has,
and the parameters of this very model.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from adapterlab.base.errors import CheckpointError, with_type
from adapterlab.base.reading import UnreadableError, read_checkpoint

_PARTS: dict[str, type] = {
    "epoch": int,
    "global_step": int,
    "state_dict": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "history": dict,
}
"""Of Lightning's checkpoints, and of what the LightningModule adds."""

_HISTORY = TypeAdapter(dict[int, dict[str, float]])

_WRONG = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError)
"""What a checkpoint leads Lightning or torch to that has the right parts and odd things in them."""


def damaged(path: Path, why: object) -> CheckpointError:
    """Return the error for a checkpoint that nothing can go on from."""
    said = f" {why}".replace(" it ", " ", 1) if str(why).startswith("it ") else f": {why}"
    return CheckpointError(f"{path}{said}; delete {path.parent} to train anew")


def whole(checkpoint: Path, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Return what a checkpoint of Lightning's holds that a training can go on from.

    Args:
        checkpoint: the file.
        state: the model's, as the checkpoint must have it.

    Returns:
        Its parts; None if there is no checkpoint.

    Raises:
        CheckpointError: it is damaged, no checkpoint, or of another model.
    """
    if not checkpoint.is_file():
        return None
    saved = loaded(checkpoint)
    for part, kind in _PARTS.items():
        if not isinstance(saved.get(part), kind):
            raise damaged(checkpoint, f"it is no checkpoint of a run: it has no {part}")
    require_history(saved["history"], checkpoint)
    require_same(saved["state_dict"], state, checkpoint)
    return saved


def loaded(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint holds.

    Raises:
        CheckpointError: it cannot be read, or asks for code to be run.
    """
    try:
        saved = read_checkpoint(checkpoint)
    except UnreadableError as error:
        raise damaged(checkpoint, error) from None
    if not isinstance(saved, dict):
        raise damaged(checkpoint, f"it is no checkpoint but a {type(saved).__name__}")
    return saved


def require_history(history: object, checkpoint: Path) -> None:
    """Refuse a history that is none.

    Raises:
        CheckpointError: it is not metrics by epoch.
    """
    try:
        _HISTORY.validate_python(history, strict=True)
    except ValidationError:
        raise damaged(checkpoint, "its history is not metrics by epoch") from None


def require_same(saved: object, state: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Refuse the parameters of another model.

    Raises:
        CheckpointError: a name or a shape differs, or something is no tensor.
    """
    shapes = {}
    for name, tensor in saved.items() if isinstance(saved, dict) else ():
        shapes[name] = list(tensor.shape) if isinstance(tensor, Tensor) else None
    for name in [*state, *shapes]:
        own = list(state[name].shape) if name in state else None
        if shapes.get(name) != own:
            raise damaged(
                checkpoint,
                f"it belongs to another model: {name} is {shapes.get(name)} there and {own} here",
            )


@contextmanager
def restoring(checkpoint: Path | None, began: Callable[[], bool]) -> Iterator[None]:
    """Say in one line that a checkpoint cannot be gone on from.

    Args:
        checkpoint: what is gone on from; None where nothing is, and nothing is said.
        began: says whether training has begun; what goes wrong then is no fault of the checkpoint.

    Raises:
        CheckpointError: something in it is not what it should be.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except _WRONG as error:
        if checkpoint is None or began():
            raise
        why = f"it cannot be gone on from ({with_type(error)})"
        raise damaged(checkpoint, why) from error
