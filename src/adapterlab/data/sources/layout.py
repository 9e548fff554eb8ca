"""Where the splits of a user's data set are: in files or folders of their own, or in one."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import listed
from adapterlab.data.sources.unread_files import ROLES, require_kind, role_of

_OF_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx")
"""What systems and archivers leave in folders; they hide it from people."""


def visible(folder: Path) -> list[Path]:
    """What is in a folder, sorted, but for hidden files and what systems leave there."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name.lower() not in _OF_SYSTEMS
    )


def passed_over(home: Path) -> tuple[str, ...]:
    """Say which files of systems there are in a folder and those in it, if there are any."""
    found = [
        Path(where, name).relative_to(home).as_posix()
        for where, inside, names in os.walk(home)
        for name in (*inside, *names)
        if name.lower() in _OF_SYSTEMS
    ]
    return (f"passed over, being files of systems: {listed(sorted(found), 3)}",) if found else ()


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, but for those that nobody sees."""
    return [entry for entry in visible(folder) if entry.is_dir()]


def find_file(folder: Path, name: str, suffixes: Sequence[str]) -> Path | None:
    """The file of a split by its very name, in whichever format.

    Raises:
        DataError: there are several, or what has its name is no file.
    """
    named = [folder / f"{name}{suffix}" for suffix in suffixes]
    found = [file for file in named if require_kind(file, "file")]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise DataError(f"{folder} has {names}; which of them is the {name} split? keep one")
    return found[0] if found else None


def split_files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The file of each split that there is: by its very name, or by another that people give.

    Raises:
        DataError: two files may be one split.
    """
    found = {}
    for split in ROLES:
        file = find_file(folder, split, suffixes)
        if file is None:
            others = [
                path
                for path in visible(folder)
                if path.is_file()
                and path.suffix.lower() in suffixes
                and role_of(path.name) == split
            ]
            if len(others) > 1:
                names = ", ".join(path.name for path in others)
                raise DataError(f"{folder} has {names}; which of them is the {split} split?")
            file = others[0] if others else None
        if file is not None:
            found[split] = file
    return found


def split_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split that there is, by one of the names that people give it.

    Raises:
        DataError: two folders may be one split, or what has a split's name is no folder.
    """
    found: dict[str, Path] = {}
    for split, names in ROLES.items():
        there = [folder / name for name in names if require_kind(folder / name, "folder")]
        if len(there) > 1:
            both = ", ".join(path.name for path in there)
            raise DataError(f"{folder} has folders {both}; which of them is the {split} split?")
        if there:
            found[split] = there[0]
    return found


def called_otherwise(places: Mapping[str, Path]) -> list[str]:
    """Which splits have another name than ours, a sentence each."""
    return [
        f"{path.name} is read as the {split} split"
        for split, path in places.items()
        if path.name.partition(".")[0] != split
    ]


def class_folders(splits: Mapping[str, Path], classes: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the folders of classes, the same in every split.

    Args:
        splits: the folder of each split.
        classes: those to read, where the user names them.

    Raises:
        DataError: a split has no such folders, or others than train.
    """
    found = {split: [entry.name for entry in folders(path)] for split, path in splits.items()}
    names = list(classes or found["train"])
    for split, path in splits.items():
        if not found[split]:
            raise DataError(f"{path} has no class folders; wanted: {path}/<class>/<file>")
        differing = sorted(set(names) ^ set(found[split]))
        if classes is not None:
            differing = sorted(set(names) - set(found[split]))
        if differing:
            own = "dataset.classes" if classes is not None else str(splits["train"])
            raise DataError(
                f"{path} and {own} have different classes; only one of them has {listed(differing)}"
            )
    return tuple(names)
