import math

import numpy as np
import pytest
from scipy import special, stats

from adapterlab.evidence.family import PRIOR, RESERVE, all_pairs, moderated, steadied
from adapterlab.evidence.spread import Spread


def sure(means: list[float], *, error: float = 1.0, runs: int = 100_000) -> Spread:
    """Arms of so many runs that their variance is known: each mean has a standard error."""
    k = len(means)
    return Spread(
        means=np.array(means),
        freedom=np.full(k, runs - 1.0),
        runs=np.full(k, error**2),
        joint=np.zeros(k),
        examples=np.zeros((k, k)),
        differences=np.full((k, k), 1e-12),
    )


@pytest.mark.parametrize(("arms", "quantile"), [(2, 2.772), (3, 3.314), (6, 4.030), (10, 4.474)])
def test_with_known_equal_variances_it_is_tukey(arms: int, quantile: float) -> None:
    # The studentized range at 5% with infinite degrees of freedom (Harter, 1960).
    found = all_pairs(sure([0.0] * arms), level=0.05 / RESERVE)
    assert special.ndtri(1 - found.critical / 2) == pytest.approx(quantile / math.sqrt(2), abs=0.04)
    half = (found.high - found.low) / 2
    assert half == pytest.approx(np.full(len(half), quantile), rel=0.02)


@pytest.mark.parametrize(("others", "d"), [(1, 1.64), (2, 1.92), (4, 2.16), (9, 2.42)])
def test_with_known_equal_variances_the_best_are_those_of_hsu(others: int, d: float) -> None:
    # Hsu's comparisons with the best use Dunnett's one-sided constants (1955, table 1a).
    def kept(gap: float) -> list[bool]:
        spread = sure([0.0] * others + [-gap * math.sqrt(2)])
        return all_pairs(spread, level=0.05 / RESERVE).may_be_best.tolist()

    assert kept(d - 0.06) == [True] * (others + 1)
    assert kept(d + 0.06) == [True] * others + [False]


def test_p_of_a_pair_is_welch_with_steadied_variances() -> None:
    runs, freedom = np.array([4e-4, 1e-4]), np.array([4.0, 4.0])
    spread = Spread(
        means=np.array([0.90, 0.85]),
        freedom=freedom,
        runs=runs,
        joint=np.array([1e-5, 2e-5]),
        examples=np.diag([3e-5, 3e-5]),
        differences=np.full((2, 2), 6e-5),
    )
    u, v = moderated(runs, freedom)
    variance = 6e-5 + u + v - 3e-5
    df = variance**2 / (u**2 / (4 + PRIOR) + v**2 / (4 + PRIOR))
    p = 2 * stats.t.sf(0.05 / math.sqrt(variance), df)
    found = all_pairs(spread)
    assert found.p == pytest.approx([p])
    assert found.error == pytest.approx([math.sqrt(variance)])


def test_steadied_variances_by_hand() -> None:
    # Two degrees of freedom each: the median of a chi-square is 2 ln 2.
    usual = 3e-4 * 2 / (2 * math.log(2))
    runs = moderated(np.array([1e-4, 3e-4, 90e-4]), np.array([2.0, 2.0, 2.0]))
    expected = [(2 * usual + 2 * own) / 4 for own in (1e-4, 3e-4, 90e-4)]
    assert runs == pytest.approx(expected)


def test_unequal_numbers_of_runs_are_compared_by_run() -> None:
    # The same spread of single runs, seen in means over 4 and over 5 of them.
    freedom = np.array([3.0, 4.0])
    single = stats.chi2.median(freedom) / freedom
    runs = moderated(single * 0.01 / (freedom + 1), freedom)
    assert runs * (freedom + 1) == pytest.approx(
        (PRIOR * 0.01 + freedom * single * 0.01) / (PRIOR + freedom)
    )


def test_an_arm_of_far_fewer_runs_has_its_own_variance_alone() -> None:
    freedom, own = np.array([2.0, 19.0, 19.0]), np.array([9e-4, 1e-4, 2e-4])
    assert moderated(own, freedom)[0] == own[0]
    assert steadied(freedom).tolist() == [2.0, 19.0 + PRIOR, 19.0 + PRIOR]
    assert steadied(np.array([3.0, 4.0])).tolist() == [3.0 + PRIOR, 4.0 + PRIOR]


@pytest.mark.parametrize("level", [1.4e-8, 1e-5, 3e-4, 0.01])
def test_a_level_that_is_rarer_than_all_draws_is_kept(level: float) -> None:
    """The first looks of O'Brien & Fleming: 1 in 5,000 was called a finding at 1 in 70,000,000."""
    for lead in np.linspace(3, 9, 25):
        found = all_pairs(sure([lead, 0.0, 0.0]), level=level, draws=4000)
        apart = (found.low > 0) | (found.high < 0)
        assert (apart == (found.p_adjusted <= level)).all()
        assert (found.p[apart] < level).all()
        one_sided = 1 - special.ndtr(lead / math.sqrt(2))
        if one_sided > level:
            assert found.may_be_best.all()
        turned = all_pairs(sure([0.0, 0.0, lead]), level=level, draws=4000)
        assert turned.p[1] == pytest.approx(found.p[1], rel=1e-9)


@pytest.mark.parametrize(
    ("seeds", "deviations"), [((3, 20), (1, 1)), ((3, 20), (3, 1)), ((3, 20, 20), (3, 1, 1))]
)
def test_unequal_runs_keep_five_in_a_hundred(
    seeds: tuple[int, ...], deviations: tuple[int, ...]
) -> None:
    """It was up to 9 in 100: the arm of few runs was steadied by those of many."""
    rng = np.random.default_rng(3)
    studies, false = 1000, 0
    for study in range(studies):
        scores = [rng.normal(0, d, n) for n, d in zip(seeds, deviations, strict=True)]
        k = len(seeds)
        spread = Spread(
            means=np.array([one.mean() for one in scores]),
            freedom=np.array(seeds) - 1.0,
            runs=np.array([one.var(ddof=1) / len(one) for one in scores]),
            joint=np.zeros(k),
            examples=np.zeros((k, k)),
            differences=np.full((k, k), 1e-12),
        )
        found = all_pairs(spread, draws=1000, seed=study)
        false += bool(((found.low > 0) | (found.high < 0)).any())
    assert false / studies < 0.0707  # 5% and three standard errors


def test_intervals_and_p_values_decide_alike() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        spread = sure(list(rng.normal(0, 2.5, 5)), runs=4)
        found = all_pairs(spread, draws=4000)
        outside = (found.low > 0) | (found.high < 0)
        assert (outside == (found.p < found.critical)).all()
        assert (outside == (found.p_adjusted <= 0.05)).all()


def test_a_control_has_a_smaller_family() -> None:
    spread = sure([0.0, 3.4, 0.0, 0.0, 0.0, 0.0])
    alone = all_pairs(spread, control=0, level=0.05 / RESERVE)
    assert len(alone.p) == 5
    # Dunnett's two-sided constant for 5 comparisons: 2.51; Tukey's for 6 arms: 2.85.
    assert special.ndtri(1 - alone.critical / 2) == pytest.approx(2.51, abs=0.04)
    assert alone.critical > all_pairs(spread, level=0.05 / RESERVE).critical


def test_one_arm_has_no_pairs() -> None:
    found = all_pairs(sure([0.5]))
    assert len(found.p) == 0
    assert found.may_be_best.tolist() == [True]


def test_same_seed_same_result() -> None:
    spread = sure([0.0, 1.0, 2.0], runs=3)
    one, two = all_pairs(spread, draws=4000), all_pairs(spread, draws=4000)
    assert (one.p_adjusted == two.p_adjusted).all()
    other = all_pairs(spread, draws=4000, seed=1)
    assert (one.p_adjusted != other.p_adjusted).any()


def test_an_arm_of_one_run_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 runs"):
        all_pairs(sure([0.0, 1.0], runs=1))


def test_arms_that_answer_alike_are_not_told_apart_by_nothing() -> None:
    spread = Spread(
        means=np.array([0.9, 0.9, 0.9]),
        freedom=np.full(3, 2.0),
        runs=np.zeros(3),
        joint=np.zeros(3),
        examples=np.zeros((3, 3)),
        differences=np.full((3, 3), 1e-6),
    )
    found = all_pairs(spread, draws=2000)
    assert (found.p_adjusted == 1).all()
    assert (found.high > found.low).all()
    assert found.critical <= 0.1
    assert found.may_be_best.all()
