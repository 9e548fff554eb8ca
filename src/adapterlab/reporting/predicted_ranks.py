"""What one look at a base predicts of ranks, against a sweep over them that has finished.

Two things are predicted, and each has its regret: test accuracy of what the sweep finds, less that
of what was predicted, in points, over the seeds that both have.

- Under a budget: ranks by layer (`adapter.rank=auto`, by what `ranks.by` says), against one rank
  for all layers.
- Without one: a rank for all layers, the smallest of the sweep that explains a share of the
  variance of the layers' inputs on average, against the one that is best on validation. Gradients
  predict none.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from adapterlab.base.errors import AdapterLabError
from adapterlab.drawing.canvas import DPI, INK, PAPER, draw_scale, panel
from adapterlab.drawing.figures import BLACK, BLUE, GREEN, MUTED, VERMILION, percent, plain
from adapterlab.evidence.intervals import Interval, t_interval
from adapterlab.reporting.reading.logged import artifact
from adapterlab.reporting.reading.study import Arm

SHARES = (0.8, 0.9, 0.95)
"""Of the variance, at which a rank is predicted; the middle one is the rule, the others show how
much hangs on it."""

CURVE = "choice/explained_variance.csv"
TEST, VALIDATION, TRAINED = "test/accuracy", "best/val_accuracy", "params/trainable"


@dataclass(frozen=True)
class Regret:
    """What a prediction costs.

    Attributes:
        asked: under which it was made: a budget, or a share of the variance.
        predicted: what one look says.
        found: what the sweep says.
        seeds: that both have.
        points: of test accuracy that the sweep's is ahead; below 0 where it is behind.
        interval: of that, 95% over seeds; None with one seed, or where all are equal: it is one
            computation, for one look may give all layers the same rank.
    """

    asked: str
    predicted: str
    found: str
    seeds: int
    points: float
    interval: Interval | None

    def __str__(self) -> str:
        """Write it as a person says it."""
        if self.interval is None and not self.points:
            how = "none, the same ranks"
        elif self.interval is None:
            how = f"{self.points:+.2f}, one seed"
        else:
            how = f"{self.points:+.2f} ({self.interval.low:+.2f} to {self.interval.high:+.2f})"
        return f"{self.asked}: {self.predicted} against {self.found}: regret {how}"


@dataclass(frozen=True)
class Predicted:
    """All that a study says of it.

    Attributes:
        budgets: regret of ranks by layer, by budget.
        ranks: regret of one rank for all layers, by share of the variance; none where no inputs
            were looked at.
        sweep: the sweep's arms by rank.
        auto: arms of `adapter.rank=auto` by `ranks.by` and by budget.
        explained: mean over layers of the share of the variance, by rank from 1; likewise.
    """

    budgets: tuple[Regret, ...]
    ranks: tuple[Regret, ...]
    sweep: Mapping[int, Arm]
    auto: Mapping[str, Mapping[int, Arm]]
    explained: tuple[float, ...]


def predicted_ranks(arms: Sequence[Arm]) -> Predicted:
    """Compare what was predicted with what was found.

    Args:
        arms: of a study of one data set, model and strategy.

    Raises:
        AdapterLabError: the study has no sweep, or no run with `adapter.rank=auto`, or several
            arms of one rank or budget.
    """
    finished = [arm for arm in arms if arm.runs]
    kinds = {(arm.first.dataset, arm.first.model, arm.first.strategy) for arm in finished}
    if len(kinds) > 1:
        raise AdapterLabError("the study has several data sets, models or strategies; allowed: one")
    sweep: dict[int, Arm] = {}
    auto: dict[str, dict[int, Arm]] = {}
    for arm in finished:
        if _is_auto(arm):
            by = arm.first.params.get("ranks.by", INPUTS)
            budget = int(arm.first.metrics["budget/asked"])
            _put(auto.setdefault(by, {}), budget, arm, f"adapter.rank=auto and budget={budget}")
        else:
            rank = int(arm.first.params["adapter.rank"])
            _put(sweep, rank, arm, f"adapter.rank={rank}")
    if len(sweep) < _LEAST or not auto:
        raise AdapterLabError(
            f"the study has {len(sweep)} ranks and {sum(map(len, auto.values()))} budgets with "
            f"adapter.rank=auto; allowed: {_LEAST} ranks or more, and a budget; "
            "experiment=predict_rank has both"
        )
    sweep = dict(sorted(sweep.items()))
    auto = {by: dict(sorted(auto[by].items())) for by in sorted(auto, reverse=True)}
    budgets = []
    for by, arms_of_it in auto.items():
        for budget, arm in arms_of_it.items():
            within = [rank for rank, one in sweep.items() if one.first.metrics[TRAINED] <= budget]
            if within:
                rank = max(within)
                called = "by layer" if by == INPUTS else f"by layer, from {by},"
                budgets.append(
                    regret(f"budget {budget:,}", (called, arm), (f"rank {rank}", sweep[rank]))
                )
    if INPUTS not in auto:
        return Predicted(tuple(budgets), (), sweep, auto, ())
    explained = _explained(auto[INPUTS][max(auto[INPUTS])])
    best = max(sweep, key=lambda rank: (np.mean(sweep[rank].values(VALIDATION)), -rank))
    ranks = []
    for share in SHARES:
        enough = [rank for rank in sweep if _at(explained, rank) >= share]
        rank = min(enough, default=max(sweep))
        predicted, found = (f"rank {one}" for one in (rank, best))
        asked = f"{share:.0%} of the variance"
        ranks.append(regret(asked, (predicted, sweep[rank]), (found, sweep[best])))
    return Predicted(tuple(budgets), tuple(ranks), sweep, auto, explained)


def _put(into: dict[int, Arm], key: int, arm: Arm, what: str) -> None:
    if key in into:
        raise AdapterLabError(
            f"the study has several arms with {what}, {into[key].name} and {arm.name}; allowed: one"
        )
    into[key] = arm


INPUTS = "inputs"
"""What ranks are given out for unless a run says otherwise: `ranks.by`."""

_LEAST = 2


def regret(asked: str, predicted: tuple[str, Arm], found: tuple[str, Arm]) -> Regret:
    """Return how far the sweep's arm is ahead of the predicted one, paired by replicates.

    Args:
        asked: under which it was predicted.
        predicted: what it is called, and its arm.
        found: likewise, of the sweep.

    Raises:
        AdapterLabError: they have no replicate in common.
    """
    ours, theirs = (
        {run.replicate: run.metrics[TEST] for run in arm.runs} for _, arm in (predicted, found)
    )
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        raise AdapterLabError(f"{asked}: {predicted[0]} and {found[0]} have no seed in common")
    ahead = [100 * (theirs[one] - ours[one]) for one in both]
    interval = t_interval(ahead) if any(ahead) else None
    return Regret(asked, predicted[0], found[0], len(both), float(np.mean(ahead)), interval)


def _is_auto(arm: Arm) -> bool:
    return arm.first.params.get("ranks.asked.rank") == "auto"


def _explained(arm: Arm) -> tuple[float, ...]:
    """Return the mean over layers of the share of the variance that ranks explain, from rank 1."""
    path = artifact(arm.first, CURVE)
    if path is None:
        raise AdapterLabError(f"the run {arm.first.run_id} has kept no {CURVE}")
    layers: dict[str, list[float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            layers.setdefault(row["layer"], []).append(float(row["cumulative"]))
    most = max(map(len, layers.values()))
    # A layer with fewer components than a rank has has explained all.
    padded = [own + [1.0] * (most - len(own)) for own in layers.values()]
    return tuple(np.mean(padded, axis=0).tolist())


def _at(explained: Sequence[float], rank: int) -> float:
    return explained[min(rank, len(explained)) - 1]


def predicted_figure(found: Predicted, title: str) -> Figure:
    """Draw accuracy by parameters, one rank for all beside ranks by layer, and what is explained.

    Bars are 95% intervals over seeds. Where no inputs were looked at, nothing is explained.

    Args:
        found: what there is to draw.
        title: the figure's title.
    """
    width = 11.5 if found.explained else 6.5
    figure = Figure(figsize=(width, 4.3), dpi=DPI, facecolor=PAPER)
    figure.suptitle(title, color=INK)
    left = panel(figure, 0.8, 0.6, 5.2, 3.1)
    plain(left, grid="both")
    kinds = [(found.sweep, "one rank for all layers", BLUE, "o")]
    looks = {INPUTS: (VERMILION, "s"), "gradients": (GREEN, "^")}
    for by, own in found.auto.items():
        kinds.append((own, f"ranks by layer, from one look at {by}", *looks[by]))
    for arms, label, colour, marker in kinds:
        x = [arm.first.metrics[TRAINED] for arm in arms.values()]
        y = [float(np.mean(arm.values(TEST))) for arm in arms.values()]
        intervals = [t_interval(arm.values(TEST)) for arm in arms.values()]
        reach = [0.0 if one is None else one.half_width for one in intervals]
        left.errorbar(x, y, yerr=reach, color=colour, marker=marker, capsize=3, label=label)
    left.set_xscale("log")
    left.xaxis.set_minor_locator(NullLocator())
    trained = {int(arm.first.metrics[TRAINED]) for arm in found.sweep.values()}
    left.xaxis.set_major_locator(FixedLocator(sorted(trained)))
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    left.set_xlabel("trained parameters", color=INK)
    left.set_ylabel("accuracy on the test split", color=INK)
    left.yaxis.set_major_formatter(percent)
    left.legend(frameon=False, fontsize=9, labelcolor=INK)
    for axis in (left.xaxis, left.yaxis):
        draw_scale(axis)
    if found.explained:
        _draw_explained(panel(figure, 7.0, 0.6, 4.0, 3.1), found)
    return figure


def _draw_explained(right: Axes, found: Predicted) -> None:
    """Draw the variance that ranks explain, with what it predicts and what is best."""
    plain(right, grid="both")
    most = min(len(found.explained), 2 * max(found.sweep))
    right.plot(range(1, most + 1), found.explained[:most], color=BLUE)
    for share in SHARES:
        right.axhline(share, color=MUTED, linestyle=":", linewidth=1)
    best = int(found.ranks[0].found.removeprefix("rank "))
    right.axvline(best, color=BLACK, linewidth=1.2, label=f"best on validation: {best}")
    rule = found.ranks[len(SHARES) // 2]
    predicted = int(rule.predicted.removeprefix("rank "))
    label = f"{rule.asked}: {predicted}"
    right.axvline(predicted, color=VERMILION, linestyle="--", linewidth=1.2, label=label)
    right.set_ylim(0, 1.005)
    right.set_xlabel("rank", color=INK)
    right.set_ylabel("variance explained, mean over layers", color=INK)
    right.yaxis.set_major_formatter(percent)
    right.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    for axis in (right.xaxis, right.yaxis):
        draw_scale(axis)
