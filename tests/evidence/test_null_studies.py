"""Studies without a difference: dealt as they should be, kept apart from a rule that is broken."""

import numpy as np
import pytest
from scipy import stats

from adapterlab.evidence.null_studies import exact_share, null_studies


def pool(runs: int = 40, examples: int = 300, luck: float = 0.03) -> np.ndarray:
    """Answers of one arm's runs, each with luck of its own."""
    rng = np.random.default_rng(3)
    return rng.random((runs, examples)) < 0.8 + rng.normal(0, luck, (runs, 1))


def told_apart(level: float, arms: int = 4) -> list[bool]:
    dealt = null_studies(pool(), arms=arms, runs=5, studies=60, level=level, draws=500)
    return [one.told_apart for one in dealt]


def test_the_rule_keeps_what_it_promises() -> None:
    assert exact_share(told_apart(0.05)).low < 0.05


def test_a_broken_rule_is_found() -> None:
    assert exact_share(told_apart(0.5)).low > 0.05


def test_an_arm_as_good_as_any_is_left_out_about_as_often_as_the_level_says() -> None:
    dealt = null_studies(pool(), arms=4, runs=5, studies=60, level=0.3, draws=500)
    share = exact_share([one.left_out for one in dealt])
    assert share.low < 0.3
    assert share.high > 0.1


def test_dealing_uses_every_run_at_most_once_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    values = np.tile(np.arange(20) / 32, (4, 1)).T  # each run has a value of its own
    monkeypatch.setattr(
        "adapterlab.evidence.null_studies.compare_all",
        lambda arms, **_: seen.append(np.concatenate([arm.scores for arm in arms])) or 1 / 0,
    )
    for seed in (0, 1):
        with pytest.raises(ZeroDivisionError):
            next(null_studies(values, arms=4, runs=5, studies=1, seed=seed))
    assert all(np.array_equal(np.sort(each), values[:, 0]) for each in seen)
    assert not np.array_equal(*seen)


def test_the_same_seed_deals_the_same_studies() -> None:
    first, second = (
        list(null_studies(pool(), arms=2, runs=3, studies=20, level=0.4, draws=500))
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"arms": 9}, "9 arms of 5 runs are dealt from 40 runs; too few"),
        ({"arms": 1}, "100 studies of 1 arms of 5 runs; expected at least 1, 2 and 3"),
        ({"runs": 2}, "100 studies of 4 arms of 2 runs"),
        ({"studies": 0}, "0 studies"),
    ],
)
def test_what_cannot_be_dealt(change: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        next(null_studies(pool(), **({"arms": 4, "runs": 5, "studies": 100} | change)))


@pytest.mark.parametrize(("count", "n"), [(0, 20), (3, 50), (20, 20), (12, 150)])
def test_the_interval_is_that_of_clopper_and_pearson(count: int, n: int) -> None:
    found = exact_share([True] * count + [False] * (n - count))
    expected = stats.binomtest(count, n).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_no_trials() -> None:
    with pytest.raises(ValueError, match="no trials"):
        exact_share([])
