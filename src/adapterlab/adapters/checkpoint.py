"""Adapter checkpoints: the trained parameters alone, and what they belong to, as safetensors."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.adapters.weights import further_names
from adapterlab.base.errors import CheckpointError
from adapterlab.base.files import write_tensors

UNREADABLE = (SafetensorError, OSError, RuntimeError)
"""What a file raises that is no safetensors, or larger than what can be mapped."""

FORMAT = "adapterlab-adapter-1"

_ANGLE, _ROUNDING = 2**0.5, 1e-3


def save_adapter(adapted: AdaptedModel, path: Path, *, extra: dict[str, Any] | None = None) -> None:
    """Write what was trained, with the hash of the base weights it belongs to.

    The file appears whole or not at all, and is the same for the same parameters, byte for byte.

    Args:
        adapted: the model whose `state()` is saved.
        path: a `.safetensors` file.
        extra: more to keep in the file's metadata, JSON-serialisable (class names, say).
    """
    metadata = {
        "format": FORMAT,
        "strategy": type(adapted.strategy).__name__,
        "options": json.dumps(adapted.strategy.flat_options(), sort_keys=True),
        "base_sha256": adapted.base_hash,
        "extra": json.dumps(extra or {}, sort_keys=True),
    }
    if frozen := fingerprints(adapted):
        metadata["frozen"] = json.dumps(frozen, sort_keys=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in adapted.state().items()}
    write_tensors(path, tensors, metadata)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of an adapter checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, or not an adapter checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such adapter checkpoint") from None
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not an adapter checkpoint of this program ({FORMAT})")
    for key in ("strategy", "options", "base_sha256", "extra"):
        if key not in metadata:
            raise CheckpointError(f"{path} is not an adapter checkpoint: it does not say {key}")
    return metadata


def read_extra(path: Path) -> dict[str, Any]:
    """Return what was kept beside the parameters; nothing for a file of another program."""
    try:
        return _mapping(read_metadata(path)["extra"], path)
    except CheckpointError:
        return {}


def load_adapter(adapted: AdaptedModel, path: Path) -> None:
    """Load a checkpoint into a model under the same strategy over the same base weights.

    Raises:
        CheckpointError: the file is damaged, was trained over other base weights, beside other
            frozen state or under another strategy, or its parameters do not fit; nothing has been
            loaded then.
    """
    metadata = read_metadata(path)
    if metadata["base_sha256"] != adapted.base_hash:
        raise CheckpointError(
            f"{path} belongs to other base weights: it was trained over "
            f"{metadata['base_sha256'][:12]}, this model has {adapted.base_hash[:12]}"
        )
    # Names and shapes do not give alpha away, nor the scaling or the axis of a square layer.
    saved = {"strategy": metadata["strategy"], **_mapping(metadata["options"], path)}
    present = {
        "strategy": type(adapted.strategy).__name__,
        **json.loads(json.dumps(adapted.strategy.flat_options())),
    }
    for option in present | saved:
        if saved.get(option) != present.get(option):
            raise CheckpointError(
                f"{path} was saved under {saved['strategy']} and this model is under "
                f"{present['strategy']}: {option} is {saved.get(option)} in the file and "
                f"{present.get(option)} in the model"
            )
    _require_same_frozen(_mapping(metadata.get("frozen", "{}"), path), adapted, path)
    expected = adapted.state()
    try:
        with safe_open(path, framework="pt") as file:
            # Before any is read: a file of another model may have tensors of any size.
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            _require_fit(shapes, adapted, path)
            tensors = {name: file.get_tensor(name) for name in expected if name in shapes}
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from None
    with torch.no_grad():
        for name, tensor in tensors.items():
            expected[name].copy_(tensor)


def fingerprints(adapted: AdaptedModel) -> dict[str, list[float]]:
    """Return three numbers that tell each frozen tensor from any other, by its name in the model.

    Its norm, and its products with a cosine and a sine over its numbers: to rounding they are the
    same wherever it is made, which its bits are not (singular vectors, say).
    """
    found = {}
    for name, tensor in adapted.frozen_state(saved=False).items():
        flat = tensor.detach().flatten().to("cpu", torch.float64)
        angles = torch.arange(1, len(flat) + 1, dtype=torch.float64) * _ANGLE
        norm, waves = torch.linalg.vector_norm(flat), (angles.cos(), angles.sin())
        found[name] = [float(norm), *(float(flat @ wave) for wave in waves)]
    return found


def _require_same_frozen(saved: dict[str, Any], adapted: AdaptedModel, path: Path) -> None:
    present = fingerprints(adapted)
    for name in sorted(present.keys() | saved.keys()):
        there, here = saved.get(name), present.get(name)
        if there is None or here is None:
            side = "file" if here is None else "model"
            raise CheckpointError(f"{path} does not fit: only the {side} has frozen {name}")
        if not _close(there, here):
            raise CheckpointError(
                f"{path} was trained beside another frozen {name} than this model has; it is made "
                "from the strategy's seed or from the base"
            )


def _close(there: Any, here: list[float]) -> bool:
    if not isinstance(there, list) or len(there) != len(here):
        return False
    pairs = zip(there, here, strict=True)
    return all(isinstance(a, int | float) and abs(a - b) <= _ROUNDING * here[0] for a, b in pairs)


def _require_fit(shapes: dict[str, list[int]], adapted: AdaptedModel, path: Path) -> None:
    """Refuse other parameters than a model has.

    Earlier versions wrote frozen tensors that are tied under their other names, and left biases
    and norms as they were that are trained now: neither changes what was trained.
    """
    expected = adapted.state()
    known = further_names(adapted.model) | adapted.strategy.came_later(adapted)
    odd = sorted((shapes.keys() ^ expected.keys()) - known)
    if odd:
        raise CheckpointError(
            f"{path} does not fit {type(adapted.model).__name__}: {odd[0]} is only "
            f"{'in the file' if odd[0] in shapes else 'in the model'}"
        )
    for name in sorted(shapes.keys() & expected.keys()):
        own = expected[name]
        if list(own.shape) != shapes[name]:
            raise CheckpointError(
                f"{path}: {name} is {shapes[name]} in the file and {list(own.shape)} in the model"
            )


def _mapping(text: str, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not an adapter checkpoint: its metadata are no JSON")
    return values
