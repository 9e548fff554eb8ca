"""A user's own texts: a file for each split, one file for all, or a folder for each class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import listed
from adapterlab.config.tasks import Task
from adapterlab.data.sources import layout, text_folders
from adapterlab.data.sources.columns import Columns
from adapterlab.data.sources.context import LoadContext
from adapterlab.data.sources.cutting import Cutting
from adapterlab.data.sources.labelling import Reading
from adapterlab.data.sources.second_file import keys_of, looked_up, read_labels
from adapterlab.data.sources.tables import Written
from adapterlab.data.sources.text_sets import Asked, joined, parted
from adapterlab.data.sources.text_tables import SUFFIXES, TextTable, read_text_table
from adapterlab.data.sources.unread_files import unread
from adapterlab.data.splits import TextSplits

WANTED = "{parquet,csv,tsv,jsonl,json}"


def text_files(
    context: LoadContext,
    path: str | Path,
    text_column: str | list[str] | None = None,
    label_column: str | list[str] | None = None,
    classes: Sequence[str] | None = None,
    *,
    id_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    labels: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    columns: Sequence[str] | None = None,
    label_separator: str | None = None,
    test: float = 0.2,
    test_seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
    empty_texts: bool = False,
) -> TextSplits:
    """Read texts as people have them.

    ``path`` is a folder with a file for each split, ``{train,test[,validation]}`` with any of the
    suffixes of `tables`; or with a folder for each, in it one of texts for each class; or one file,
    or one folder of classes, whose rows are parted by a column of splits or else cut here.

    Labels are class indices, or any integers or strings. Class names are those of the file's
    ClassLabel feature; else ``classes``; else the sorted distinct labels of the training split.
    With names, integers are indices and strings are names; in CSV, where all is text, labels are
    names if any of them is one.

    Args:
        context: where to look for a relative path.
        path: the folder, or the file.
        text_column: name of the column of texts, or ``[first,second]`` of pairs; None finds it by
            its name, and says so.
        label_column: name of the column of labels; likewise. Of several labels there may be a
            column for each, ``[toxic,insult]``, of 1 and 0.
        classes: class names for files that do not state them, in the order of the indices.
        id_column: name of a column that names rows; None takes ``id`` or the like, if there is one.
        split_column: name of a column that says the split of each row of the one file; None takes
            ``split``, if there is one.
        group_column: name of a column of groups, such as persons, which no cut parts.
        labels: a file with the labels, in the folder, found by ``id_column``; ``*`` in its name
            stands for the name of the split.
        encoding: of all files; None finds it, and says which it was where that is not UTF-8.
        delimiter: between the columns of CSV files; None finds it.
        columns: names of the columns of CSV files that have no header.
        label_separator: between several labels in one cell; None finds it, and says so. A cell
            may be a JSON list as well.
        test: the share of rows that is cut off for the test, of a data set in one file.
        test_seed: of that cut.
        folds: cut into so many parts instead, for small sets.
        fold: the part that is the test split.
        empty_texts: of pairs one text may be empty; a note says of how many it is.

    Raises:
        DataError: a file or column is missing, a file is broken, a text or label is missing, a
            label names no class, or what is a split cannot be told. The text names file and row.
        ConfigError: an option of the cut is outside of its domain.
    """
    asked = Asked(
        Columns(text_column, label_column, id_column, split_column, group_column),
        classes,
        labels,
        Written(encoding, delimiter, columns),
        Cutting(test, test_seed, folds, fold, context.trained),
        Reading(context.task, label_separator),
        empty_texts,
    )
    place = context.place(path)
    if place.is_file():
        return parted(_table(place, place.parent, asked, "all"), asked)
    files = layout.split_files(place, SUFFIXES)
    if {"train", "test"} <= files.keys():
        notes = (*layout.called_otherwise(files), *unread(place, files, f".{WANTED}"))
        return read_text_splits(files, asked, place).with_notes(*notes)
    parts = layout.split_folders(place)
    if {"train", "test"} <= parts.keys():
        found = layout.class_folders(parts, classes)
        tables = {
            split: text_folders.class_folder_table(folder, found, asked.written)
            for split, folder in parts.items()
        }
        return joined(tables, asked).with_notes(*layout.called_otherwise(parts))
    if not files and not parts and (whole := _only(place, asked)) is not None:
        return parted(whole, asked)
    raise _lacking(place, files)


def read_text_splits(
    files: Mapping[str, Path],
    asked: Asked | Columns,
    place: Path | None = None,
    classes: Sequence[str] | None = None,
    task: Task = "single_label",
) -> TextSplits:
    """Read the files of a data set; see :func:`text_files`.

    Args:
        files: the file of each split: train, test and perhaps validation.
        asked: the columns, or all that the user says.
        place: the folder of the data set.
        classes: class names for files that do not state them.
        task: what labels are for.

    Raises:
        DataError: as :func:`text_files`.
    """
    if isinstance(asked, Columns):
        asked = Asked(asked, classes, reading=Reading(task))
    tables = {
        split: _table(file, place or file.parent, asked, split) for split, file in files.items()
    }
    return joined(tables, asked)


def _table(file: Path, place: Path, asked: Asked, split: str) -> TextTable:
    columns = asked.columns
    try:
        table = read_text_table(
            file,
            columns.text,
            columns.label,
            id_column=columns.id,
            split_column=columns.split if split == "all" else None,
            group_column=columns.group if asked.labels is None else None,
            labels=asked.labels is None,
            written=asked.written,
            reading=asked.reading,
            empty_texts=asked.empty_texts,
        )
    except DataError as error:
        if split == "test" and "no column label" in str(error):
            raise DataError(
                f"{error}; where the test labels are not published, dataset.loader.path=TRAIN_FILE "
                "has a test split cut from its rows"
            ) from None
        raise
    if asked.labels is None:
        return table
    if table.ids is None:
        raise DataError(f"{file} has no column that names its rows; set dataset.loader.id_column")
    return _labelled(table, [(key,) for key in table.ids], place, asked, split)


def _labelled(
    table: TextTable, candidates: Sequence[Sequence[str]], place: Path, asked: Asked, split: str
) -> TextTable:
    """A table with the labels of another file."""
    assert asked.labels is not None
    file = place / asked.labels.replace("*", split)
    if not file.is_file():
        raise DataError(f"dataset.loader.labels={asked.labels}: {file} is no file")
    labels = read_labels(file, asked.columns, asked.written, asked.reading)
    keys, left = looked_up(candidates, table.places, labels)
    return table._replace(
        labels=[labels.of[key] for key in keys],
        integers=labels.integers,
        names=labels.names,
        column=labels.column,
        ids=keys if table.ids is None else table.ids,
        splits=[labels.splits[key] for key in keys] if labels.splits else table.splits,
        groups=[labels.groups[key] for key in keys] if labels.groups else table.groups,
        # One file of labels for several splits has labels that are of the others.
        notes=(
            *table.notes,
            *labels.notes,
            *(left if split == "all" or "*" in asked.labels else ()),
        ),
    )


def _only(place: Path, asked: Asked) -> TextTable | None:
    """The one table that a folder without splits is: its classes, its file or its texts."""
    inside = layout.folders(place)
    if asked.labels is not None:
        texts = inside[0] if len(inside) == 1 else place
        if inside[1:]:
            return None
        table = text_folders.folder_table(texts, asked.written, but=place / asked.labels)
        candidates = [keys_of(texts / name, texts) for name in table.places]
        return _labelled(table, candidates, place, asked, "all")
    tables = [file for file in layout.visible(place) if file.suffix.lower() in SUFFIXES]
    if len(tables) == 1 and not inside:
        return _table(tables[0], place, asked, "all")
    if len(inside) > 1 and not tables:
        classes = layout.class_folders({"train": place}, asked.classes)
        return text_folders.class_folder_table(place, classes, asked.written)
    return None


def _lacking(place: Path, files: Mapping[str, Path]) -> DataError:
    name = next(split for split in ("train", "test") if split not in files)
    there = listed(sorted(path.name for path in place.iterdir())) or "nothing"
    one = ""
    if "train" in files:
        one = f"; dataset.loader.path={files['train']} has a test split cut from its rows"
    return DataError(
        f"{place}/{name}.{WANTED} is missing; wanted: {place}/{{train,test}}.{WANTED}; there is: "
        f"{there}{one}"
    )
