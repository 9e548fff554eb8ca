"""A user's own data: names that follow their paths, and paths that mean the same from anywhere.

It loads no torch: names and paths are settled before anything else is done.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_OF_SPLITS = ("train", "training", "data", "all")


def own_name(path: str) -> str:
    """Return what to call data that are in a file or folder: ``reviews-1c9a4f``.

    The last part of the path is for people; the digits are of the whole path, so that no two
    places share a name.

    Args:
        path: as it is in a configuration.
    """
    where = Path(path)
    words = where.stem if where.suffix else where.name
    if where.suffix and words.lower() in _OF_SPLITS:
        words = f"{where.parent.name}-{words}"
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-")[:40]
    digits = hashlib.sha256(path.encode()).hexdigest()[:6]
    return f"{plain or 'data'}-{digits}"


def is_own(loader: Mapping[str, Any]) -> bool:
    """Say whether a data set's loader reads a user's own data: its options name their path."""
    return "path" in loader


def settled(values: Any, search: Sequence[Path]) -> Any:
    """Return a data set's node with a name and a path of its own, if it is a user's.

    A data set that still has the name of its loader gets one of its path. A relative path that
    leads from the working folder is made absolute; one that leads from a search folder stays.

    Args:
        values: the node, or anything else, which stays as it is.
        search: folders that relative paths are looked for in first.
    """
    loader = values.get("loader") if isinstance(values, dict) else None
    if not isinstance(loader, dict) or not isinstance(path := loader.get("path"), str) or not path:
        return values
    path = _from_anywhere(path, search)
    name = values.get("name")
    if name == loader_name(loader):
        name = own_name(path)
    return {**values, "name": name, "loader": {**loader, "path": path}}


def loader_name(loader: dict[str, Any]) -> str:
    """Return the name of the function that loads a data set."""
    return str(loader.get("_target_")).rpartition(".")[2]


def _from_anywhere(path: str, search: Sequence[Path]) -> str:
    wanted = Path(path).expanduser()
    if wanted.is_absolute():
        return str(wanted)
    if any((folder / wanted).exists() for folder in search) or not wanted.exists():
        return path
    return str(wanted.resolve())
