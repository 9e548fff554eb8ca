"""Which files of a folder are which split's images, and the label of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from adapterlab.base.errors import DataError, allowed
from adapterlab.config.class_names import listed
from adapterlab.data.origin import Origin
from adapterlab.data.sources import layout
from adapterlab.data.sources.columns import Columns
from adapterlab.data.sources.cutting import (
    Cutting,
    by_column,
    cut,
    groups_in_both,
    numbered,
    takes_column,
)
from adapterlab.data.sources.labelling import ONE_LABEL, Labelled, Labelling, Reading
from adapterlab.data.sources.notes import said
from adapterlab.data.sources.second_file import Labels, keys_of, looked_up, read_labels
from adapterlab.data.sources.tables import AS_FOUND, Written
from adapterlab.data.sources.unread_files import unread

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif"),
)
_OURS = {"train": "train", "test": "test", "validation": "val"}


@dataclass(frozen=True)
class Asked:
    """What the user says about a folder of images.

    Attributes:
        labels: the file of the labels, where folders do not say them.
        columns: of that file.
        written: how it is written.
        cutting: how a test split is cut where there is none.
        reading: how labels are read.
    """

    labels: str | None = None
    columns: Columns = field(default_factory=Columns)
    written: Written = AS_FOUND
    cutting: Cutting = field(default_factory=Cutting)
    reading: Reading = ONE_LABEL


@dataclass(frozen=True)
class Part:
    """The images of one split.

    Attributes:
        home: the folder that they are in.
        files: the images.
        labels: of each, as `targets.task_of` says.
        numbers: of each among all images of the home, where there are other splits' as well.
        ids: what the file of labels calls each; None without one.
    """

    home: Path
    files: Sequence[Path]
    labels: Tensor
    numbers: Sequence[int] | None = None
    ids: Sequence[str] | None = None

    def origin(self) -> Origin:
        """What to call the images."""
        return Origin(self.home, _names(self), self.numbers, self.ids)


@dataclass(frozen=True)
class Listing:
    """A data set before any image is read.

    Attributes:
        classes: their names, in the order of the indices.
        parts: of each split: train, test and perhaps validation.
        notes: how they were found, a sentence each.
        groups: of the training images, where groups were named.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, Part]
    notes: tuple[str, ...] = ()
    groups: Tensor | None = None


def list_images(root: Path, asked: Asked) -> Listing:
    """Find the images of each split, see :func:`~.image_folder.image_folder`.

    Raises:
        DataError: what is a split or a class cannot be told; the text names the folder or file.
    """
    splits = layout.split_folders(root)
    if asked.labels is not None:
        return _labelled(root, splits, asked)
    if not splits:
        return _cut(root, asked)
    for folder in layout.folders(root):
        if folder not in splits.values():
            options = allowed(folder.name, _OURS.values())
            raise DataError(f"{folder} is no split of an image folder; {options}")
    for split in ("train", "test"):
        if split not in splits:
            raise DataError(
                f"{root / split} is missing; wanted: {root}/{{train,test}}/<class>/<image>"
            )
    asked.cutting.require_unasked(f"there is one: {splits['test']}")
    splits = {split: splits[split] for split in _OURS if split in splits}
    classes = layout.class_folders(splits, None)
    notes = (
        *unread(root, splits, "/<class>/<image>"),
        *(
            f"{folder.name} is read as the {split} split"
            for split, folder in splits.items()
            if folder.name not in (split, _OURS[split])
        ),
    )
    parts = {split: _of_classes(folder, classes) for split, folder in splits.items()}
    return Listing(classes, parts, notes)


def _of_classes(folder: Path, classes: Sequence[str]) -> Part:
    for entry in layout.visible(folder):
        if entry.is_file() and _is_image(entry):
            raise DataError(f"{entry} is in no class folder; wanted: {folder}/<class>/{entry.name}")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = layout.visible(folder / name)
        if not inside:
            raise DataError(f"{folder / name} has no images; add some, or remove the class")
        for file in inside:
            if not file.is_file() or not _is_image(file):
                raise DataError(f"{file} is not an image; allowed: {', '.join(SUFFIXES)}")
        files.extend(inside)
        labels.extend([label] * len(inside))
    return Part(folder, files, torch.tensor(labels))


def _cut(root: Path, asked: Asked) -> Listing:
    """A folder of classes, of whose images some are cut off for the test."""
    classes = tuple(entry.name for entry in layout.folders(root))
    if len(classes) == 1 and any(map(_is_image, layout.visible(root / classes[0]))):
        raise DataError(
            f"{root} has the images of one class only, {classes[0]}: nothing can be learnt; "
            f"wanted: {root}/<class>/<image> of two classes or more"
        )
    if len(classes) < 2:
        there = listed([entry.name for entry in layout.visible(root)], 5) or "nothing"
        raise DataError(
            f"{root / 'train'} is missing; wanted: {root}/{{train,test}}/<class>/<image>, or "
            f"{root}/<class>/<image>, of which a test split is cut; there is: {there}"
        )
    whole = _of_classes(root, classes)
    rows, note = cut(whole.labels, classes, asked.cutting, None, root.name, _names(whole))
    return Listing(classes, _parts(whole, rows), (note,))


def _parts(whole: Part, rows: Mapping[str, Tensor]) -> dict[str, Part]:
    return {
        split: Part(
            whole.home,
            [whole.files[row] for row in found.tolist()],
            whole.labels[found],
            found.tolist(),
            None if whole.ids is None else [whole.ids[row] for row in found.tolist()],
        )
        for split, found in rows.items()
    }


def _labelled(root: Path, splits: Mapping[str, Path], asked: Asked) -> Listing:
    """Images whose labels are in a file."""
    assert asked.labels is not None
    path = root / asked.labels
    if not path.is_file():
        raise DataError(f"dataset.loader.labels={asked.labels}: {path} is no file")
    labels = read_labels(path, asked.columns, asked.written, asked.reading)
    how, column = asked.cutting, asked.columns.split or "split"
    named = bool(labels.splits) and takes_column(asked.columns.split, how, path.name)
    if named or not {"train", "test"} <= splits.keys():
        homes = {"all": root}
    else:
        how.require_unasked(f"there is one: {splits['test']}")
        homes = {split: splits[split] for split in _OURS if split in splits}
    found = {name: _images_in(home) for name, home in homes.items()}
    keys: dict[str, list[str]] = {}
    found_out = list(labels.notes)
    for name, files in found.items():
        home = homes[name]
        candidates = [tuple(dict.fromkeys((*keys_of(f, root), *keys_of(f, home)))) for f in files]
        keys[name], left = looked_up(candidates, [str(file) for file in files], labels)
        found_out += left if len(homes) == 1 else ()
    notes = list(said(found_out))
    learnt = keys["all"] if "all" in keys else keys["train"]
    labelling = _labelling(learnt, labels, asked)
    classes = labelling.classes
    parts = {
        name: Part(
            homes[name], files, labelling.tensor(_of_keys(keys[name], labels)), ids=keys[name]
        )
        for name, files in found.items()
    }
    groups = _groups(keys, labels, asked)
    if "all" not in parts:
        notes += _parted_groups(keys, labels, asked)
        return Listing(classes, parts, tuple(notes), groups.get("train"))
    whole = parts["all"]
    if named:
        values = [labels.splits[key] for key in keys["all"]]
        rows = by_column(values, _names(whole), str(path), column)
        notes.append(f"{path.name} names the split of each image")
        own = {name: [keys["all"][row] for row in found.tolist()] for name, found in rows.items()}
        notes += _parted_groups(own, labels, asked)
    else:
        by = groups.get("all")
        passed_over = column if labels.splits else None
        rows, note = cut(whole.labels, classes, how, by, root.name, _names(whole), passed_over)
        notes.append(note)
    of_train = None if "all" not in groups else groups["all"][rows["train"]]
    return Listing(classes, _parts(whole, rows), tuple(notes), of_train)


def _names(part: Part) -> list[str]:
    return [str(file.relative_to(part.home)) for file in part.files]


def _labelling(learnt: Sequence[str], labels: Labels, asked: Asked) -> Labelling:
    """How labels become a tensor, from those of the training images."""
    label = asked.columns.label
    several = () if label is None or isinstance(label, str) else tuple(label)
    return Labelling.of(asked.reading.task, _of_keys(learnt, labels), None, several)


def _of_keys(keys: Sequence[str], labels: Labels) -> Labelled:
    """The labels of some images; those of one label are names, whatever they look like."""
    own = [labels.of[key] for key in keys]
    return Labelled(labels.path, own, keys, column=labels.column)


def _groups(keys: Mapping[str, Sequence[str]], labels: Labels, asked: Asked) -> dict[str, Tensor]:
    column = asked.columns.group
    if column is None:
        return {}
    return {
        name: numbered([labels.groups[key] for key in some], some, str(labels.path), column)
        for name, some in keys.items()
    }


def _parted_groups(
    keys: Mapping[str, Sequence[str]], labels: Labels, asked: Asked
) -> tuple[str, ...]:
    """Say which groups are in two splits that were not cut here."""
    if (column := asked.columns.group) is None:
        return ()
    return groups_in_both(
        {name: [labels.groups[key] for key in some] for name, some in keys.items()}, column
    )


def _images_in(folder: Path) -> list[Path]:
    """All images in a folder and in the folders in it.

    Raises:
        DataError: there is none.
    """
    found: list[Path] = []
    for entry in layout.visible(folder):
        if entry.is_dir():
            found.extend(_images_in(entry))
        elif _is_image(entry):
            found.append(entry)
    if not found:
        raise DataError(f"{folder} has no images; allowed: {', '.join(SUFFIXES)}")
    return found


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES
