"""What a model gets wrong on a split: tables to work with, one page to read, and pictures."""

import html
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterlab.base.amounts import counted
from adapterlab.base.csv_cells import write_rows
from adapterlab.base.files import write_text
from adapterlab.data.origin import RowNames
from adapterlab.data.splits import ImageSplit, TextSplit
from adapterlab.drawing.pictures import MakeFigure, Pictures
from adapterlab.drawing.wording import one_line, rounded
from adapterlab.evidence.metrics import confusion_matrix
from adapterlab.evidence.mistakes import (
    ClassMistakes,
    ConfusedPair,
    WrongAnswer,
    confidently_wrong,
    confused_pairs,
    hardest_first,
    misclassification_shares,
    wilson_interval,
)

if TYPE_CHECKING:  # it would bring Lightning along
    from adapterlab.training.predictions import Predictions

_ON_THE_PAGE = 10


@dataclass(frozen=True)
class _Mistakes:
    """All that is written: classes hardest first, pairs, and single examples."""

    names: tuple[str, ...]
    classes: tuple[ClassMistakes, ...]
    pairs: tuple[ConfusedPair, ...]
    answers: tuple[WrongAnswer, ...]
    called: Mapping[str, Sequence[Any]]

    def rows(self, answer: WrongAnswer) -> tuple[Any, ...]:
        """What the file calls the example of an answer: row, and maybe id and file."""
        return tuple(values[answer.row] for values in self.called.values())


def write_mistakes(
    folder: Path,
    predictions: "Predictions",
    examples: TextSplit | ImageSplit,
    *,
    title: str,
    top: int = 50,
    rows: RowNames | None = None,
    pictures: Pictures | None = None,
) -> list[Path]:
    """Write the mistakes of a model on a test split.

    ``per_class.csv`` (hardest class first; an empty share for a class without examples),
    ``confused_pairs.csv`` and ``confidently_wrong.csv`` (with the whole text, if there are texts)
    hold full precision, and names and texts as they are, but for a quote before one that a
    spreadsheet would run (``=1+1``); ``mistakes.md`` shows the first ten of each;
    ``per_class.png`` draws the classes, and for images ``confidently_wrong.png`` the first twenty
    examples. Rows are those of the file, counted from 0, beside its ids where it has any.

    Args:
        folder: created if need be; files of these names are replaced.
        predictions: of the split's examples, in its order.
        examples: the split.
        title: of the page and the pictures, such as the name of the run.
        top: the most pairs and the most examples to list.
        rows: what the file calls the examples; None counts them.
        pictures: draws those of the run; None for this process.

    Returns:
        The files; pictures are there when `pictures` says so.

    Raises:
        ValueError: if predictions and examples are not of the same length and labels, a logit is
            not finite, ``top`` is below 1, or images have other than 1 or 3 channels.
        OSError: a file cannot be written.
    """
    _check(predictions, examples)
    logits, labels, names = predictions.logits, predictions.labels, predictions.classes
    confusion = confusion_matrix(labels, logits.argmax(axis=1), len(names))
    classes = hardest_first(misclassification_shares(confusion))
    answers = confidently_wrong(logits, labels, top)
    called = (rows or RowNames(range(len(labels)))).columns()
    found = _Mistakes(names, classes, confused_pairs(confusion, top), answers, called)
    texts = examples.texts if isinstance(examples, TextSplit) else None

    pictures = pictures or Pictures()
    figures = _figures(found, examples, title) if pictures.are_drawn else {}
    folder.mkdir(parents=True, exist_ok=True)
    written = _write_tables(folder, found, texts)
    for name, figure in figures.items():
        pictures.draw(figure, folder / name)
        written.append(folder / name)
    page = folder / "mistakes.md"
    write_text(page, _page(found, texts, title, figures))
    return [*written, page]


def _figures(
    found: _Mistakes, examples: TextSplit | ImageSplit, title: str
) -> dict[str, MakeFigure]:
    from adapterlab.drawing.mistakes import PICTURES, contact_sheet, per_class_figure

    names, answers = found.names, found.answers
    figures: dict[str, MakeFigure] = {
        "per_class.png": partial(per_class_figure, found.classes, names, title)
    }
    if isinstance(examples, ImageSplit):
        images = examples.images[[one.row for one in answers[:PICTURES]]].numpy()
        figures["confidently_wrong.png"] = partial(contact_sheet, images, answers, names, title)
    return figures


def _check(predictions: "Predictions", examples: TextSplit | ImageSplit) -> None:
    if len(predictions.labels) != len(examples):
        raise ValueError(f"{len(predictions.labels)} predictions for {len(examples)} examples")
    differ = np.flatnonzero(predictions.labels != examples.labels.numpy())
    if differ.size:
        raise ValueError(
            f"{differ.size} of {len(examples)} labels differ, the first in row {differ[0]}: "
            "these are not the predictions of this split in its order"
        )
    if isinstance(examples, ImageSplit) and examples.shape[0] not in (1, 3):
        raise ValueError(f"images have {examples.shape[0]} channels; expected 1 (grey) or 3 (RGB)")


def _write_tables(folder: Path, found: _Mistakes, texts: Sequence[str] | None) -> list[Path]:
    names = found.names
    classes = [(names[o.label], o.examples, o.wrong, o.share) for o in found.classes]
    pairs = [(names[o.label], names[o.prediction], o.count, o.share) for o in found.pairs]
    answers: list[tuple[Any, ...]] = [
        (
            *(*found.rows(o), names[o.label], names[o.prediction]),
            *(o.confidence, o.probability_of_label),
            *(() if texts is None else (texts[o.row],)),
        )
        for o in found.answers
    ]
    of_answers: tuple[str, ...] = (*found.called, "true", "predicted", "confidence")
    of_answers += ("probability_of_true", *(() if texts is None else ("text",)))
    tables: dict[str, list[tuple[Any, ...]]] = {
        "per_class.csv": [("class", "examples", "wrong", "share_wrong"), *classes],
        "confused_pairs.csv": [("true", "predicted", "count", "share_of_true"), *pairs],
        "confidently_wrong.csv": [of_answers, *answers],
    }
    for name, rows in tables.items():
        write_rows(rows, folder / name)
    return [folder / name for name in tables]


def _page(
    found: _Mistakes, texts: Sequence[str] | None, title: str, pictures: Collection[str]
) -> str:
    names = [_escaped(one_line(name, 60)) for name in found.names]
    classes = [
        (names[o.label], f"{o.examples:,}", f"{o.wrong:,}", *_share(o)) for o in found.classes
    ]
    pairs = [
        (names[o.label], names[o.prediction], f"{o.count:,}", rounded(o.share, 1))
        for o in found.pairs
    ]
    answers = [
        (
            *(_escaped(one_line(str(name), 60)) for name in found.rows(o)),
            *(names[o.label], names[o.prediction]),
            *(rounded(o.confidence, 1), rounded(o.probability_of_label, 1)),
            *(() if texts is None else (_escaped(one_line(texts[o.row], 200)),)),
        )
        for o in found.answers
    ]
    of_answers = (
        *(*found.called, "true class", "predicted class"),
        *("confidence", "of the true class"),
    )
    parts = [
        f"# {_escaped(one_line(title, 200))}",
        _opening(found.classes, names),
        "## Hardest classes",
        "Intervals are Wilson's.",
        _table(("class", "examples", "wrong", "share wrong", "95% interval"), classes),
        _listed("per_class.csv", len(classes)),
        "## Most confused pairs",
        _table(("true class", "predicted class", "count", "share of the true class"), pairs),
        _listed("confused_pairs.csv", len(pairs)),
        "## Surest mistakes",
        "Confidence is the probability of the predicted class, beside that of the true class. "
        "Rows are those of the file, counted from 0.",
        _table(of_answers if texts is None else (*of_answers, "text"), answers),
        _listed("confidently_wrong.csv", len(answers)),
        "## Pictures" if pictures else "",
        *(f"![{name}]({name})" for name in pictures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(classes: Sequence[ClassMistakes], names: Sequence[str]) -> str:
    n, wrong = sum(one.examples for one in classes), sum(one.wrong for one in classes)
    examples = counted(n, "test example")
    sentence = f"None of {examples} is wrong."
    if wrong:
        hardest = classes[0]
        equal = sum(one.share == hardest.share for one in classes) - 1
        others = f", and {counted(equal, 'other')} of the same share" if equal else ""
        sentence = (
            f"{wrong:,} of {examples} ({rounded(wrong / n, 1)}) {'is' if wrong == 1 else 'are'} "
            f"wrong; hardest class: {names[hardest.label]} ({hardest.wrong:,} of "
            f"{hardest.examples:,} wrong, {_share(hardest)[0]}){others}."
        )
    if missing := sum(one.share is None for one in classes):
        sentence += f" Classes without a test example: {missing} of {len(classes)}."
    return sentence


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "None."
    lines = (header, ["---"] * len(header), *rows[:_ON_THE_PAGE])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _listed(file: str, total: int) -> str:
    more = total - _ON_THE_PAGE
    return f"{more} more in [{file}]({file})." if more > 0 else ""


def _share(one: ClassMistakes) -> tuple[str, str]:
    """Write the share wrong and its interval."""
    if one.share is None:
        return "no examples", ""
    low, high = wilson_interval(one.wrong, one.examples)
    return rounded(one.share, 1), f"{rounded(low, 1)} to {rounded(high, 1)}"


def _escaped(line: str) -> str:
    """Make a line stand for itself in Markdown, in a table's cell as well."""
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", html.escape(line, quote=False))
