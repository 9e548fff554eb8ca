"""The figures of a study's report, in its order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from adapterlab.drawing.canvas import as_png, save
from adapterlab.reporting.figures.arms import accuracy_figure, curves_figure, forgetting_figure
from adapterlab.reporting.figures.classes import (
    calibration_figure,
    classes_figure,
    confusion_figure,
)
from adapterlab.reporting.figures.costs import pareto_figure
from adapterlab.reporting.figures.layout import narrow_sheets
from adapterlab.reporting.figures.ranks import rank_alpha_figure
from adapterlab.reporting.figures.rates import rates_figure
from adapterlab.reporting.figures.tasks import ranks_figure
from adapterlab.reporting.figures.tuning import tuning_figure
from adapterlab.reporting.figures.variance import variance_figure
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.formatting import as_file_name, title_of
from adapterlab.reporting.overall import Overall, only_luck

FIGURES: dict[str, tuple[str, str, Callable[[Findings], Figure | None]]] = {
    "accuracy": (
        "Accuracy",
        "Accuracy on the test split: large marks are means over seeds, small dots the seeds, one "
        "below the other where they are equal, bars 95% intervals of the mean. The line and the "
        "band are the reference's. At the right stand the mean and what the tests say of the arm: "
        "whether bars overlap does not tell.",
        accuracy_figure,
    ),
    "curves": (
        "Training",
        "Training loss, and the validation metric that runs were selected on, by epoch. Lines are "
        "means over seeds and end where the first seed stopped; bands are the range over seeds.",
        curves_figure,
    ),
    "rank_alpha": (
        "Rank and alpha",
        "Mean accuracy on the test split by rank and alpha; a line with 95% intervals where one of "
        "the two varies alone. The outlined cell is the best on validation, which the test split "
        "has no part in; an asterisk marks cells that differ from it, by the comparisons of the "
        "table.",
        rank_alpha_figure,
    ),
    "rates": (
        "Learning rates",
        "Mean accuracy on the test split by learning rate; a line joins arms that differ in it "
        "alone. Filled is the best on validation, which the test split has no part in.",
        rates_figure,
    ),
    "pareto": (
        "Accuracy and cost",
        "Accuracy on the test split against what it costs; bars are 95% intervals. The stepped "
        "line joins the arms that are not beaten: none that costs as little is more accurate. "
        "These have a number, if there is room. Runs that shared a pack trained at the same time "
        "as others, so that their times, hollow marks, are beaten among themselves only.",
        pareto_figure,
    ),
    "classes": (
        "Hardest classes",
        "Share of each true class's test examples that is wrong, over all seeds. Arms are rows, "
        "the most accurate on top; classes are columns, the hardest on the left.",
        classes_figure,
    ),
    "confusion": (
        "Confusions",
        "What each true class (rows) is taken for (columns), by the reference and the best other "
        "arms. The diagonal is what is right; shades of small shares are drawn apart.",
        confusion_figure,
    ),
    "calibration": (
        "Calibration",
        "How often answers are right, by how sure the model is of them. On the diagonal, 80% of "
        "the answers of 80% confidence are right; below it, a model is surer than it is right. "
        "ECE, the expected calibration error, is the mean distance from the diagonal over all "
        "answers, in percentage points: the mean of the "
        "seeds, with its 95% interval.",
        calibration_figure,
    ),
    "forgetting": (
        "Learned and forgotten",
        "Accuracy on the target against accuracy lost on the source task by adaptation; bars are "
        "95% intervals. Up and to the left is better: more learned, less forgotten.",
        forgetting_figure,
    ),
}
"""By file stem: a title, what is drawn and how to read it, and what draws it (None: nothing)."""

_NARROW = (
    *("accuracy", "curves", "rates", "pareto"),
    *("classes", "confusion", "calibration", "forgetting"),
)
"""Those that are drawn anew for a narrow window; maps of many cells do not fit one."""


def narrow_figure(stem: str, findings: Findings) -> Figure | None:
    """Draw a figure for a window as narrow as a phone's, its letters as large as ever.

    None where there is nothing to draw, or where the figure has no narrow form.
    """
    if stem not in _NARROW:
        return None
    with narrow_sheets():
        return FIGURES[stem][2](findings)


_NOTEBOOK_WIDTH = 800


@dataclass(frozen=True, eq=False, repr=False)
class Drawing:
    """A figure of a report.

    Attributes:
        stem: of its files' names.
        title: a few words.
        caption: what is drawn, and how to read it.
        figure: for a page.
        narrow: for a phone; None if it has no such form.
    """

    stem: str
    title: str
    caption: str
    figure: Figure
    narrow: Figure | None = None

    def save(self, path: str | Path) -> None:
        """Write the figure as PNG.

        Raises:
            OSError: the file cannot be written.
        """
        save(self.figure, Path(path))

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the figure as a notebook shows it, no wider than its text."""
        return as_png(self.figure), {"width": _NOTEBOOK_WIDTH}

    def __repr__(self) -> str:
        return f"<{self.title}: {self.caption}>"


def _of_task(text: str, main: str) -> str:
    """Name a task's main metric where a title or a caption names accuracy."""
    if main == "accuracy":
        return text
    name = title_of(main)
    text = text.replace("none that costs as little is more accurate", "none costs as little")
    return text.replace("Accuracy", name[0].upper() + name[1:]).replace("accuracy", name)


def _in_runs_of(arm: str | None) -> str:
    return f", in the runs of {arm}" if arm else ""


def drawings(tasks: Sequence[Findings], overall: Overall) -> Iterator[Drawing]:
    """Draw all that a study has: ranks over data sets, each data set's figures, how it was tuned.

    Args:
        tasks: what was found on each data set.
        overall: what there is beside that.
    """
    if overall.ranks is not None:
        yield Drawing(
            "ranks",
            "Ranks over data sets",
            "Mean rank of each arm over the data sets, 1 the best, and its ranks on each, small. "
            "Bars join arms whose mean ranks differ by less than the critical difference.",
            ranks_figure(overall.ranks),
        )
    for task in tasks:
        prefix, of = (
            ("", "") if len(tasks) == 1 else (f"{as_file_name(task.task)}-", f"{task.task}: ")
        )
        compared = task.task not in overall.luck or not only_luck(task)
        for name, (title, caption, draw) in FIGURES.items() if compared else ():
            if (figure := draw(task)) is not None:
                narrow = narrow_figure(name, task)
                said, shown = (_of_task(text, task.main) for text in (title, caption))
                yield Drawing(f"{prefix}{name}", f"{of}{said}", shown, figure, narrow)
        luck = overall.luck.get(task.task)
        if luck is not None and len(luck.components) > 1:
            yield Drawing(
                f"{prefix}luck",
                f"{of}Where the luck comes from",
                "Standard deviation of a run's accuracy by what is drawn at random, with 95% "
                f"intervals{_in_runs_of(overall.lucky.get(task.task))}.",
                variance_figure(luck),
            )
    for number, tuning in enumerate(overall.tuning):
        if (figure := tuning_figure(tuning)) is not None:
            yield Drawing(
                "tuning" if number == 0 else f"tuning-{number + 1}",
                "Tuning",
                "The validation metric that each arm reached with each setting, the chosen one "
                "filled; and the best that is to be expected of so many settings, tried in random "
                "order.",
                figure,
            )
