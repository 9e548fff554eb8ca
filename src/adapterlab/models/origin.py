"""What files a model comes from, and a hash of what is in them, without loading them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from adapterlab.base.files import sha256

Folder = Callable[[Mapping[str, Any]], Path | None]
"""Takes a loader's options; returns the folder that it reads, None where that is not here yet."""

State = tuple[tuple[str, int, int], ...]
"""Names, times and sizes of files: while it is the same, so is what is in them."""

UNTOLD = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version",
          "id2label", "label2id", "problem_type"}  # fmt: skip
"""Entries of a config.json that change nothing about the features: the head is drawn anew."""

_MARK = "adapterlab_reads"
_SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".bin")

F = TypeVar("F", bound=Callable[..., Any])


def reads(folder: Folder) -> Callable[[F], F]:
    """Mark a loader of models or tokenizers as one that reads a folder, and say which.

    A run's provenance then has a hash of these files. Of a loader without the mark, what it loads
    is hashed itself, which takes longer.
    """

    def marked(load: F) -> F:
        setattr(load, _MARK, folder)
        return load

    return marked


def says_what_it_reads(load: Callable[..., Any]) -> bool:
    """Say whether a loader has the mark."""
    return hasattr(load, _MARK)


def folder_of(load: Callable[..., Any], options: Mapping[str, Any]) -> Path | None:
    """Return the folder that a marked loader reads; None where it is not here yet."""
    folder: Folder = getattr(load, _MARK)
    return folder(options)


def named(options: Mapping[str, Any]) -> Path | None:
    """Return the folder of the option `name_or_path`: a folder, or a snapshot of the hub's."""
    return here(str(options["name_or_path"]), options.get("revision"))


def here(name_or_path: str, revision: str | None = None) -> Path | None:
    """Return a folder that is here, or the hub's snapshot of that name; None if there is none."""
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(name_or_path, "config.json", revision=revision)
    except ValueError:  # no name that the hub could have
        return None
    return Path(config).parent if isinstance(config, str) else None


def state_of(folder: Path) -> State:
    """Return what changes when a file of a model or tokenizer in a folder does."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES]
    stats = [(path.name, path.stat()) for path in found if path.is_file()]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


def model_hash(folder: Path, *, weights: bool) -> str:
    """Return 12 hex digits for a model's architecture, and for its weights.

    Args:
        folder: as `save_pretrained` writes it.
        weights: whether they count.
    """
    return _model_hash(folder, state_of(folder), weights)


@lru_cache(maxsize=64)
def _model_hash(folder: Path, state: State, weights: bool) -> str:
    """Hash files once, as long as they are not changed: they may be gigabytes."""
    digest = hashlib.sha256(_architecture(folder / "config.json"))
    for path in _weights_in(folder) if weights else ():
        digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()[:12]


def _architecture(path: Path) -> bytes:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return b""  # whoever loads it says so
    if not isinstance(values, dict):
        return b""
    kept = {key: value for key, value in values.items() if key not in UNTOLD}
    return json.dumps(kept, sort_keys=True).encode()


def _weights_in(folder: Path) -> list[Path]:
    """Return the files that `transformers` takes the weights from: safetensors before pickles."""
    for stem, suffix in (("model", ".safetensors"), ("pytorch_model", ".bin")):
        single, index = folder / f"{stem}{suffix}", folder / f"{stem}{suffix}.index.json"
        if single.is_file():
            return [single]
        if index.is_file():
            return [index, *sorted(folder.glob(f"{stem}-*-of-*{suffix}"))]
    return []
