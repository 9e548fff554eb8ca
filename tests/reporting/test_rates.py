"""What a report says of a grid of learning rates, studies made up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from figure_cases import drawn, marks
from synthetic import Made, study
from test_pictures import assert_whole_and_apart

from adapterlab.reporting.content import page_of
from adapterlab.reporting.figures.rates import rates_figure
from adapterlab.reporting.figures.study import narrow_figure
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.overall import Overall
from adapterlab.reporting.rates import Rates, about_rates, rates_of, rates_tables
from adapterlab.reporting.reading.study import Status

Grid = Mapping[str, Mapping[float, tuple[float, Sequence[float]]]]
"""By way and rate: the test accuracy, and the validation of each seed."""


def made(grid: Grid, *, margin: float = 0.02, spread: float = 0.0, **options: int) -> Findings:
    seeds = options.pop("seeds", 3)
    return study(
        *(
            Made(
                f"{way} optimizer.lr={rate:g}",
                accuracy,
                seeds,
                spread,
                params={"optimizer.lr": f"{rate}", "adapter.rank": way},
                metrics={"best/val_accuracy": list(validation)},
            )
            for way, row in grid.items()
            for rate, (accuracy, validation) in row.items()
        ),
        margin=margin,
        examples=2000,
        **options,
    )


def found(grid: Grid, **options: float) -> Rates:
    rates = rates_of(made(grid, **options))  # type: ignore[arg-type]
    assert rates is not None
    return rates


ALIKE: Grid = {
    f"lora rank={rank}": {
        0.01: (0.7, [0.7, 0.7, 0.7]),
        0.1: (0.8, [0.8, 0.8, 0.8]),
        1.0: (0.6, [0.6, 0.6, 0.6]),
    }
    for rank in (16, 2)
}

APART: Grid = {
    "full": {
        0.01: (0.9, [0.9, 0.9, 0.9]),
        0.1: (0.6, [0.7, 0.7, 0.7]),
        1.0: (0.3, [0.5, 0.5, 0.5]),
    },
    "lora": {
        0.01: (0.6, [0.5, 0.5, 0.5]),
        0.1: (0.8, [0.8, 0.7, 0.8]),
        1.0: (0.79, [0.7, 0.75, 0.7]),
    },
}


def test_one_rate_that_is_best_of_all() -> None:
    rates = found(ALIKE)
    assert rates.ways == ("lora rank=2", "lora rank=16"), "in the order of their numbers"
    assert (rates.rates, rates.found.shared, rates.base) == ((0.01, 0.1, 1.0), 1, None)
    assert about_rates(rates) == (
        "Of 3 rates the best on validation (accuracy) is 0.1 for every arm.",
        "One rate for all arms, 0.1, is the best of each, whichever seed is left out.",
    )
    best, by_rate = rates_tables(rates)
    assert best.header == ("arm", "best rate", "by seed", "cost of 0.1 for all", "verdict")
    assert best.rows[0] == ("lora rank=2", "0.1", "0.1 in 3", "0", "the same")
    assert by_rate.title == "Test accuracy by rate"
    assert by_rate.header == ("arm", "0.01", "0.1", "1")
    assert by_rate.rows[1] == ("lora rank=16", "70.00%", "80.00%", "60.00%")


def test_what_the_shared_rate_costs_and_multiples_of_full() -> None:
    """At 0.1 the means of validation lose 0.2 and 0, at 0.01 they lose 0 and 0.27."""
    rates = found(APART)
    assert (rates.found.shared, rates.base) == (1, 0)
    want, cost, times = about_rates(rates)
    assert want == (
        "Of 3 rates the best on validation (accuracy) is 0.01 for full; 0.1 for lora. 0.01 is the "
        "smallest that was tried: beyond may be better."
    )
    assert cost.startswith(
        "One rate for all arms, 0.1, in place of the best of each costs full +30.00 points (+"
    )
    assert cost.endswith("; it is that of lora (95% confidence for all at once).")
    assert times == (
        "The best rate of lora is 10 times that of full (too few seeds for an interval; by seed: "
        "10 in 2, 100 in 1)."
    )
    best = rates_tables(rates)[0]
    assert best.header[3] == "times full's"
    assert [row[3] for row in best.rows] == ["", "10"]
    assert [row[-1] for row in best.rows] == ["costs", "the same"]


def test_the_interval_of_a_multiple_is_over_seeds() -> None:
    lucky = [0.9, 0.6, *[0.7] * 8]
    grid: Grid = {
        "full": {
            rate: (0.8, [value] * 10) for rate, value in ((0.1, 0.9), (1.0, 0.5), (10.0, 0.1))
        },
        "lora": {0.1: (0.7, lucky), 1.0: (0.8, [0.8] * 10), 10.0: (0.7, [0.7] * 10)},
    }
    rates = found(grid, seeds=10)
    assert rates.times(1) == (1.0, *[10.0] * 9)
    assert (
        "is 10 times that of full (95% interval of the median over seeds 10 to 10;"
        in (about_rates(rates)[-1])
    )


@pytest.mark.parametrize(
    ("margin", "verdict", "said"),
    [
        (0.05, "within the margin", "costs full less than 5.00 points: +1.00 points (-"),
        (0.01, "undecided", "costs full +1.00 points (-"),
    ],
)
def test_a_small_cost(margin: float, verdict: str, said: str) -> None:
    grid: Grid = {
        "full": {
            0.01: (0.80, [0.9, 0.9, 0.9]),
            0.1: (0.79, [0.89, 0.89, 0.89]),
            1.0: (0.3, [0.5, 0.5, 0.5]),
        },
        "lora": APART["lora"],
    }
    rates = found(grid, margin=margin)
    assert rates.verdict(0) == verdict
    assert said in about_rates(rates)[1]


@pytest.mark.parametrize(
    ("apart", "options"), [({"data": "abc"}, {}), ({}, {"base.dataset.crop": "2"})]
)
def test_a_grid_on_other_data_or_over_another_base_is_another(
    apart: dict[str, str], options: dict[str, str]
) -> None:
    """Its arms have the same options, or nearly, and would have taken the places of the others."""
    findings = made({**ALIKE, "lora rank=2 data=abc": ALIKE["lora rank=2"]})
    moved = [
        replace(
            arm,
            arm=replace(
                arm.arm,
                apart=apart,
                runs=tuple(
                    replace(run, params={**run.params, "adapter.rank": "lora rank=2", **options})
                    for run in arm.arm.runs
                ),
            ),
        )
        if "data=abc" in arm.name
        else arm
        for arm in findings.arms
    ]
    rates = rates_of(replace(findings, arms=tuple(moved)))
    assert rates is not None
    assert {*rates.ways} == {"lora rank=2", "lora rank=2 data=abc", "lora rank=16"}


def test_what_is_no_grid() -> None:
    few = {way: dict(list(row.items())[:2]) for way, row in ALIKE.items()}
    assert rates_of(made(few)) is None, "two rates"
    assert rates_of(made({"full": APART["full"]})) is None, "one way"
    other = {"full": APART["full"], "lora": {10 * r: v for r, v in APART["lora"].items()}}
    assert rates_of(made(other)) is None, "two rates in common"
    short = {w: {r: (a, v[:2]) for r, (a, v) in row.items()} for w, row in ALIKE.items()}
    assert rates_of(made(short, seeds=2)) is None, "two seeds"


@pytest.mark.parametrize("fate", ["failed", "running", "not on these seeds"])
def test_a_rate_of_which_a_seed_is_missing_is_not_chosen_and_says_why(fate: str) -> None:
    findings = made(APART)
    (best,) = (arm for arm in findings.arms if arm.name == "full optimizer.lr=0.01")
    gone = tuple(
        replace(run, status=Status(fate)) for run in best.arm.runs[2:] if fate in [*Status]
    )
    lost = replace(best, arm=replace(best.arm, runs=best.arm.runs[:2], lost=gone))
    arms = tuple(lost if arm is best else arm for arm in findings.arms)
    rates = rates_of(replace(findings, arms=arms))
    assert rates is not None
    assert rates.rates[rates.found.ways[0].place] == 0.1
    assert rates_tables(rates)[1].rows[0] == ("full", fate, "60.00%", "30.00%")


@pytest.mark.parametrize("narrow", [False, True])
def test_its_picture(*, narrow: bool) -> None:
    findings = made(ALIKE | APART | {"dora " + "a long option=0.001 " * 9: APART["lora"]})
    figure = drawn(narrow_figure("rates", findings) if narrow else rates_figure(findings))
    (axes,) = [axes for axes in figure.axes if axes.lines]
    filled = marks(axes, 9)
    assert (0.01, 0.9) in filled, "full, at its best on validation"
    assert len(filled) == 5
    assert_whole_and_apart(figure)
    assert rates_figure(made({"full": APART["full"]})) is None
    close = {rate: (0.7, [0.7] * 3) for rate in (1e-4, 2e-4, 3e-4, 1e-3, 0.1)}
    unlike = made({"full": close, "lora": close})
    assert_whole_and_apart(
        drawn(narrow_figure("rates", unlike) if narrow else rates_figure(unlike))
    )


def test_it_stands_in_the_report() -> None:
    findings = made(APART)
    page = page_of([findings], Overall())
    assert page.verdict[-3:] == about_rates(found(APART))
    assert [table.title for table in page.tables][2:4] == ["Best rates", "Test accuracy by rate"]
