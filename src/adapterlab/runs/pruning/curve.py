"""What the choice of how much to prune saw, and how it was made."""

from dataclasses import dataclass
from functools import partial

from adapterlab.base.csv_cells import write_rows
from adapterlab.drawing.rank_curves import pruning_figure
from adapterlab.runs.identity import run_name
from adapterlab.runs.lifecycle import OpenRun


@dataclass(frozen=True)
class Point:
    """One share that was tried.

    Attributes:
        keep: the share of the updates' parameters that was asked for.
        ranks: of all layers together.
        parameters: of the updates that stay.
        threshold: the smallest singular value that stays.
        score: on validation.
    """

    keep: float
    ranks: int
    parameters: int
    threshold: float
    score: float


@dataclass(frozen=True)
class Curve:
    """What the choice saw, all of it on the validation split.

    Attributes:
        metric: that the scores are of.
        points: by share, in the order in which they were asked for.
        whole: score of the adapter as it was trained.
        trained: parameters of its updates.
        ranks: of all its layers together.
        layers: how many these are.
        margin: points that fewer parameters may cost.
        left_out: what was asked for and has no room for one rank, a line each.
    """

    metric: str
    points: tuple[Point, ...]
    whole: float
    trained: int
    ranks: int
    layers: int
    margin: float
    left_out: tuple[str, ...] = ()

    @property
    def lowest(self) -> float:
        """The score below which no share is chosen, if one reaches it."""
        return self.whole - self.margin / 100

    @property
    def chosen(self) -> Point:
        """The fewest parameters within the margin; where none is, the best score."""
        within = [point for point in self.points if point.score >= self.lowest - 1e-12]
        if within:
            return min(within, key=lambda point: (point.parameters, -point.score))
        return max(self.points, key=lambda point: (point.score, -point.parameters))

    @property
    def why(self) -> str:
        """How it was chosen, in words."""
        chosen = self.chosen
        if len(self.points) == 1:
            return f"keep={chosen.keep:g} was asked for; validation had no say in it"
        how = f"keep={chosen.keep:g}, on the validation split (never on test): "
        if chosen.score >= self.lowest - 1e-12:
            return f"{how}the fewest parameters within {self.margin:g} points of the whole adapter"
        return f"{how}none is within {self.margin:g} points of the whole adapter, this one is best"


def write_curve(opened: OpenRun, curve: Curve) -> None:
    """Write what the choice saw as a table and a picture, and log it by parameters."""
    folder = opened.folder.choice
    folder.mkdir(exist_ok=True)
    header = ("keep", "ranks", "parameters", "threshold", f"val_{curve.metric}", "chosen")
    rows: list[tuple[object, ...]] = [
        header,
        ("whole", curve.ranks, curve.trained, "", curve.whole, ""),
    ]
    for point in curve.points:
        mark = "chosen" if point == curve.chosen else ""
        rows.append((point.keep, point.ranks, point.parameters, point.threshold, point.score, mark))
        opened.tracker.log(
            metrics={f"pruned/val_{curve.metric}": point.score, "pruned/keep": point.keep},
            step=point.parameters,
        )
    write_rows(rows, folder / "pruning.csv")
    draw = partial(
        pruning_figure,
        [(point.parameters, point.score) for point in curve.points],
        (curve.trained, curve.whole),
        curve.points.index(curve.chosen),
        curve.lowest,
        curve.metric,
        run_name(opened.config),
    )
    opened.pictures.draw(draw, folder / "pruning.png")
