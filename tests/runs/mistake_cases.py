"""What the tests of a run's mistakes share: answers, nasty texts, and what was written."""

import csv
import re
import unicodedata
from pathlib import Path

import numpy as np
import torch
from markdown_it import MarkdownIt

from adapterlab.data.splits import TextSplit
from adapterlab.training.predictions import Predictions

NAMES = ("Sci/Tech", "T-shirt/top", "página|`x`", "$5 *or* <b>")
LABELS = np.array([0, 0, 0, 1, 1, 3])
# Rows 1, 2, 4 and 5 are wrong; class 2 has no example.
PROBABILITIES = np.array(
    [
        [0.7, 0.1, 0.1, 0.1],
        [0.3, 0.6, 0.05, 0.05],
        [0.04, 0.9, 0.03, 0.03],
        [0.1, 0.8, 0.05, 0.05],
        [0.2, 0.3, 0.5, 0.0000001],
        [0.9997, 0.0001, 0.0001, 0.0001],
    ]
)
NASTY = (
    "",
    " spaces at both ends ",
    'a "quoted" word, and a comma; a\ttab',
    '"',
    '""',
    "line one\nline two\r\nline three\rline four\n\n",
    "\r",
    "| a | table | row |",
    "\\| \\\\| \\",
    "`code` ``more`` ```",
    "<b>bold</b> <!-- <script>alert(1)</script> &amp; &lt;",
    "*a* _b_ **c** ~~d~~ [link](http://example.org) ![i](j) $x$ # h",
    "> quote - item 1. item",
    "مرحبا بالعالم, שלום",
    "👩‍👩‍👧 surprise 😲 e\u0301",
    "zero\x00 byte, \x1b[31mred\x1b[0m, line\u2028separator, next\x85line",
    "=1+1",
)


def predictions(
    probabilities: np.ndarray, labels: np.ndarray, names: tuple[str, ...]
) -> Predictions:
    return Predictions(np.log(probabilities).astype(np.float64), labels.astype(np.int64), names)


def texts(*content: str, labels: np.ndarray = LABELS) -> TextSplit:
    return TextSplit(content, torch.from_numpy(labels))


def all_wrong(content: tuple[str, ...]) -> tuple[Predictions, TextSplit]:
    """Every text is of class 0 and taken for class 1, with the same confidence."""
    n = len(content)
    labels = np.zeros(n, dtype=np.int64)
    found = predictions(np.tile([0.25, 0.75], (n, 1)), labels, ("no", "yes"))
    return found, texts(*content, labels=labels)


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def tables(page: Path) -> list[list[list[str]]]:
    """Every table of a page as plain text, header first; markup in a cell is an error."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8")):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level == 4:
            assert {part.type for part in token.children} <= {"text"}
            found[-1][-1].append("".join(part.content for part in token.children))
    return found


def unquoted(cell: str) -> str:
    """A text as it was, without the quote that keeps a spreadsheet from running it."""
    return cell[1:] if re.match(r"'[=+@\t\r\n-]", cell) else cell


def on_one_line(text: str) -> str:
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) == "Cc" else c
        for c in " ".join(text.split())
    )
