"""Makes a data set of tables of texts: their labels as classes, their rows as splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from adapterlab.data.origin import Origin
from adapterlab.data.sources.columns import Columns
from adapterlab.data.sources.cutting import (
    Cutting,
    by_column,
    cut,
    groups_in_both,
    numbered,
    takes_column,
)
from adapterlab.data.sources.labelling import ONE_LABEL, Labelling, Reading
from adapterlab.data.sources.notes import said
from adapterlab.data.sources.tables import AS_FOUND, Written
from adapterlab.data.sources.text_tables import TextTable
from adapterlab.data.splits import TextSplits


@dataclass(frozen=True)
class Asked:
    """What the user says about the files.

    Attributes:
        columns: their names, as far as they are named.
        classes: class names for files that do not state them.
        labels: the file of the labels, where they are in one of their own.
        written: how the files are written.
        cutting: how a test split is cut where there is none.
        reading: how labels are read.
        empty_texts: whether one text of a pair may be empty.
    """

    columns: Columns
    classes: Sequence[str] | None
    labels: str | None = None
    written: Written = AS_FOUND
    cutting: Cutting = field(default_factory=Cutting)
    reading: Reading = ONE_LABEL
    empty_texts: bool = False

    def labelling(self, train: TextTable) -> Labelling:
        """How labels become a tensor, from the training rows."""
        label = self.columns.label
        several = () if label is None or isinstance(label, str) else tuple(label)
        return Labelling.of(self.reading.task, train.labelled, self.classes, several)


def joined(tables: Mapping[str, TextTable], asked: Asked) -> TextSplits:
    """The data set of one table for each split: train, test and perhaps validation.

    Raises:
        DataError: a label names no class, or a row has no group.
        ConfigError: options of a cut that is not made.
    """
    train = tables["train"]
    asked.cutting.require_unasked(f"there is one: {tables['test'].path}")
    labelling = asked.labelling(train)
    splits = {name: table.split(labelling.tensor(table.labelled)) for name, table in tables.items()}
    groups, notes = _groups(tables, asked)
    return TextSplits(
        train=splits["train"],
        test=splits["test"],
        validation=splits.get("validation"),
        classes=labelling.classes,
        notes=(*said(note for table in tables.values() for note in table.notes), *notes),
        origins={name: _origin(table) for name, table in tables.items()},
        groups=groups,
    )


def _groups(tables: Mapping[str, TextTable], asked: Asked) -> tuple[Tensor | None, tuple[str, ...]]:
    train, column = tables["train"], asked.columns.group
    if train.groups is None or column is None:
        return None, ()
    said = groups_in_both({name: t.groups or () for name, t in tables.items()}, column)
    return numbered(train.groups, train.places, train.path.name, column), said


def parted(table: TextTable, asked: Asked) -> TextSplits:
    """The data set of one table for all splits, parted by its column of splits or else cut.

    Raises:
        DataError: a label names no class, a row no split or group, or rows are too few.
        ConfigError: options of a cut that is not made.
    """
    groups, column, how, name = None, asked.columns.group, asked.cutting, table.path.name
    if table.groups is not None and column is not None:
        groups = numbered(table.groups, table.places, str(table.path), column)
    notes: tuple[str, ...] = ()
    split_column = asked.columns.split or "split"
    if table.splits is not None and takes_column(asked.columns.split, how, name):
        rows = by_column(table.splits, table.places, str(table.path), split_column)
        kept = [table.labels[row] for row in rows["train"].tolist()]
        labelling = asked.labelling(table._replace(labels=kept))
        labels = labelling.tensor(table.labelled)
        note = f"{name} names the split of each row"
        if table.groups is not None and column is not None:
            called = table.groups
            own = {split: [called[n] for n in found.tolist()] for split, found in rows.items()}
            notes = groups_in_both(own, column)
    else:
        labelling = asked.labelling(table)
        labels, names = labelling.tensor(table.labelled), labelling.classes
        passed_over = None if table.splits is None else split_column
        rows, note = cut(labels, names, how, groups, name, table.places, passed_over)
    whole, origin = table.split(labels), _origin(table)
    return TextSplits(
        train=whole.select(rows["train"]),
        test=whole.select(rows["test"]),
        validation=whole.select(rows["validation"]) if "validation" in rows else None,
        classes=labelling.classes,
        notes=(*said(table.notes), note, *notes),
        origins={split: origin.part(found.tolist()) for split, found in rows.items()},
        groups=None if groups is None else groups[rows["train"]],
    )


def _origin(table: TextTable) -> Origin:
    return Origin(table.path, table.places, ids=table.ids, columns=table.content)
