"""What a model gets wrong on a split: tables to work with, one page to read, and pictures."""

import csv
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adapterlab.data.splits import ImageSplit, TextSplit
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
from adapterlab.reporting.canvas import (
    DPI,
    INK,
    PAPER,
    VERBATIM,
    draw_scale,
    framed,
    inches,
    save,
    show,
)
from adapterlab.reporting.figures import BLACK, GREYS, MUTED, VERMILION, percent, plain

if TYPE_CHECKING:  # it would bring Lightning along
    from adapterlab.predictions import Predictions

_ON_THE_PAGE = 10
_BARS = 30
_PICTURES, _PICTURES_A_ROW = 20, 5
_CELL_INCHES, _GAP_INCHES, _CAPTION_INCHES = 1.7, 0.15, 0.45


@dataclass(frozen=True)
class _Mistakes:
    """All that is written: classes hardest first, pairs, and single examples."""

    names: tuple[str, ...]
    classes: tuple[ClassMistakes, ...]
    pairs: tuple[ConfusedPair, ...]
    answers: tuple[WrongAnswer, ...]


def write_mistakes(
    folder: Path,
    predictions: "Predictions",
    examples: TextSplit | ImageSplit,
    *,
    title: str,
    top: int = 50,
) -> list[Path]:
    """Write the mistakes of a model on a test split.

    ``per_class.csv`` (hardest class first; an empty share for a class without examples),
    ``confused_pairs.csv`` and ``confidently_wrong.csv`` (with the whole text, if there are texts)
    hold full precision and the names as they are; ``mistakes.md`` shows the first ten of each;
    ``per_class.png`` draws the classes, and for images ``confidently_wrong.png`` the first twenty
    examples. Rows count from 0.

    Args:
        folder: created if need be; files of these names are replaced.
        predictions: of the split's examples, in its order.
        examples: the split.
        title: of the page and the pictures, such as the name of the run.
        top: the most pairs and the most examples to list.

    Returns:
        The files.

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
    found = _Mistakes(names, classes, confused_pairs(confusion, top), answers)
    texts = examples.texts if isinstance(examples, TextSplit) else None

    figures = {"per_class.png": per_class_figure(classes, names, title)}
    if isinstance(examples, ImageSplit):
        images = examples.images[[one.row for one in answers[:_PICTURES]]].numpy()
        figures["confidently_wrong.png"] = contact_sheet(images, answers, names, title)
    folder.mkdir(parents=True, exist_ok=True)
    written = _write_tables(folder, found, texts)
    for name, figure in figures.items():
        save(figure, folder / name)
        written.append(folder / name)
    page = folder / "mistakes.md"
    page.write_text(_page(found, texts, title, figures), encoding="utf-8", newline="\n")
    return [*written, page]


def per_class_figure(classes: Sequence[ClassMistakes], names: Sequence[str], title: str) -> Figure:
    """Draw the share of each class that is wrong, with its 95% Wilson interval.

    The classes stand in the order given, the first on top, and the first 30 are drawn. One
    without examples has no bar, and its name says so.

    Args:
        classes: hardest first.
        names: the C class names, by class index.
        title: the figure's title.
    """
    drawn = classes[:_BARS]
    missing = ["" if one.examples else " (no examples)" for one in drawn]
    ticks = [_one_line(names[one.label], 40) + missing[y] for y, one in enumerate(drawn)]
    known = {y: one for y, one in enumerate(drawn) if one.examples}
    counts = {y: f"{one.wrong:,} of {one.examples:,}" for y, one in known.items()}
    found = [(one.share, *wilson_interval(one.wrong, one.examples)) for one in known.values()]
    shares, low, high = np.array(found, dtype=float).reshape(-1, 3).T
    # 8 inches across, unless the names leave too little of it to the bars.
    left, right = 0.2 + inches(ticks, 9), 0.2 + inches(counts.values(), 9)
    across = left, max(3.5, 8 - left - right), right
    figure, axes = framed(_one_line(title, 80), across, (0.75, 0.6 + 0.27 * len(drawn)))
    axes.set_xlabel("share of the class's test examples that is misclassified", color=INK)
    plain(axes, grid="x")
    axes.barh(list(known), shares, height=0.62, color=VERMILION)
    reach = [shares - low, high - shares]
    axes.errorbar(shares, list(known), xerr=reach, fmt="none", ecolor=BLACK, capsize=2.5, lw=1)
    beside = axes.get_yaxis_transform()
    for y, count in counts.items():
        axes.text(1.015, y, count, transform=beside, va="center", fontsize=9, color=INK)
    # A whole interval of 100% would lose half of its end cap.
    axes.set(xlim=(0, min(1.005, 1.04 * high.max(initial=0)) or 1), ylim=(len(drawn) - 0.4, -0.6))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(percent)
    draw_scale(axes.xaxis)
    draw_scale(axes.yaxis, dict(enumerate(ticks)))
    note = "lines: 95% Wilson intervals"
    if len(drawn) < len(classes):
        note = f"the hardest {len(drawn)} of {len(classes)} classes; {note}"
    figure.supxlabel(note, fontsize=8.5, color=MUTED)
    return figure


def contact_sheet(
    images: npt.NDArray[np.uint8], answers: Sequence[WrongAnswer], names: Sequence[str], title: str
) -> Figure:
    """Draw wrong examples side by side, five in a row, with "true → predicted, 97%" under each.

    Args:
        images: ``[N, C, H, W]``, of 1 channel (grey) or 3 (RGB); none: the sheet says so.
        answers: the wrong examples in the same order; those beyond the N-th are not drawn.
        names: the class names, by class index.
        title: the figure's title.
    """
    n, _, height, width = images.shape
    # Very flat or tall pictures are fitted into their cell.
    cell_height = _CELL_INCHES * float(np.clip(height / width, 0.4, 2))
    rows = max(1, -(-n // _PICTURES_A_ROW))
    step_x, step_y = _CELL_INCHES + _GAP_INCHES, cell_height + _CAPTION_INCHES
    heading = _one_line(title, 80)
    size = max(_PICTURES_A_ROW * step_x, inches([heading], 12) + 0.2), rows * step_y + 0.45
    figure = Figure(figsize=size, dpi=DPI, facecolor=PAPER)
    left, top = _GAP_INCHES / 2 / size[0], 1 - 0.05 / size[1]
    figure.text(left, top, heading, va="top", fontsize=12, color=INK, **VERBATIM)
    if not n:
        nothing, top = "no test example is misclassified", 1 - 0.45 / size[1]
        figure.text(left, top, nothing, va="top", style="italic", color=MUTED)
        return figure
    # One panel, in inches, holds all: one for each picture would take longer than all else.
    sheet = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(0, size[1]))
    sheet.axis("off")
    pixel = min(_CELL_INCHES / width, cell_height / height)
    interpolation = "nearest" if pixel * DPI >= 1 else "antialiased"
    frames = []
    for i, (image, one) in enumerate(zip(images, answers, strict=False)):
        row, column = divmod(i, _PICTURES_A_ROW)
        x, bottom = (column + 0.5) * step_x, size[1] - 0.45 - row * step_y - cell_height
        left, right, top = x - width * pixel / 2, x + width * pixel / 2, bottom + height * pixel
        style = {"cmap": GREYS, "clim": (0, 255), "interpolation": interpolation}
        shown = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        show(sheet, shown, (left, right, bottom, top), **style)
        frames.append([(left, bottom), (left, top), (right, top), (right, bottom)])
        text = _caption(one, names)
        caption = sheet.text(x, bottom - 4 / 72, text, ha="center", va="top", **VERBATIM)
        caption.set(fontsize=8 / max(1, inches([text], 8) / _CELL_INCHES), color=INK)
    sheet.add_collection(PolyCollection(frames, facecolors="none", edgecolors=MUTED, lw=0.8))
    return figure


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
        (o.row, names[o.label], names[o.prediction], o.confidence, o.probability_of_label)
        for o in found.answers
    ]
    of_answers: tuple[str, ...] = ("row", "true", "predicted", "confidence", "probability_of_true")
    if texts is not None:
        of_answers += ("text",)
        answers = [(*answer, texts[answer[0]]) for answer in answers]
    tables: dict[str, list[tuple[Any, ...]]] = {
        "per_class.csv": [("class", "examples", "wrong", "share_wrong"), *classes],
        "confused_pairs.csv": [("true", "predicted", "count", "share_of_true"), *pairs],
        "confidently_wrong.csv": [of_answers, *answers],
    }
    for name, rows in tables.items():
        # The csv module ends lines itself: a translated "\n" would change the texts' own.
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return [folder / name for name in tables]


def _page(
    found: _Mistakes, texts: Sequence[str] | None, title: str, pictures: Iterable[str]
) -> str:
    names = [_escaped(_one_line(name, 60)) for name in found.names]
    classes = [
        (names[o.label], f"{o.examples:,}", f"{o.wrong:,}", *_share(o)) for o in found.classes
    ]
    pairs = [
        (names[o.label], names[o.prediction], f"{o.count:,}", _rounded(o.share, 1))
        for o in found.pairs
    ]
    answers = [
        (
            *(str(o.row), names[o.label], names[o.prediction]),
            *(_rounded(o.confidence, 1), _rounded(o.probability_of_label, 1)),
            *(() if texts is None else (_escaped(_one_line(texts[o.row], 200)),)),
        )
        for o in found.answers
    ]
    of_answers = ("row", "true class", "predicted class", "confidence", "of the true class")
    parts = [
        f"# {_escaped(_one_line(title, 200))}",
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
        "Rows count from 0.",
        _table(of_answers if texts is None else (*of_answers, "text"), answers),
        _listed("confidently_wrong.csv", len(answers)),
        "## Pictures",
        *(f"![{name}]({name})" for name in pictures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(classes: Sequence[ClassMistakes], names: Sequence[str]) -> str:
    n, wrong = sum(one.examples for one in classes), sum(one.wrong for one in classes)
    examples = f"{n:,} test example{'' if n == 1 else 's'}"
    sentence = f"None of {examples} is wrong."
    if wrong:
        hardest = classes[0]
        sentence = (
            f"{wrong:,} of {examples} ({_rounded(wrong / n, 1)}) {'is' if wrong == 1 else 'are'} "
            f"wrong; hardest class: {names[hardest.label]} ({hardest.wrong:,} of "
            f"{hardest.examples:,} wrong, {_share(hardest)[0]})."
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
    return _rounded(one.share, 1), f"{_rounded(low, 1)} to {_rounded(high, 1)}"


def _caption(one: WrongAnswer, names: Sequence[str]) -> str:
    true, predicted = (_one_line(names[label], 24) for label in (one.label, one.prediction))
    line = f"{true} → {predicted}, {_rounded(one.confidence, 0)}"
    return line if len(line) <= 26 else line.replace(" → ", " →\n", 1)


def _rounded(share: float, digits: int) -> str:
    """Write a share in percent; what is not all or nothing is not rounded to it."""
    text, step = f"{share:.{digits}%}", 10.0**-digits
    if share > 0 and text == f"{0:.{digits}%}":
        return f"<{step:.{digits}f}%"
    if share < 1 and text == f"{1:.{digits}%}":
        return f">{100 - step:.{digits}f}%"
    return text


def _one_line(text: str, most: int) -> str:
    """Bring text onto one line of at most ``most`` characters, cut in the middle."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    if len(line) <= most:
        return line
    # Most of it from the start; the end often holds the point.
    end = (most - 5) // 3
    return f"{line[: most - 5 - end]} ... {line[-end:]}"


def _escaped(line: str) -> str:
    """Make a line stand for itself in Markdown, in a table's cell as well."""
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", html.escape(line, quote=False))
