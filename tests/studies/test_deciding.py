"""What follows from a look: who leaves, and when there is nothing left to find."""

import numpy as np
import pytest
from scipy import stats

from adapterlab.studies.deciding import (
    Answers,
    Compared,
    decide,
    same_examples,
    welch_bonferroni,
)


def pair(a: str, b: str, low: float, high: float, p: float | None) -> Compared:
    return Compared(a, b, (low + high) / 2, low, high, p)


def test_an_arm_that_is_worse_leaves_and_the_rest_are_undecided() -> None:
    pairs = [
        pair("a", "b", 0.01, 0.05, 0.001),
        pair("a", "c", -0.02, 0.03, 0.5),
        pair("b", "c", -0.09, -0.01, 0.002),
    ]
    decision = decide(pairs, ["a", "b", "c"], level=0.01, margin=0.005)
    assert decision.out == {"b": "c"}  # by which it is worse most
    assert decision.left == ("a", "c")
    assert decision.undecided == 1
    assert not decision.is_over
    strict = decide(pairs, ["a", "b", "c"], level=0.0015, margin=0.005)
    assert strict.out == {"b": "a"}


def test_one_that_is_left_ends_it_and_so_do_equivalent_ones() -> None:
    better = pair("a", "b", 0.01, 0.05, 0.001)
    assert decide([better], ["a", "b"], level=0.01, margin=0.0).is_over
    alike = pair("a", "b", -0.004, 0.003, 0.8)
    assert decide([alike], ["a", "b"], level=0.01, margin=0.005).is_over
    assert not decide([alike], ["a", "b"], level=0.01, margin=0.0035).is_over
    assert not decide([pair("a", "b", -0.004, 0.003, None)], ["a", "b"], level=1, margin=0).is_over


def test_arms_that_have_left_are_not_judged_again_nor_judge() -> None:
    pairs = [
        pair("gone", "a", -0.5, -0.1, 1e-9),
        pair("gone", "b", 0.1, 0.5, 1e-9),
        pair("a", "b", -0.1, 0.1, 1.0),
    ]
    decision = decide(pairs, ["a", "b"], level=0.05, margin=0.0)
    assert decision.out == {}
    assert decision.left == ("a", "b")
    assert decision.undecided == 1


def answers(rng: np.random.Generator, accuracy: float, seeds: int, examples: int) -> Answers:
    return Answers(tuple(range(seeds)), rng.random((seeds, examples)) < accuracy)


def test_without_error_over_examples_it_is_welch_s_test() -> None:
    """Of a million examples almost nothing remains but the spread of the scores."""
    rng = np.random.default_rng(1)
    arms = {
        name: Answers(
            tuple(range(count)),
            np.arange(1_000_000) < rng.normal(0.5, 0.02, (count, 1)) * 1_000_000,
        )
        for name, count in (("a", 3), ("b", 6), ("c", 4))
    }
    for found in welch_bonferroni(arms, level=0.03, margin=0.0):
        first, second = (arms[name].correct.mean(axis=1) for name in (found.a, found.b))
        welch = stats.ttest_ind(first, second, equal_var=False)
        assert found.p_adjusted == pytest.approx(min(3 * welch.pvalue, 1), rel=0.02)
        interval = welch.confidence_interval(0.99)
        assert (found.low, found.high) == pytest.approx(tuple(interval), rel=0.02)


def test_seeds_that_agree_exactly_leave_the_examples_error() -> None:
    correct = np.zeros((3, 100), dtype=bool)
    correct[:, :60] = True
    (found,) = welch_bonferroni(
        {"a": Answers((0, 1, 2), correct), "b": Answers((0, 1, 2), correct)},
        level=0.05,
        margin=0.0,
    )
    assert found.difference == 0
    assert found.p_adjusted == 1
    assert -0.05 < found.low < -0.02 < 0.02 < found.high < 0.05


@pytest.mark.parametrize("arms", [2, 5])
def test_studies_without_a_difference_are_seldom_told_apart(arms: int) -> None:
    rng = np.random.default_rng(arms)
    found = 0
    for _ in range(300):
        difficulty = rng.random(200)
        study = {}
        for name in range(arms):
            chance = np.clip(0.8 + rng.normal(0, 0.02, (3, 1)), 0, 1)
            study[str(name)] = Answers((0, 1, 2), difficulty + rng.normal(0, 0.1, 200) < chance)
        p = [pair.p_adjusted for pair in welch_bonferroni(study, level=0.05, margin=0.0)]
        found += min(p) <= 0.05
    assert found <= 0.055 * 300 + 3 * (0.05 * 0.95 * 300) ** 0.5
    assert found < 300 * 0.08


def test_power_is_there() -> None:
    rng = np.random.default_rng(0)
    arms = {"a": answers(rng, 0.9, 5, 1000), "b": answers(rng, 0.8, 5, 1000)}
    (found,) = welch_bonferroni(arms, level=0.05, margin=0.0)
    assert found.p_adjusted is not None
    assert found.p_adjusted < 0.001
    assert found.low > 0


def test_other_examples_are_noticed() -> None:
    labels = np.array([0, 1, 2])
    assert same_examples({"a": labels, "b": labels.copy()}) is None
    assert same_examples({"a": labels, "b": labels[:2]}) == "b"
    assert same_examples({"a": labels, "b": labels, "c": labels[::-1]}) == "c"
