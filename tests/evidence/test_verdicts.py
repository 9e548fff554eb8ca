from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind

from adapterlab.evidence.family import RESERVE
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import Comparison, Family, Verdict, compare_all


def arm(name: str, values: np.ndarray, *, first: int = 0) -> Replicates:
    return Replicates(name, tuple(range(first, first + len(values))), values)


def scores(name: str, values: list[float], examples: int = 10_000) -> Replicates:
    """An arm whose examples all have the run's score, so that only runs vary."""
    return arm(name, np.repeat(np.array(values)[:, None], examples, axis=1))


def right(rng: np.random.Generator, shares: list[float], examples: int = 1000) -> np.ndarray:
    """Answers ``[S, N]`` of runs that are right on so many examples, the easy ones first."""
    hard = np.sort(rng.random(examples))
    noise = rng.random((len(shares), examples)) < 0.03
    return (hard < np.array(shares)[:, None]) ^ noise


def verdicts(family: Family) -> dict[tuple[str, str], Verdict]:
    names = [one.name for one in family.arms]
    return {(a, b): family.compare(a, b).verdict for a in names for b in names if a != b}


def test_every_verdict_follows_from_the_interval() -> None:
    rng = np.random.default_rng(0)
    arms = [
        arm("best", right(rng, [0.90, 0.91, 0.89, 0.90])),
        arm("as good", right(rng, [0.90, 0.89, 0.91, 0.90])),
        arm("worse", right(rng, [0.70, 0.71, 0.72, 0.70])),
        arm("wild", right(rng, [0.60, 0.95, 0.85, 0.70])),
    ]
    for margin in (0.004, 0.05, 0.3):
        family = compare_all(arms, margin=margin)
        for (a, b), verdict in verdicts(family).items():
            low, high = family.compare(a, b).interval.low, family.compare(a, b).interval.high
            expected = (
                Verdict.BETTER if low > 0 else Verdict.WORSE if high < 0
                else Verdict.UNDECIDED if low <= -margin
                else Verdict.EQUIVALENT if high < margin else Verdict.NOT_WORSE
            )  # fmt: skip
            assert verdict is expected
    assert verdicts(family)["best", "as good"] is Verdict.EQUIVALENT
    assert verdicts(family)["best", "worse"] is Verdict.BETTER
    assert family.letters["worse"] != family.letters["best"]


def test_the_widest_interval_is_that_of_some_pair() -> None:
    rng = np.random.default_rng(5)
    arms = [
        Replicates(str(i), (0, 1, 2), rng.random((3, 500)) < share)
        for i, share in enumerate((0.7, 0.75, 0.8))
    ]
    family = compare_all(arms)
    found = [family.compare(a, b).interval for a in "012" for b in "012" if a < b]
    assert family.widest == max(max(-one.low, one.high) for one in found if one is not None)
    assert compare_all(arms, control="1").widest is None
    assert compare_all(arms[:1]).widest is None


def test_a_pair_turned_round_is_the_pair_turned_round() -> None:
    rng = np.random.default_rng(1)
    family = compare_all([arm(n, right(rng, [0.8, 0.82, 0.81])) for n in "abc"])
    for a, b in combinations("abc", 2):
        one, other = family.compare(a, b), family.compare(b, a)
        assert one.difference == -other.difference
        assert (one.interval.low, one.interval.high) == (-other.interval.high, -other.interval.low)
        assert (one.p, one.p_adjusted) == (other.p, other.p_adjusted)


def test_the_order_of_arms_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    arms = [arm(n, right(rng, [0.8, 0.7 + i / 20, 0.81])) for i, n in enumerate("abcd")]
    one, other = compare_all(arms), compare_all(arms[::-1])
    assert verdicts(one) == verdicts(other)
    assert one.letters == other.letters
    assert one.may_be_best == other.may_be_best


def test_lower_is_better_for_a_loss() -> None:
    rng = np.random.default_rng(3)
    low, high = (arm(n, rng.normal(m, 0.1, (4, 500))) for n, m in (("low", 0.3), ("high", 0.6)))
    family = compare_all([low, high], higher_is_better=False, margin=0.01)
    assert family.compare("low", "high").verdict is Verdict.BETTER
    assert family.compare("low", "high").difference < 0
    assert family.letters == {"low": "a", "high": "b"}


def test_the_best_of_a_loss_is_the_lowest() -> None:
    rng = np.random.default_rng(3)
    arms = [arm(n, rng.normal(m, 0.1, (4, 500))) for n, m in (("low", 0.3), ("high", 0.6))]
    assert compare_all(arms, higher_is_better=False).may_be_best == {"low": True, "high": False}


@pytest.mark.parametrize("seed", range(5))
def test_equivalence_is_that_of_two_one_sided_tests(seed: int) -> None:
    """Of two arms with many runs, it turns at the margin at which statsmodels' TOST does."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.9, 0.01, 150), rng.normal(0.901, 0.02, 150)

    def turns(equivalent) -> float:
        margins = np.linspace(0.0005, 0.02, 400)
        return float(next(m for m in margins if equivalent(m)))

    family = compare_all([scores("x", list(x)), scores("y", list(y))], level=0.10 / RESERVE)
    interval = family.compare("x", "y").interval
    ours = turns(lambda m: -m < interval.low and interval.high < m)
    theirs = turns(lambda m: ttost_ind(x, y, -m, m, usevar="unequal")[0] < 0.05)
    assert ours == pytest.approx(theirs, rel=0.04)


def test_an_arm_with_few_seeds_changes_nothing_for_the_others() -> None:
    rng = np.random.default_rng(4)
    arms = [arm(n, right(rng, [0.8, 0.79, 0.81 - i / 10])) for i, n in enumerate("abc")]
    alone, joined = compare_all(arms), compare_all([*arms, arm("one", right(rng, [0.5]))])
    for pair, verdict in verdicts(alone).items():
        assert joined.compare(*pair).verdict is verdict
        assert joined.compare(*pair).p_adjusted == alone.compare(*pair).p_adjusted
    assert joined.letters["one"] == ""
    assert joined.may_be_best["one"] is None


def test_two_seeds_that_differ_beyond_doubt_are_told_apart_as_trained() -> None:
    """69.7% against 24.3% with two seeds is no luck, whatever other seeds may do."""
    rng = np.random.default_rng(5)
    arms = [arm("head", right(rng, [0.24, 0.245])), arm("lora", right(rng, [0.69, 0.70]))]
    one = compare_all(arms).compare("lora", "head")
    assert one.verdict is Verdict.TRAINED_BETTER
    assert one.interval is None
    assert one.p_adjusted is None
    assert "2 of the 3 seeds" in one.why
    assert compare_all(arms).compare("head", "lora").verdict is Verdict.TRAINED_WORSE


def test_as_trained_wants_every_model_of_both() -> None:
    rng = np.random.default_rng(6)
    arms = [arm("head", right(rng, [0.24, 0.90])), arm("lora", right(rng, [0.69, 0.70]))]
    assert compare_all(arms).compare("lora", "head").verdict is Verdict.TOO_FEW_SEEDS


def test_a_loss_is_told_apart_as_trained_too() -> None:
    rng = np.random.default_rng(7)
    low, high = (arm(n, rng.normal(m, 0.1, (1, 500))) for n, m in (("low", 0.3), ("high", 0.6)))
    family = compare_all([low, high], higher_is_better=False)
    assert family.compare("low", "high").verdict is Verdict.TRAINED_BETTER


def test_only_planned_pairs_are_compared_with_a_control() -> None:
    rng = np.random.default_rng(8)
    arms = [arm(n, right(rng, [0.8, 0.79, 0.81 - i / 10])) for i, n in enumerate("abc")]
    family = compare_all(arms, control="a")
    assert family.compare("b", "a").p_adjusted <= compare_all(arms).compare("b", "a").p_adjusted
    unplanned = family.compare("b", "c")
    assert unplanned.verdict is Verdict.NOT_COMPARABLE
    assert unplanned.why == "only pairs with a were planned"
    assert set(family.letters.values()) == {""}


@pytest.mark.parametrize(("n", "arms"), [(3, 4), (5, 2), (10, 6)])
def test_what_could_have_been_seen_is_seen_four_times_in_five(n: int, arms: int) -> None:
    """On average over studies; each says it of its own errors, which are estimates."""
    rng = np.random.default_rng(n)
    found = 0.0
    trials = 60
    for _ in range(trials):

        def study(shift: float) -> Family:
            made = [
                scores(str(i), list(rng.normal(0.8, 0.01, n) + shift * (i == 0)), 200)
                for i in range(arms)
            ]
            return compare_all(made, draws=2000, seed=int(rng.integers(1 << 30)))

        seen = study(0.0).compare("0", "1").smallest_detectable
        assert seen is not None
        found += study(seen).compare("0", "1").verdict is Verdict.BETTER
    share = found / trials
    assert abs(share - 0.8) < 3 * np.sqrt(0.8 * 0.2 / trials)


def simulated(rng: np.random.Generator, arms: int, runs: int, examples: int, spread: float) -> list:
    """Arms without a difference: examples are easy or hard, for all arms and for each."""
    made = []
    easy = stats.norm.ppf(0.85) * 1.2 + rng.normal(0, 1, examples)
    for i in range(arms):
        own = easy + rng.normal(0, 0.3, examples)
        luck = rng.normal(0, spread, (runs, 1))
        made.append(arm(str(i), own + luck + rng.normal(0, 0.5, (runs, examples)) > 0))
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arms", "runs", "spread"), [(2, 3, 0.05), (6, 3, 0.0), (6, 5, 0.1), (12, 3, 0.1)]
)
def test_at_most_five_in_a_hundred_studies_have_a_false_difference(
    arms: int, runs: int, spread: float
) -> None:
    """A short part of scripts/simulations/verdicts.py; whichever pair is looked at."""
    rng = np.random.default_rng(arms + runs)
    studies = 250
    false = missed = 0
    for seed in range(studies):
        family = compare_all(simulated(rng, arms, runs, 300, spread), draws=800, seed=seed)
        assert family.pairs is not None
        false += bool(((family.pairs.low > 0) | (family.pairs.high < 0)).any())
        missed += not family.may_be_best["0"]
    most = 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)
    assert false / studies <= most
    assert missed / studies <= most


def test_comparisons_are_plain_values() -> None:
    rng = np.random.default_rng(9)
    family = compare_all([arm(n, right(rng, [0.8, 0.79, 0.81])) for n in "ab"])
    one = family.compare("a", "b")
    assert isinstance(one, Comparison)
    assert isinstance(one.p, float)
    assert one.runs == (3, 3)
    assert family.share_of_runs("a", "b") == pytest.approx(
        family.spread.share_of_runs(0, 1)  # type: ignore[union-attr]
    )


def test_arguments_are_checked() -> None:
    rng = np.random.default_rng(10)
    a, b = arm("a", right(rng, [0.8] * 3)), arm("b", right(rng, [0.8] * 3))
    with pytest.raises(ValueError, match="different names"):
        compare_all([a, a])
    with pytest.raises(ValueError, match="margin is 0"):
        compare_all([a, b], margin=0)
    with pytest.raises(ValueError, match="c is no arm"):
        compare_all([a, b], control="c")
    with pytest.raises(ValueError, match="1000 examples, b on 9"):
        compare_all([a, arm("b", np.ones((3, 9), bool))])
    with pytest.raises(ValueError, match="c is no arm of this family"):
        compare_all([a, b]).compare("a", "c")
    with pytest.raises(ValueError, match="not compared with itself"):
        compare_all([a, b]).compare("a", "a")


@pytest.mark.parametrize(
    ("values", "replicates", "said"),
    [
        (np.ones((2, 3)), (0,), r"expected \[S, N\]"),
        (np.ones(3), (0,), r"expected \[S, N\]"),
        (np.ones((2, 0)), (0, 1), "no test examples"),
        (np.ones((2, 3)), (0, 0), "comes twice"),
        (np.full((1, 3), np.nan), (0,), "expected numbers"),
    ],
)
def test_runs_that_do_not_fit_are_refused(values: np.ndarray, replicates: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Replicates("a", replicates, values)


def test_few_examples_show_no_equivalence() -> None:
    """360 examples may lack all of the 2 on which arms differ that are half a point apart."""
    same = np.ones((3, 360), bool)
    same[:, :20] = False
    flipped = same.copy()
    flipped[0, 30] = False
    arms = [arm("a", same), arm("b", flipped)]
    family = compare_all(arms, margin=0.005)
    assert family.enough_examples == 600
    interval = family.compare("a", "b").interval
    assert interval is not None
    assert family.compare("a", "b").verdict is Verdict.UNDECIDED
    assert compare_all(arms, margin=0.05).compare("a", "b").verdict is Verdict.EQUIVALENT


def test_other_scores_than_answers_need_no_number_of_examples() -> None:
    rng = np.random.default_rng(11)
    arms = [arm(n, rng.normal(0.3, 0.01, (4, 50))) for n in "ab"]
    family = compare_all(arms, margin=0.05, higher_is_better=False)
    assert family.enough_examples == 0
    assert family.compare("a", "b").verdict is Verdict.EQUIVALENT
