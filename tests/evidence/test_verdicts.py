import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from adapterlab.evidence import verdicts
from adapterlab.evidence.intervals import Interval
from adapterlab.evidence.multiple import holm
from adapterlab.evidence.paired import mcnemar, paired_bootstrap, paired_permutation
from adapterlab.evidence.power import smallest_detectable_shift
from adapterlab.evidence.verdicts import Comparison, Replicates, Verdict, compare_with

SEEDS = 5
FAMILY = 7


def arm(name: str, scores: list[float], *, first_seed: int = 0) -> Replicates:
    seeds = tuple(range(first_seed, first_seed + len(scores)))
    return Replicates(name, seeds, tuple(scores), None)


def answering(name: str, correct: np.ndarray, *, first_seed: int = 0) -> Replicates:
    seeds = tuple(range(first_seed, first_seed + len(correct)))
    return Replicates(name, seeds, tuple(correct.mean(axis=1).tolist()), correct)


def simulated(
    rng: np.random.Generator,
    chance: np.ndarray,
    *,
    examples: float = 0.0,
    seeds: float = 0.0,
) -> np.ndarray:
    """Answers ``[SEEDS, N]`` of one arm.

    The arm's own luck with an example is the same in each seed; a seed's luck is the same on each
    example. Both are deviations in logits. ``chance`` is of a logit at 0 being right.
    """
    n = len(chance)
    logits = stats.norm.ppf(chance) + rng.normal(0, examples, n) + rng.normal(0, seeds, (SEEDS, 1))
    return logits + rng.normal(size=(SEEDS, n)) > 0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For simulations: 1,000 draws still tell .05 / 7 from noise; the slow and unused is cut."""
    for test in (paired_bootstrap, paired_permutation):
        monkeypatch.setattr(verdicts, test.__name__, partial(test, resamples=1000))
    monkeypatch.setattr(verdicts, "smallest_detectable_shift", lambda *_, **__: None)


def differs(comparison: Comparison) -> bool:
    return comparison.verdict in (Verdict.BETTER, Verdict.WORSE)


def at_most_5_in_100(count: int, families: int) -> bool:
    return count / families <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / families)


def test_figures_over_seeds_by_hand() -> None:
    # Differences .02, .03, .04: mean .03, deviation .01, t = .03 / (.01 / √3) = 5.196, df 2.
    better, worse = compare_with(
        arm("full", [0.80, 0.81, 0.82]),
        [arm("lora", [0.82, 0.84, 0.86]), arm("head", [0.78, 0.80, 0.78])],
    )
    assert (better.a, better.b, better.seeds, better.paired) == ("lora", "full", 3, True)
    assert better.difference == pytest.approx(0.03)
    assert better.effect == pytest.approx(3)
    assert better.interval is not None
    assert better.interval.half_width == pytest.approx(4.3027 * 0.01 / math.sqrt(3), abs=1e-6)
    p = stats.ttest_1samp([0.02, 0.03, 0.04], 0).pvalue
    assert (better.p_seeds, better.p_examples) == (pytest.approx(p), None)
    # Differences -.02, -.01 and -.04.
    p_worse = stats.ttest_1samp([-0.02, -0.01, -0.04], 0).pvalue
    assert [better.p_adjusted, worse.p_adjusted] == pytest.approx(holm([p, p_worse]))
    assert (better.p_both, better.mcnemar) == (None, ())


def test_verdicts_are_of_the_corrected_p() -> None:
    reference = arm("full", [0.80, 0.81, 0.82])
    # p = .035 and .008: alone both count, of a family of 2 both, of 3 with noise just one.
    weak, strong = arm("weak", [0.82, 0.84, 0.86]), arm("strong", [0.76, 0.765, 0.785])
    noise = arm("noise", [0.81, 0.79, 0.825])

    def verdicts_of(*others: Replicates) -> list[Verdict]:
        return [one.verdict for one in compare_with(reference, others)]

    assert verdicts_of(weak) == [Verdict.BETTER]
    assert verdicts_of(strong) == [Verdict.WORSE]
    assert verdicts_of(weak, strong) == [Verdict.BETTER, Verdict.WORSE]
    assert verdicts_of(noise, weak, strong) == [Verdict.TIE, Verdict.TIE, Verdict.WORSE]
    assert [one.verdict for one in compare_with(reference, [weak], level=0.01)] == [Verdict.TIE]


def test_a_difference_must_hold_over_seeds_and_over_examples() -> None:
    n = 400
    reference = np.ones((3, n), bool)
    reference[:, :100] = False

    few_examples = reference.copy()
    few_examples[:, :3] = True  # 3 of 400, the same in each seed
    one_seed = reference.copy()
    one_seed[0, :60] = True  # many examples, in one seed of three
    both = reference.copy()
    for seed, gained in enumerate((40, 42, 45)):
        both[seed, :gained] = True

    found = compare_with(
        answering("reference", reference),
        [answering(str(i), x) for i, x in enumerate((few_examples, one_seed, both))],
    )
    assert found[0].p_seeds == 0
    assert found[0].p_examples == pytest.approx(2 / 8, abs=0.02)
    assert found[1].p_examples < 0.001 < 0.4 < found[1].p_seeds
    for one in found:
        assert one.p == max(one.p_seeds, one.p_examples, one.p_both)
    assert [one.verdict for one in found] == [Verdict.TIE, Verdict.TIE, Verdict.BETTER]


def test_a_difference_beyond_each_luck_may_be_within_their_sum() -> None:
    # 50 examples favour a and 10 b; in 6 of 20 seeds, a loses 70 more. That is 19 ± 8 examples of
    # 400 over test splits, and 19 ± 7 over seeds.
    n, seeds = 400, 20
    a, b = np.ones((seeds, n), bool), np.ones((seeds, n), bool)
    b[:, :50] = a[:, 50:60] = a[:6, 60:130] = False
    (found,) = compare_with(answering("b", b), [answering("a", a)])
    error = found.interval.half_width / stats.t.isf(0.025, seeds - 1)
    by_example = a.mean(axis=0) - b.mean(axis=0)
    total = math.hypot(error, by_example.std() / math.sqrt(n))
    freedom = (seeds - 1) * (total / error) ** 4
    assert found.p_both == pytest.approx(2 * stats.t.sf(found.difference / total, freedom))
    assert max(found.p_seeds, found.p_examples) < 0.05 < found.p_both
    assert found.verdict == Verdict.TIE


def test_seeds_are_matched_by_name_not_by_place() -> None:
    rng = np.random.default_rng(0)
    correct = rng.random((4, 50)) < np.array([[0.5], [0.6], [0.7], [0.8]])
    reference = answering("reference", correct)
    order = [3, 1, 0, 2]
    shuffled = Replicates(
        "same", tuple(order), tuple(np.take(reference.scores, order)), correct[order]
    )
    (found,) = compare_with(reference, [shuffled])
    assert (found.difference, found.p_seeds, found.p_examples) == (0, 1, 1)
    assert found.mcnemar == (mcnemar(correct[0], correct[0]),) * 4
    assert found.verdict == Verdict.TIE


def test_only_shared_seeds_are_paired() -> None:
    # Seeds 0 to 3 against 1 to 4: pairs .71 - .70, .72 - .70, .73 - .70.
    (found,) = compare_with(
        arm("b", [0.70, 0.70, 0.70, 0.10], first_seed=1), [arm("a", [0.10, 0.71, 0.72, 0.73])]
    )
    assert (found.seeds, found.paired) == (3, True)
    assert found.difference == pytest.approx(0.02)


def test_over_examples_only_shared_seeds_count_if_there_are_pairs() -> None:
    right, wrong = np.ones((3, 60), bool), np.zeros((1, 60), bool)
    a = answering("a", np.concatenate([wrong, right]))  # seed 0, which b has not, went wrong
    b = answering("b", right, first_seed=1)
    (found,) = compare_with(b, [a])
    assert (found.difference, found.p_examples, found.seeds) == (0, 1, 3)
    c = answering("c", right, first_seed=7)
    (found,) = compare_with(c, [a])
    assert (found.difference, found.seeds, found.mcnemar) == (-0.25, 0, ())
    assert found.p_examples < 0.001


def test_other_seeds_are_compared_as_two_samples() -> None:
    a, b = [0.9, 0.92, 0.91, 0.93], [0.8, 0.84, 0.79]
    (found,) = compare_with(arm("b", b, first_seed=2), [arm("a", a)])
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert (found.seeds, found.paired) == (2, False)
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert (found.p, found.verdict) == (pytest.approx(theirs.pvalue), Verdict.BETTER)
    assert found.smallest_detectable is not None


def test_two_seeds_give_figures_but_no_verdict_and_do_not_count_in_the_family() -> None:
    reference = arm("full", [0.80, 0.81, 0.82])
    weak = arm("weak", [0.82, 0.84, 0.86])
    two, decided = compare_with(reference, [arm("two", [0.90, 0.92]), weak])
    assert (two.verdict, two.p, two.p_adjusted) == (Verdict.TOO_FEW_SEEDS, None, None)
    assert (two.seeds, two.paired) == (2, True)
    assert two.difference == pytest.approx(0.105)
    assert two.p_seeds == pytest.approx(stats.ttest_1samp([0.10, 0.11], 0).pvalue)
    assert two.interval is not None
    assert (decided.p_adjusted, decided.verdict) == (decided.p, Verdict.BETTER)


def test_one_seed_still_has_a_difference_and_a_test_over_examples() -> None:
    a, b = np.ones((1, 50), bool), np.zeros((1, 50), bool)
    (found,) = compare_with(answering("b", b), [answering("a", a)])
    assert (found.difference, found.seeds) == (1, 1)
    assert (found.p_seeds, found.interval, found.effect) == (None, None, None)
    assert found.smallest_detectable is None
    assert found.p_examples is not None
    assert found.mcnemar == (mcnemar(a[0], b[0]),)
    assert found.verdict == Verdict.TOO_FEW_SEEDS


def test_no_other_arm_is_no_comparison() -> None:
    assert compare_with(arm("full", [0.8]), []) == []


def test_seeds_without_spread_leave_the_decision_to_the_examples() -> None:
    b = np.zeros((3, 200), bool)
    a = b.copy()
    a[:, :30] = True
    (found,) = compare_with(answering("b", b), [answering("a", a)])
    assert (found.p_seeds, found.effect) == (0, None)
    assert found.p_both < 1e-6
    assert found.interval == Interval(found.difference, found.difference)
    assert found.p == found.p_examples
    assert found.verdict == Verdict.BETTER


@pytest.mark.parametrize(
    ("examples", "seeds"),
    [(1.5, 0.05), (1.5, 0.0), (0.0, 0.2)],
    ids=["both vary", "examples vary", "seeds vary"],
)
def test_at_most_5_in_100_families_without_a_difference_have_one_found(
    examples: float, seeds: float, quick: None
) -> None:
    rng = np.random.default_rng(0)
    families, false, of_examples, of_seeds = 80, 0, 0, 0
    for _ in range(families):
        chance = rng.beta(4, 1, 500)
        arms = [
            answering(str(i), simulated(rng, chance, examples=examples, seeds=seeds))
            for i in range(FAMILY + 1)
        ]
        found = compare_with(arms[0], arms[1:])
        false += any(map(differs, found))
        of_seeds += min(holm([one.p_seeds for one in found])) < 0.05
        of_examples += min(holm([one.p_examples for one in found])) < 0.05
    assert at_most_5_in_100(false, families)
    # And each of the two tests is needed: alone, one of them calls the other's luck a difference.
    if examples:
        assert not at_most_5_in_100(of_seeds, families)
    else:
        assert not at_most_5_in_100(of_examples, families)


def test_nor_have_they_near_100_percent_where_few_examples_decide(quick: None) -> None:
    rng = np.random.default_rng(0)
    families = 120
    false = 0
    for _ in range(families):
        arms = []
        for i in range(FAMILY + 1):
            # An arm has its own trouble with 1 example in 100, about the same in each seed.
            wrong = np.where(rng.random(500) < 0.01, rng.beta(0.2, 0.2, 500), 0)
            arms.append(answering(str(i), rng.random((SEEDS, 500)) >= wrong))
        false += any(map(differs, compare_with(arms[0], arms[1:])))
    assert at_most_5_in_100(false, families)


def test_a_large_difference_is_found_in_a_family_of_ties(quick: None) -> None:
    rng = np.random.default_rng(0)
    families, found = 40, 0
    for _ in range(families):
        chance = 0.7 * rng.beta(4, 1, 500)
        answers = [simulated(rng, chance, examples=0.3, seeds=0.05) for _ in range(FAMILY)]
        answers.append(simulated(rng, chance + 0.25, examples=0.3, seeds=0.05))
        arms = [answering(str(i), x) for i, x in enumerate(answers)]
        found += compare_with(arms[0], arms[1:])[-1].verdict == Verdict.BETTER
    assert found / families > 0.95


def test_smallest_detectable_difference_counts_both_errors_and_the_family() -> None:
    rng = np.random.default_rng(0)
    a, b = (answering(name, rng.random((5, 400)) < 0.8) for name in "ab")
    differences = np.subtract(a.scores, b.scores)
    by_example = a.correct.mean(axis=0) - b.correct.mean(axis=0)
    for tests in (1, 4):
        found = compare_with(b, [a] * tests)[0]
        assert found.smallest_detectable == pytest.approx(
            smallest_detectable_shift(
                differences.std(ddof=1) / math.sqrt(5),
                4,
                examples_error=by_example.std() / math.sqrt(400),
                level=0.05 / tests,
            )
        )


@pytest.mark.parametrize(
    ("seeds", "scores", "correct", "message"),
    [
        ((), (), None, "0 scores for 0 seeds"),
        ((0, 1), (0.5,), None, "1 scores for 2 seeds"),
        ((0, 0), (0.5, 0.5), None, r"a seed comes twice in \(0, 0\)"),
        ((0, 1), (1.0, 1.0), np.ones((3, 4), bool), r"shape \(3, 4\).*expected bool \[2, N\]"),
        ((0, 1), (1.0, 1.0), np.ones((2, 4)), "type float64"),
        ((0, 1), (0.0, 1.0), np.array([[True], [False]]), "are not the accuracies"),
    ],
)
def test_replicates_that_do_not_fit_together_are_refused(seeds, scores, correct, message) -> None:
    with pytest.raises(ValueError, match=f"lora: .*{message}"):
        Replicates("lora", seeds, scores, correct)


def test_answers_to_other_examples_are_refused() -> None:
    a, b = answering("a", np.ones((3, 4), bool)), answering("b", np.ones((3, 5), bool))
    with pytest.raises(ValueError, match="a has answers to 4 test examples, b to 5"):
        compare_with(b, [a])
