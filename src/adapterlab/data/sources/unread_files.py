"""Files that are not read though they say by their names that they are splits."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import listed

ROLES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "heldout", "holdout"),
    "validation": ("validation", "valid", "val", "dev", "develop", "development", "eval"),
}
"""How people call each split."""

_TABLES = (
    *("csv", "tsv", "tab", "txt", "json", "jsonl", "ndjson", "jsonlines", "parquet", "pq"),
    *("arrow", "feather", "xlsx", "xls", "ods", "npz", "zip", "tar", "tgz", "7z"),
)
_NAME = re.compile(
    r"(?P<stem>[a-z]+)(?:[-_.]?(?:set|split|data))?(?:[-_.]?\d+(?:[-_]of[-_]\d+)?)?"
    rf"\.(?:{'|'.join(_TABLES)})(?:\.(?:gz|bz2|xz|zst|zip))?"
)


def role_of(name: str) -> str | None:
    """Which split a file's name says it is, in any of the ways that people write; None if none."""
    match = _NAME.fullmatch(name.casefold())
    if match is None:
        return None
    return next((role for role, names in ROLES.items() if match["stem"] in names), None)


def unread(
    folder: Path, read: Mapping[str, Path], wanted: str, *, refuse: bool = True
) -> tuple[str, ...]:
    """Look for files that say they are splits and are not read.

    Args:
        folder: of the data set.
        read: the file or folder of each split that is read.
        wanted: how the name of a split that is read goes on, in words.
        refuse: whether the split that such a file says to be must be read if it is there.

    Returns:
        A sentence that names them, if there are any.

    Raises:
        DataError: there is one of a split that would be read under another name, and is not there.
    """
    own = {path.name for path in read.values()}
    passed_over = []
    for path in sorted(folder.iterdir()):
        role = role_of(path.name)
        if role is None or path.name in own or path.is_dir():
            continue
        if refuse and role not in read:
            raise DataError(
                f"{path} is not read: the {role} split is {folder}/{role}{wanted}; rename or "
                "convert it, or move it away"
            )
        passed_over.append(path.name)
    if not passed_over:
        return ()
    return (f"{', '.join(sorted(own))} are read, {listed(passed_over, 5)} beside them not",)


def require_kind(path: Path, kind: Literal["file", "folder"]) -> bool:
    """Whether there is a file, or a folder, of this name.

    Raises:
        DataError: the name is there, but leads to something else or to nothing.
    """
    if path.is_file() if kind == "file" else path.is_dir():
        return True
    if not os.path.lexists(path):
        return False
    found = "a link that leads nowhere"
    if path.exists():
        found = "a folder" if path.is_dir() else "a file" if path.is_file() else "no ordinary file"
    raise DataError(f"{path} is {found}; wanted: a {kind}")
