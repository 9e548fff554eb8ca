"""Published text data sets: local files first, the Hugging Face hub second."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

import datasets
import huggingface_hub
import torch

from adapterlab.base.errors import ConfigError, DataError, first_line
from adapterlab.data.origin import Origin
from adapterlab.data.scrutiny import without_example
from adapterlab.data.sources.columns import Columns
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.sources.download import download
from adapterlab.data.sources.labelling import Reading
from adapterlab.data.sources.layout import find_file
from adapterlab.data.sources.text_files import WANTED, read_text_splits
from adapterlab.data.sources.text_sets import Asked
from adapterlab.data.sources.text_tables import SUFFIXES
from adapterlab.data.sources.unread_files import unread
from adapterlab.data.splits import TextSplit, TextSplits

_OF_MNLI = ("validation_matched", "validation_mismatched")
TestSplit = Literal["test", "validation", "validation_matched", "validation_mismatched", "both"]
"""Official splits that may be the test split; the last are MNLI's, and both of these."""

_SILENCE_SECONDS = 10.0


def hub_text(
    context: LoadContext,
    folder: str,
    hub_path: str,
    hub_config: str | None = None,
    text_column: str | list[str] = "text",
    label_column: str = "label",
    classes: Sequence[str] | None = None,
    test_split: TestSplit = "test",
    has_validation: bool = False,
    absent_classes: int = 0,
    empty_texts: bool = False,
) -> TextSplits:
    """Read a text data set of the hub from ``<search>/<folder>/<split>.{parquet,csv,...}``.

    The search folder is the first that has all splits. Where there is none, they are loaded
    from the hub by `datasets` and put as parquet files into the download folder, so that they are
    loaded once and can be carried to a machine without a network.

    Args:
        context: where to look and to put downloads.
        folder: the data set's folder in a search folder.
        hub_path: its name on the hub, such as ``stanfordnlp/imdb``.
        hub_config: which of its configurations.
        text_column: name of the column of texts, or ``[first,second]`` of pairs.
        label_column: name of the column of labels.
        classes: class names for files that do not state them, in the order of the indices.
        test_split: ``validation`` where the test labels are not published (as in GLUE), one of the
            two that MNLI has, or ``both``, one after the other: the official validation split is
            then the test split, and a note says so.
        has_validation: whether there is an official validation split besides the test split.
        absent_classes: so many of `classes`, the last, have no example: outputs of the head that
            are never right, for reproducing results that were obtained with them.
        empty_texts: of pairs one text may be empty; a note says of how many it is.

    Raises:
        ConfigError: absent classes without two others.
        DataError: neither local files nor a download, or a file is broken (see
            :func:`~adapterlab.data.sources.text_files.text_files`).
    """
    names = tuple(classes or ())
    if not 0 <= absent_classes <= max(len(names) - 2, 0):
        raise ConfigError(
            f"dataset.loader.absent_classes={absent_classes} of {len(names)} dataset.classes; "
            f"allowed: 0 to {max(len(names) - 2, 0)}, so that two classes are left"
        )
    names, absent = names[: len(names) - absent_classes], names[len(names) - absent_classes :]
    both = test_split == "both"
    sources = {"train": "train", "test": _OF_MNLI[0] if both else test_split}
    if both:
        sources["validation"] = _OF_MNLI[1]
    elif has_validation:
        sources["validation"] = "validation"
    splits = tuple(dict.fromkeys(sources.values()))
    place = next(
        (
            place / folder
            for place in (*context.search, context.download)
            if all(find_file(place / folder, split, SUFFIXES) for split in splits)
        ),
        None,
    ) or _downloaded(context, folder, hub_path, hub_config, splits)
    files = {
        role: file for role, split in sources.items() if (file := find_file(place, split, SUFFIXES))
    }
    asked = Asked(
        Columns(text_column, label_column),
        names,
        reading=Reading(context.task),
        empty_texts=empty_texts,
    )
    data = read_text_splits(files, asked)
    data = data.with_notes(*unread(place, files, "", refuse=False))
    if both:
        data = _tested_together(data, place)
    if absent:
        data = replace(data, classes=(*data.classes, *absent)).with_notes(
            without_example(len(absent), len(data.classes) + len(absent))
        )
    if test_split != "test":
        tested = f"{test_split} split" if not both else f"{' and '.join(_OF_MNLI)} splits"
        data = data.with_notes(
            f"{folder}: the official {tested} ({len(data.test):,} rows) {'are' if both else 'is'} "
            "the test split here, as is usual where test labels are not published, and validation "
            "is cut from train"
        )
    return data


def _tested_together(data: TextSplits, place: Path) -> TextSplits:
    """Return a data set with its validation split behind its test split, as one."""
    first, second = data.test, data.validation
    assert second is not None
    labels = torch.cat([first.labels, second.labels])
    split = TextSplit((*first.texts, *second.texts), labels, pairs=(*first.pairs, *second.pairs))
    parts = [data.origins["test"], data.origins["validation"]]
    ids = [part.ids or () for part in parts]
    origin = Origin(
        place,
        [
            part.brief(row)
            for part, own in zip(parts, (first, second), strict=True)
            for row in range(len(own))
        ],
        numbers=[*range(len(first)), *range(len(second))],
        ids=list(chain.from_iterable(ids)) if all(ids) else None,
    )
    origins = {"train": data.origins["train"], "test": origin}
    return replace(data, test=split, validation=None, origins=origins)


def _downloaded(
    context: LoadContext, name: str, hub_path: str, hub_config: str | None, splits: Sequence[str]
) -> Path:
    # MNLI's two data sets share their training split, of which one download is enough.
    there = context.download / name
    lacking = [split for split in splits if not (there / f"{split}.parquet").is_file()]

    def fetch(root: Path) -> None:
        (root / name).mkdir(parents=True)
        try:
            # Asked once: `datasets` would knock for half a minute at a door that is not there.
            huggingface_hub.HfApi().dataset_info(hub_path, timeout=_SILENCE_SECONDS)
            with _hub_files_in(root):
                for split in lacking:
                    dataset = datasets.load_dataset(
                        hub_path, hub_config, split=split, cache_dir=str(root / "arrow")
                    )
                    dataset.to_parquet(root / name / f"{split}.parquet")
        except Exception as error:  # the hub's libraries raise nearly anything
            raise DataError(f"download failed: {first_line(error)}") from error

    try:
        return download(fetch, context.download, name, [f"{split}.parquet" for split in lacking])
    except DataError as error:
        places = ", ".join(map(str, dict.fromkeys((*context.search, context.download))))
        config = f", configuration {hub_config}" if hub_config else ""
        raise DataError(
            f"{name} is not here: {error}. Wanted: {name}/{{{','.join(splits)}}}.{WANTED} in one "
            f"of {places}. Source: huggingface.co/datasets/{hub_path}{config}"
        ) from error


@contextmanager
def _hub_files_in(folder: Path) -> Iterator[None]:
    """Keep the hub's files out of the home folder; `datasets` cannot be told where they go."""
    constants = huggingface_hub.constants
    before = constants.HF_HUB_CACHE, constants.HF_HUB_DISABLE_XET
    # Xet keeps a cache of its own, whose place is fixed when it is imported.
    constants.HF_HUB_CACHE, constants.HF_HUB_DISABLE_XET = str(folder / "hub"), True
    try:
        yield
    finally:
        constants.HF_HUB_CACHE, constants.HF_HUB_DISABLE_XET = before
