"""A user's own images: a folder for each class, in one for each split; or labels in a file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adapterlab.data.sources.cache import cached, fingerprint
from adapterlab.data.sources.columns import Columns
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.sources.cutting import Cutting
from adapterlab.data.sources.decode import SAID, Encoded, Lost, background_of, decode
from adapterlab.data.sources.image_listing import Asked, list_images
from adapterlab.data.sources.labelling import Reading
from adapterlab.data.sources.layout import passed_over
from adapterlab.data.sources.tables import Written
from adapterlab.data.splits import ImageSplit, ImageSplits


def image_folder(
    context: LoadContext,
    path: str | Path,
    *,
    background: str | Sequence[int] | None = None,
    labels: str | None = None,
    image_column: str | None = None,
    label_column: str | list[str] | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    test: float = 0.2,
    test_seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
    label_separator: str | None = None,
) -> ImageSplits:
    """Read ``<path>/{train,test[,val]}/<class>/<image>``, or ``<path>/<class>/<image>``.

    Of folders of classes alone a test split is cut off here. Classes are the sorted folder names.
    Images are RGB unless all are grayscale, and of ``context.shape``: resized bilinearly with
    antialiasing as they are decoded. Where that is None, they keep their common size; where they
    have none, they are brought to the shape of the model, which a note says. Transparency is
    dropped unless a background is named, as are all but the first frame and the lower 8 of 16 bits,
    which notes say. Hidden files, and what systems leave in folders (``Thumbs.db``), are passed
    over. The decoded images are cached until a file changes.

    Args:
        context: where to look for a relative path, the cache, and the shape.
        path: the folder.
        background: what transparent images are put on: a colour's name, ``#rrggbb`` or three
            numbers; None drops the transparency.
        labels: a file of labels in the folder, where folders do not say them: a column of file
            names and one of labels, maybe one of splits and one of groups.
        image_column: of that file: the names of files, with or without folders and suffix; None
            finds it by its name.
        label_column: of that file, likewise; of several labels there may be a column for each.
        split_column: of that file; None takes ``split``, if there is one.
        group_column: of that file: images of one group are never parted by a cut.
        test: the share of images that is cut off for the test, where there is no such split.
        test_seed: of that cut.
        folds: cut into so many parts instead, for small sets.
        fold: the part that is the test split.
        label_separator: between several labels in one cell; None finds it, and says so.

    Raises:
        DataError: a folder is missing, empty or unknown, the splits' classes differ, a file is no
            image or damaged, an image has no label, or sizes differ where no shape is known.
        ConfigError: the background is no colour, or an option of the cut is outside of its domain.
    """
    root = context.folder(path)
    colour = background_of(background)
    asked = Asked(
        labels,
        Columns(None, label_column, image_column, split_column, group_column),
        Written(),
        Cutting(test, test_seed, folds, fold, context.trained),
        Reading(context.task, label_separator),
    )
    listing = list_images(root, asked)
    parts = listing.parts

    def build() -> ImageSplits:
        lost = Lost(colour)
        images = decode(
            [_encoded(part.files) for part in parts.values()],
            context.shape,
            title=root.name,
            lost=lost,
            fallback=context.of_model,
        )
        splits = {
            name: ImageSplit(tensor, part.labels)
            for (name, part), tensor in zip(parts.items(), images, strict=True)
        }
        return ImageSplits(
            train=splits["train"],
            test=splits["test"],
            validation=splits.get("validation"),
            classes=listing.classes,
            notes=lost.notes(),
        )

    files = [file for part in parts.values() for file in part.files]
    labelled = {name: part.labels.tolist() for name, part in parts.items()}
    key: list[object] = [
        "image_folder",
        SAID,
        fingerprint(files),
        labelled,
        listing.classes,
        context.shape,
    ]
    if colour or context.of_model:
        key.append(["on", colour, context.of_model])
    splits = cached(context.cache, root.name, key, build)
    origins = {name: part.origin() for name, part in parts.items()}
    splits = replace(splits, origins=origins, groups=listing.groups)
    return splits.with_notes(*listing.notes, *passed_over(root))


def _encoded(files: Sequence[Path]) -> Encoded:
    return Encoded(count=len(files), read=lambda i: files[i], name=lambda i: str(files[i]))
