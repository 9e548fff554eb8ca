"""What a planned study could find: its power, met by studies that are simulated."""

from dataclasses import replace

import numpy as np
import pytest

from adapterlab.evidence.design import StudyDesign, said, smallest_difference
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import Verdict, compare_all

PLAIN = StudyDesign(arms=4, seeds=5, deviation=0.01, examples=5000, accuracy=0.9)


def study(rng: np.random.Generator, design: StudyDesign, lead: float) -> list[Replicates]:
    """Arms whose answers have the design's errors; the first one is ahead."""
    size = (design.accuracy * (1 - design.accuracy)) ** 0.5
    shared = rng.standard_normal(design.examples) * design.agreement**0.5
    arms = []
    for place in range(design.arms):
        own = rng.standard_normal(design.examples) * (1 - design.agreement) ** 0.5
        mean = design.accuracy + (lead if place == 0 else 0.0)
        runs = rng.normal(mean, design.deviation, (design.seeds, 1))
        arms.append(
            Replicates(str(place), tuple(range(design.seeds)), runs + size * (shared + own))
        )
    return arms


@pytest.mark.parametrize(
    "design",
    [
        PLAIN,
        replace(PLAIN, seeds=3, arms=3),
        replace(PLAIN, deviation=0.001),
        replace(PLAIN, deviation=0.0, examples=300),
    ],
    ids=["both", "three seeds", "examples rule", "no luck of seeds"],
)
def test_the_difference_is_found_80_times_in_100(design: StudyDesign) -> None:
    rng = np.random.default_rng(design.seeds)
    lead = smallest_difference(design)
    assert lead is not None
    studies = 150
    found = sum(
        compare_all(study(rng, design, lead), draws=2000).compare("0", "1").verdict
        is Verdict.BETTER
        for _ in range(studies)
    )
    assert 0.7 < found / studies < 0.9


def test_more_of_what_rules_finds_more() -> None:
    found = smallest_difference(PLAIN, draws=1000)
    assert found is not None

    def changed(**options: int | float) -> float:
        design = replace(PLAIN, **options)  # type: ignore[arg-type]
        other = smallest_difference(design, draws=1000)
        assert other is not None
        return other

    assert PLAIN.seeds_rule
    assert changed(seeds=20) < 0.8 * found
    assert changed(arms=20) > 1.1 * found
    assert changed(seeds=3) > 1.2 * found
    assert changed(examples=200) > 1.3 * found
    assert changed(agreement=0.9) < found
    assert changed(deviation=0.03) > 1.8 * found
    assert not replace(PLAIN, deviation=0.001).seeds_rule


def test_many_arms_of_three_seeds_find_nothing_small() -> None:
    """A map of ranks and alphas, such as left a gap of many points undecided."""
    design = StudyDesign(arms=33, seeds=3, deviation=0.03, examples=1000, accuracy=0.8)
    found = smallest_difference(design, draws=1000)
    assert found is not None
    assert found > 0.09


def test_a_large_study_comes_to_the_normal_test() -> None:
    """Two arms of many seeds: z of 5% and of 80%, times the error."""
    design = StudyDesign(2, 200, 0.02, 10_000, 0.8)
    error = np.hypot(0.02 * (2 / 200) ** 0.5, (2 * 0.16 * 0.5 / 10_000) ** 0.5)
    assert smallest_difference(design) == pytest.approx((1.960 + 0.842) * error, rel=0.02)


def test_a_test_takes_three_seeds() -> None:
    design = replace(PLAIN, seeds=2)
    assert smallest_difference(design) is None
    assert said(design, None, prior="assumed").startswith(
        "4 arms x 2 seeds can tell no arms apart: a test takes 3 seeds an arm (seeds' standard "
    )


def test_it_is_said_with_what_is_known() -> None:
    assert said(PLAIN, 0.0183, prior="seen in study ranks") == (
        "4 arms x 5 seeds would find a difference of 1.8 points 80 times in 100 (seeds' standard "
        "deviation 1 points, accuracy 90%, 5,000 test examples; seen in study ranks). Most of its "
        "uncertainty comes from the seeds, so more seeds would narrow it most."
    )
    few = replace(PLAIN, deviation=0.0)
    assert "more test examples would narrow it most" in said(few, 0.01, prior="assumed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": 1}, "1 arms, 5 seeds, 5000 examples; expected at least"),
        ({"seeds": 0}, "0 seeds"),
        ({"examples": 0}, "0 examples"),
        ({"deviation": -0.1}, "expected shares from 0 to 1"),
        ({"accuracy": 90.0}, "expected shares from 0 to 1"),
    ],
)
def test_what_is_no_design(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"power is 0\.01"):
        smallest_difference(PLAIN, power=0.01)
