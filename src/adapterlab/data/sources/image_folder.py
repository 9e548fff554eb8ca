"""A user's own images: a folder for each split, in it a folder for each class."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from adapterlab.base.errors import DataError, allowed
from adapterlab.data.origin import Origin
from adapterlab.data.sources.cache import cached, fingerprint
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.sources.decode import Encoded, Lost, decode
from adapterlab.data.sources.strays import require_kind, unread
from adapterlab.data.splits import ImageSplit, ImageSplits

_SPLITS = {"train": "train", "test": "test", "validation": "val"}  # name of the folder of each
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


_OF_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx")
"""What systems and archivers leave in folders; they hide it from people."""


class _Listing(NamedTuple):
    """The files of one split, and the label of each."""

    files: list[Path]
    labels: list[int]


def image_folder(context: LoadContext, path: str | Path) -> ImageSplits:
    """Read ``<path>/{train,test[,val]}/<class>/*.{png,jpg,jpeg,bmp,webp}``.

    Classes are the sorted folder names. Images are RGB unless all are grayscale, and of
    ``context.shape``: resized bilinearly with antialiasing as they are decoded. Transparency and
    all but the first frame are dropped, which a note says. Hidden files, and what systems leave in
    folders (``Thumbs.db``), are passed over. The decoded images are cached until a file changes.

    Args:
        context: where to look for a relative path, the cache, and the shape.
        path: the folder.

    Raises:
        DataError: a folder is missing, empty or unknown, the splits' classes differ, a file is no
            image or damaged, or sizes differ where no shape is set.
    """
    root = context.folder(path)
    classes, listings = _listings(root)
    notes = unread(root, {name: root / _SPLITS[name] for name in listings}, "/<class>/<image>")

    def build() -> ImageSplits:
        encoded = [_encoded(listing.files) for listing in listings.values()]
        lost = Lost()
        images = decode(encoded, context.shape, title=root.name, lost=lost)
        splits = {
            name: ImageSplit(tensor, torch.tensor(listing.labels))
            for (name, listing), tensor in zip(listings.items(), images, strict=True)
        }
        return ImageSplits(
            train=splits["train"],
            test=splits["test"],
            validation=splits.get("validation"),
            classes=classes,
            notes=lost.notes(),
        )

    files = [file for listing in listings.values() for file in listing.files]
    labels = {name: listing.labels for name, listing in listings.items()}
    key = ["image_folder", fingerprint(files), labels, classes, context.shape]
    origins = {
        name: Origin(
            home := root / _SPLITS[name], [str(f.relative_to(home)) for f in listing.files]
        )
        for name, listing in listings.items()
    }
    splits = cached(context.cache, root.name, key, build)
    return replace(splits, origins=origins).with_notes(*notes)


def _encoded(files: list[Path]) -> Encoded:
    return Encoded(count=len(files), read=lambda i: files[i], name=lambda i: str(files[i]))


def _listings(root: Path) -> tuple[tuple[str, ...], dict[str, _Listing]]:
    """The class names, and the files of each split that exists."""
    for folder in _folders(root):
        if folder.name not in _SPLITS.values():
            options = allowed(folder.name, _SPLITS.values())
            raise DataError(f"{folder} is no split of an image folder; {options}")
    folders = {name: root / folder for name, folder in _SPLITS.items()}
    if not require_kind(folders["validation"], "folder"):
        del folders["validation"]
    classes: list[str] = []
    listings = {}
    for name, folder in folders.items():
        if not folder.is_dir():
            raise DataError(f"{folder} is missing; wanted: {root}/{{train,test}}/<class>/<image>")
        found = [entry.name for entry in _folders(folder)]
        if not found:
            raise DataError(f"{folder} has no class folders; wanted: {folder}/<class>/<image>")
        classes = classes or found
        if found != classes:
            differing = sorted(set(found) ^ set(classes))
            raise DataError(
                f"{folder} and {folders['train']} have different classes; only one of them has "
                f"{', '.join(differing)}"
            )
        listings[name] = _list_split(folder, classes)
    return tuple(classes), listings


def _list_split(folder: Path, classes: list[str]) -> _Listing:
    listing = _Listing([], [])
    for entry in _visible(folder):
        if entry.is_file() and entry.suffix.lower() in _SUFFIXES:
            raise DataError(f"{entry} is in no class folder; wanted: {folder}/<class>/{entry.name}")
    for label, name in enumerate(classes):
        files = _visible(folder / name)
        if not files:
            raise DataError(f"{folder / name} has no images; add some, or remove the class")
        for file in files:
            if not file.is_file() or file.suffix.lower() not in _SUFFIXES:
                raise DataError(f"{file} is not an image; allowed: {', '.join(_SUFFIXES)}")
        listing.files.extend(files)
        listing.labels.extend([label] * len(files))
    return listing


def _visible(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name.lower() not in _OF_SYSTEMS
    )


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _visible(folder) if entry.is_dir()]
