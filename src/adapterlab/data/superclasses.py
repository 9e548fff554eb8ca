"""Coarser labels for the same images: classes joined into a few, or all but a few left out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.config.class_names import complaint, listed
from adapterlab.data.splits import ImageSplit, ImageSplits

Superclasses = Mapping[str, Sequence[str]]
"""The classes that each new one consists of, by its name."""


def require_superclasses(superclasses: Superclasses | None, classes: Sequence[str]) -> None:
    """Refuse superclasses that do not fit a data set, before it is read.

    Raises:
        ConfigError: fewer than two, names that a reader would confuse, one without a class, or a
            class that there is not or that is in two.
    """
    if superclasses is None:
        return
    where = "dataset.loader.superclasses"
    if len(superclasses) < 2:
        raise ConfigError(f"{where} has {len(superclasses)} classes; allowed: two or more")
    if said := complaint(list(superclasses)):
        raise ConfigError(f"{where}: {said}")
    home: dict[str, str] = {}
    for name, parts in superclasses.items():
        if not parts:
            raise ConfigError(f"{where}.{name} has no class; {allowed('', classes)}")
        for part in parts:
            if part not in classes:
                raise ConfigError(f"{where}.{name}: {part} is no class; {allowed(part, classes)}")
            if part in home:
                raise ConfigError(f"{where}: {part} is in {home[part]} and in {name}; allowed: one")
            home[part] = name


def joined(name: str, splits: ImageSplits, superclasses: Superclasses | None) -> ImageSplits:
    """Label images with superclasses; those of a class that is in none are left out.

    Args:
        name: of the data set, for what a reader is told.
        splits: with one label an image.
        superclasses: see `require_superclasses`, in the order of the new labels; None changes
            nothing.

    Raises:
        DataError: a split has no image of them.
    """
    if superclasses is None:
        return splits
    new = torch.full((len(splits.classes),), -1)
    for label, parts in enumerate(superclasses.values()):
        new[[splits.classes.index(part) for part in parts]] = label
    labels = {kind: new[split.labels] for kind, split in splits.named().items()}
    rows = {kind: (found >= 0).nonzero().flatten() for kind, found in labels.items()}
    whole = bool((new >= 0).all())
    kept = {
        kind: ImageSplit(split.images, labels[kind])
        if whole
        else ImageSplit(split.images[rows[kind]], labels[kind][rows[kind]])
        for kind, split in splits.named().items()
    }
    origins = splits.origins
    if not whole:
        origins = {kind: one.part(rows[kind].tolist()) for kind, one in origins.items()}
    called = [
        label if list(parts) == [label] else f"{label} ({listed(parts)})"
        for label, parts in superclasses.items()
    ]
    left = [part for part, label in zip(splits.classes, new.tolist(), strict=True) if label < 0]
    told = f"the classes of {name} are {', '.join(called[:-1])} and {called[-1]}"
    return replace(
        splits,
        train=kept["train"],
        test=kept["test"],
        validation=kept.get("validation"),
        classes=tuple(superclasses),
        origins=origins,
        groups=None if splits.groups is None else splits.groups[rows["train"]],
    ).with_notes(told if whole else f"{told}, without {listed(left)}")
