import numpy as np
import pytest

from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.spread import Spread


def arm(name: str, values: np.ndarray) -> Replicates:
    return Replicates(name, tuple(range(len(values))), values)


def test_parts_are_those_of_the_two_way_table() -> None:
    """Expected mean squares of runs x examples, random effects (Winer, 1971, 5.16)."""
    rng = np.random.default_rng(0)
    runs, examples, n_runs, n = 0.03, 0.4, 6, 500
    found = []
    for _ in range(300):
        values = (
            rng.normal(0, runs, (n_runs, 1)) + rng.normal(0, examples, n)
            + rng.normal(0, 0.5, (n_runs, n))
        )  # fmt: skip
        spread = Spread.of([arm("a", values)])
        found.append((spread.runs[0], spread.joint[0], spread.examples[0, 0]))
    joint = 0.5**2 / (n_runs * n)
    over_runs, joint_part, over_examples = np.mean(found, axis=0)
    assert joint_part == pytest.approx(joint, rel=0.01)
    assert over_runs == pytest.approx(runs**2 / n_runs + joint, rel=0.06)
    assert over_examples == pytest.approx(examples**2 / n + joint, rel=0.03)


def test_covariance_over_examples_is_numpys() -> None:
    rng = np.random.default_rng(1)
    arms = [arm(str(i), rng.random((3, 50)) < 0.8) for i in range(4)]
    means = np.stack([one.values.mean(axis=0) for one in arms])
    assert Spread.of(arms).examples == pytest.approx(np.cov(means) / 50)


def test_few_differences_have_the_error_of_bonett_and_price() -> None:
    a = np.ones((1, 100), bool)
    b = a.copy()
    b[0, :4] = False
    # 4 examples that favour a and none that favours b, and one added for either side.
    expected = ((4 + 2) / 100 - 0.04**2) / 100
    spread = Spread.of([arm("a", a), arm("b", b)])
    assert spread.differences[0, 1] == pytest.approx(expected)


def test_a_difference_is_never_certain() -> None:
    same = np.ones((3, 40), bool)
    spread = Spread.of([arm("a", same), arm("b", same)])
    assert spread.differences[0, 1] == pytest.approx(2 / 40 / 40)


def test_one_run_has_no_spread_over_runs() -> None:
    spread = Spread.of([arm("a", np.ones((1, 9), bool))])
    assert (spread.runs[0], spread.joint[0], spread.freedom[0]) == (0, 0, 0)


def test_what_decides_is_said() -> None:
    rng = np.random.default_rng(2)
    easy = rng.random(2000) < 0.9
    lucky = np.stack([easy & (rng.random(2000) < p) for p in (0.99, 0.9, 0.8)])
    steady = np.stack([easy] * 3)
    other = np.stack([rng.random(2000) < 0.9] * 3)
    assert Spread.of([arm("a", lucky), arm("b", steady)]).share_of_runs(0, 1) > 0.9
    assert Spread.of([arm("a", steady), arm("b", other)]).share_of_runs(0, 1) < 0.1

    # Runs that answer by chance: each example and each run alike, so that both are a remedy.
    chance = [arm(name, rng.random((3, 2000)) < 0.4) for name in "ab"]
    assert 0.3 < Spread.of(chance).share_for_seeds(0, 1) < 0.7
    for made, least, most in (((lucky, steady), 0.9, 1), ((steady, other), 0, 0.1)):
        spread = Spread.of([arm(name, values) for name, values in zip("ab", made, strict=True)])
        assert least <= spread.share_for_seeds(0, 1) <= most


def test_interval_of_one_arm_by_hand() -> None:
    values = np.tile([0.0, 1.0], (3, 50))
    # No spread over runs: a normal interval over 100 examples.
    interval = Spread.of([arm("a", values)]).interval(0, 0.95)
    half = 1.959964 * np.sqrt(values[0].var(ddof=1) / 100)
    assert (interval.low, interval.high) == pytest.approx((0.5 - half, 0.5 + half))


def test_different_examples_are_refused() -> None:
    arms = [arm("a", np.ones((1, 50), bool)), arm("b", np.ones((1, 360), bool))]
    with pytest.raises(ValueError, match="a was tested on 50 examples, b on 360"):
        Spread.of(arms)
