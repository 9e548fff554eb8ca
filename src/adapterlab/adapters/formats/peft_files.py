"""The two files of an adapter in PEFT's format, read."""

from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from adapterlab.adapters.checkpoint import UNREADABLE
from adapterlab.base.errors import CheckpointError
from adapterlab.base.reading import UnreadableError, parse_mapping, read_text

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of `adapter_config.json`.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = folder / CONFIG
    try:
        return parse_mapping(read_text(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; a PEFT adapter has one") from None
    except (OSError, UnreadableError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def read_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors by name, and what this program said beside them if it wrote the file.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file; have PEFT save with safe_serialization=True"
        ) from None
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from None
