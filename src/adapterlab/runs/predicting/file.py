"""Predicting for the rows of a file: what `python scripts/predict.py` does."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass as plain_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.config.bookkeeping import FileName
from adapterlab.config.class_names import listed
from adapterlab.config.domains import Count
from adapterlab.config.parsing import absolute
from adapterlab.config.schema import Text
from adapterlab.config.validation import STRICT, checked
from adapterlab.data.sources.columns import SECOND, USUAL, Columns, find, parts_of
from adapterlab.data.sources.notes import Note, noted, said
from adapterlab.data.sources.streamed import FILE, Chunk, Table, open_table
from adapterlab.data.sources.tables import Written, require_columns
from adapterlab.runs.predicting.answers import Asked, answers_of
from adapterlab.runs.predicting.ensemble import Ensemble
from adapterlab.runs.predicting.members import (
    Examples,
    Member,
    images_in,
    member,
    pairs_in,
    texts_in,
)
from adapterlab.runs.predicting.output_file import opened, require_writable
from adapterlab.runs.saved import SavedRun

ROWS = 1024
"""Rows that are read, predicted and written at a time."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request(SavedRun):
    """Which runs are asked, about what, and where the answers go; see conf/predict.yaml."""

    run: Text | Annotated[list[Text], Field(min_length=1)] | None  # type: ignore[assignment]
    study: FileName | None
    arm: Text | None
    experiment: str
    input: Text
    output: Text
    column: Text | Annotated[list[Text], Field(min_length=1, max_length=2)] | None
    encoding: Text | None
    delimiter: Text | None
    top_k: Count | None
    probabilities: bool
    prefix: str
    overwrite: bool


@plain_dataclass(frozen=True, kw_only=True)
class Predicted:
    """What was predicted.

    Attributes:
        output: the file.
        rows: how many.
        members: names of the runs that were asked.
        summary: what was predicted of how many, and what that is called.
        columns: that are new.
        notes: what a reader of the file must know.
    """

    output: Path
    rows: int
    members: tuple[str, ...]
    summary: tuple[str, tuple[str, ...]]
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def parse_request(values: Any) -> Request:
    """Check the options of a prediction.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    request = checked(TypeAdapter(Request), values)
    if (request.run is None) == (request.study is None):
        raise ConfigError("run=... or study=... with arm=... should say which runs are asked")
    if (request.arm is None) != (request.study is None):
        raise ConfigError("study=... and arm=... go together: an arm's runs are asked")
    if isinstance(request.run, list) and len(set(request.run)) < len(request.run):
        raise ConfigError(f"run=[{','.join(request.run)}] names a run twice")
    return request


def predict_file(request: Request, runs: Sequence[str]) -> Predicted:
    """Predict for all rows of a file, and write them with the predictions.

    Rows are read, predicted and written a few at a time, and the output takes its place when it is
    complete.

    Args:
        request: what is asked.
        runs: MLflow ids or folders; several are an ensemble, whose probabilities are averaged.

    Raises:
        AdapterLabError: a run cannot be asked, or runs have different classes.
        DataError: the input cannot be read, or not all of it; the text names the row.
    """
    try:
        return _predict_file(request, runs)
    except DataError as error:
        raise DataError(_by_our_options(str(error))) from None


def _by_our_options(text: str) -> str:
    """Name the options of this program, where reading names those of a data set."""
    named = re.sub(r"dataset\.loader\.(text|image)_column", "column", text)
    named = re.sub(r"; a file without a header needs dataset\.loader\.columns=\S+", "", named)
    return named.replace("dataset.loader.", "")


def _predict_file(request: Request, runs: Sequence[str]) -> Predicted:
    source, output = Path(absolute(request.input)), Path(absolute(request.output))
    table = open_table(source, ROWS, Written(request.encoding, request.delimiter))
    require_writable(output, table, request.overwrite)
    members = [member(_saved(request, run)) for run in runs]
    ensemble = Ensemble(members)
    answers = answers_of(ensemble, Asked(request.top_k, request.probabilities))
    columns = [f"{request.prefix}{name}" for name in answers.columns]
    if taken := [name for name in columns if name in table.columns]:
        raise ConfigError(
            f"input={request.input} has a column {taken[0]} already; prefix=... begins the names "
            "of the new ones"
        )
    notes = list(table.notes)
    read = _reading(table, members[0], request.column, notes)
    with opened(output, table) as writer, _progress(table) as advance:
        for chunk in table.chunks:
            writer.write(chunk, dict(zip(columns, answers.values(read(chunk)), strict=True)))
            advance(chunk.done)
        if not answers.rows:
            raise DataError(f"{source} has no rows")
    return Predicted(
        output=output,
        rows=answers.rows,
        members=tuple(one.name for one in members),
        summary=answers.summary(),
        columns=tuple(columns),
        notes=(*map(_by_our_options, said(notes)), *ensemble.notes(answers.rows)),
    )


def _saved(request: Request, run: str) -> SavedRun:
    return SavedRun(
        run=run,
        tracking_uri=request.tracking_uri,
        root=request.root,
        data_dir=request.data_dir,
        hardware=request.hardware,
        allow_targets=request.allow_targets,
    )


def _reading(
    table: Table, one: Member, column: str | list[str] | None, notes: list[Note]
) -> Callable[[Chunk], Examples]:
    """Return what takes the examples out of rows; a guess of their column is noted.

    Raises:
        ConfigError: a pair's second column is not named, or a single text's is.
        DataError: there is no column of them, or a run of texts is given images.
    """
    if table.of_images and one.of_texts:
        raise DataError(f"input={table.path} has images, and {one.name} takes {one.takes}")
    if table.of_images:
        return partial(images_in, table, column=FILE)
    content = "text" if one.of_texts else "image"
    named = column or one.column
    wanted = Columns(text=named or _as_in_training(table, one))
    _require_as_many(wanted, one)
    found = find(table.path, table.columns, wanted, content=content, labels=False)
    first, second = found.names[content], found.names.get(SECOND)
    if content in found.guessed:
        _require_usual(table, one, content, first)
    needed = [first] if second is None else [first, second]
    option = "column=..." if second is None else "column=[...,...]"
    remedy = (
        "" if column else f"{one.name} was trained on it; set {option} where it is called otherwise"
    )
    require_columns(table.path, table.columns, needed, remedy)
    guess = found.note()
    if not (named or wanted.text) and one.trained_on:
        guess = guess or f"the {content} is in {first!r} (column names another)"
        guess += f"; {one.name} was trained on {one.trained_on[0]!r}"
    notes += noted(table.path.name, guess)
    if second is not None:
        return partial(pairs_in, table, columns=(first, second), halves=one.halves)
    read = texts_in if one.of_texts else images_in
    return partial(read, table, column=first)


def _as_in_training(table: Table, one: Member) -> str | None:
    """Return the column that is called as the one of the training, which none named there.

    It comes before usual names: a file may have a `text` beside the `review` that was learnt from.
    """
    for called in one.trained_on:
        alike = [name for name in table.columns if name.casefold() == called.casefold()]
        if called in alike or len(alike) == 1:
            return called if called in alike else alike[0]
    return None


def _require_usual(table: Table, one: Member, content: str, column: str) -> None:
    """Refuse a column that was taken because there is no other: it may be one of labels.

    Raises:
        DataError: its name is none that people give to such a column.
    """
    if column.strip().casefold() in USUAL[content]:
        return
    called = one.trained_on[0] if one.trained_on else content
    as_there = f", as {one.name} was trained on" if one.trained_on else ""
    raise DataError(
        f"{table.path} has no column {called}{as_there}; it has: {listed(table.columns)}; "
        "set column=... to one of them"
    )


def _require_as_many(wanted: Columns, one: Member) -> None:
    """Refuse one column for pairs of texts, and two for what has one."""
    pair = parts_of(wanted.text)[1] is not None
    if pair == one.of_pairs:
        return
    named = wanted.text if isinstance(wanted.text, str) else ",".join(wanted.text or ())
    allowed = "[FIRST,SECOND], two columns" if one.of_pairs else "one column"
    raise ConfigError(f"column={named}: {one.name} takes {one.takes}; allowed: {allowed}")


@contextmanager
def _progress(table: Table) -> Iterator[Callable[[int], None]]:
    """Show how much of a table has been done, where somebody is looking."""
    bar = Progress(
        TextColumn("predicting {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(escape(table.path.name), total=table.total)
        yield lambda done: bar.update(task, completed=done)
