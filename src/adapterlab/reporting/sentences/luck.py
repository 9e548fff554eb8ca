"""Where the luck of an arm's accuracy comes from: components of its runs, in words."""

from collections.abc import Sequence

import numpy as np

from adapterlab.base.dotted_names import within
from adapterlab.evidence.arrays import Booleans
from adapterlab.evidence.variance import (
    EXAMPLES,
    Component,
    Luck,
    crossed,
    of_examples,
    one_at_a_time,
    put_together,
)
from adapterlab.reporting.formatting import listed
from adapterlab.reporting.reading.study import NO_NAMES, Run
from adapterlab.reporting.reading.versions import TAGS
from adapterlab.reporting.tables.arms import Table

ACCURACY = "test/accuracy"
FACTORS = {
    "init_seed": "initialisation",
    "order_seed": "batch order",
    "dataset.validation_seed": "validation cut",
    "base.seed": "base",
}
"""Options that are drawn at random, and what they draw."""

_FOLLOWS = ("seed", "base.dataset.validation_seed")
"""Options that follow from those above, or from what all runs share."""


def alike(runs: Sequence[Run]) -> list[list[Run]]:
    """Group the runs of a study by all that is not drawn at random, the largest group first.

    Another base is another arm, so that such a group may span several arms.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        options = {key: value for key, value in run.params.items() if not _is_drawn(key)}
        kept = tuple(sorted((*options.items(), *_computed_on(run).items())))
        groups.setdefault(kept, []).append(run)
    return sorted(groups.values(), key=len, reverse=True)


def _computed_on(run: Run) -> dict[str, str]:
    """Return what a run was given, and in which precision; a base made here may be drawn."""
    given = tuple(TAGS) if run.params.get("base.kind") == "pretrained" else ("data",)
    known = {TAGS[what]: run.tags.get(TAGS[what], "") for what in given}
    return {**known, "precision": run.precision}


def luck_of(runs: Sequence[Run], correct: Booleans | None) -> tuple[Luck | None, str]:
    """Estimate what makes the test accuracy of one arm's runs vary.

    Factors that have the same levels throughout, as initialisation and batch order have where
    only ``seed`` varies, are one. Where the runs are a full cross of two or more factors, they
    are analysed as such, and else as varied one at a time.

    Args:
        runs: that have finished, and differ in `FACTORS` only; see `alike`.
        correct: their answers, ``[R, N]``, in the order of ``runs``; None without answers, and
            then test examples are no component.

    Returns:
        The components; or None, and why there are none.
    """
    others = _differing(runs)
    if others:
        return None, f"its runs differ in {listed(others)} too"
    levels = _levels(runs)
    if not levels:
        return None, "nothing that is drawn at random was varied"
    values = [run.metrics[ACCURACY] for run in runs]
    sizes = [len(set(column)) for column in levels.values()]
    try:
        if len(levels) > 1 and np.prod(sizes) == len(runs):
            found = crossed(values, levels)
        else:
            found = one_at_a_time(values, levels)
    except ValueError as error:
        return None, f"its runs are no design that tells sources apart: {error}"
    if correct is not None and correct.shape[1] > 1:
        found = [*found, of_examples(correct)]
    return put_together(found), ""


def variance_table(luck: Luck) -> Table:
    """Return one row a component, the largest first."""
    rows = [
        (
            one.name,
            deviation_said(one),
            f"{100 * one.interval.low:.2f} to {100 * one.interval.high:.2f}",
            f"{one.share:.0%}",
            str(one.runs),
        )
        for one in luck.components
    ]
    header = ("drawn at random", "standard deviation (points)", "95% interval",
              "share of the variance", "runs")  # fmt: skip
    return Table("Where the luck comes from", header, tuple(rows))


def about_luck(luck: Luck) -> str:
    """Say which component rules, and what would make an accuracy more certain."""
    first, names = luck.components[0], luck.rules
    if not first.deviation:
        return "Nothing that was drawn at random changed the accuracy in these runs."
    points = f"{100 * first.deviation:.2f} points"
    if len(luck.components) == 1:
        return f"Of what was drawn at random, only {first.name} was looked at: {points}."
    if len(names) > 1:
        return (
            f"Which source of luck is the largest is open between {listed(names)}; the largest "
            f"estimate is that of {first.name}, a standard deviation of {points}."
        )
    remedy = "more test examples" if first.name == EXAMPLES else "more seeds"
    return (
        f"The luck comes mostly from the {first.name.removeprefix('the ')}: a standard deviation "
        f"of {points}, {first.share:.0%} of the variance. Of it, {remedy} would take off most."
    )


def deviation_said(one: Component) -> str:
    """Return a component's standard deviation, in points."""
    return "none seen" if not one.deviation else f"{100 * one.deviation:.2f}"


def _differing(runs: Sequence[Run]) -> list[str]:
    """Return options in which runs differ, but for those drawn at random."""
    keys = sorted({key for run in runs for key in run.params})
    return [
        key for key in keys if not _is_drawn(key) and len({run.params.get(key) for run in runs}) > 1
    ]


def _is_drawn(key: str) -> bool:
    """Say whether an option is drawn, follows from what is, or changes no result."""
    return key in FACTORS or key in _FOLLOWS or within(key, NO_NAMES)


def _levels(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the levels of all factors that vary, those that vary together as one."""
    together: dict[tuple[int, ...], tuple[list[str], list[str]]] = {}
    for option, name in FACTORS.items():
        column = [run.params.get(option, "") for run in runs]
        places = {value: place for place, value in enumerate(dict.fromkeys(column))}
        if len(places) > 1:
            same = tuple(places[value] for value in column)
            together.setdefault(same, ([], column))[0].append(name)
    return {" with ".join(names): column for names, column in together.values()}
