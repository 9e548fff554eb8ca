"""Scores of numbers against scikit-learn and SciPy, and what each example contributes to them."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from adapterlab.evidence.regression import regression_contributions, regression_metrics

SCORES = ("r2", "pearson", "spearman", "mse", "rmse", "mae")


def made(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and what is said of them, with ties for odd seeds."""
    rng = np.random.default_rng(seed)
    true = rng.normal(3.0, 2.0, size=int(rng.integers(5, 40)))
    said = 0.5 * true + rng.normal(size=len(true))
    return (np.round(said), np.round(true)) if seed % 2 else (said, true)


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_the_libraries(seed: int) -> None:
    said, true = made(seed)
    found = regression_metrics(said, true)
    assert found == pytest.approx(
        {
            "r2": metrics.r2_score(true, said),
            "pearson": stats.pearsonr(true, said).statistic,
            "spearman": stats.spearmanr(true, said).statistic,
            "mse": metrics.mean_squared_error(true, said),
            "rmse": metrics.root_mean_squared_error(true, said),
            "mae": metrics.mean_absolute_error(true, said),
        }
    )


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("seed", range(4))
def test_contributions_are_the_jackknife(name: str, seed: int) -> None:
    said, true = made(seed)
    values = regression_contributions(name, said, true)
    score = regression_metrics(said, true)[name]
    assert values.mean() == pytest.approx(score)
    left = [np.arange(len(true)) != i for i in range(len(true))]
    without = np.array([regression_metrics(said[rows], true[rows])[name] for rows in left])
    expected = score + (len(true) - 1) * (without.mean() - without)
    np.testing.assert_allclose(values, expected, atol=1e-9)


def test_many_ranks_are_left_out_as_few_are() -> None:
    """Every pair was compared, N² steps: minutes for 100,000 numbers."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=40_000)
    said = np.round(true + rng.normal(size=len(true)), 2)
    values = regression_contributions("spearman", said, true)
    score = stats.spearmanr(true, said).statistic
    assert values.mean() == pytest.approx(score)
    picked = [0, 1, 39_999]
    kept = [np.arange(len(true)) != i for i in picked]
    without = np.array([stats.spearmanr(true[rows], said[rows]).statistic for rows in kept])
    between = np.diff(values[picked]) / (1 - len(true))
    np.testing.assert_allclose(between, np.diff(without), atol=1e-12)


def test_what_is_constant_correlates_with_nothing() -> None:
    found = regression_metrics(np.full(5, 0.1), np.arange(5.0))
    assert found["pearson"] == found["spearman"] == 0.0
    assert found["r2"] < 0
    assert regression_metrics(np.full(3, 2.0), np.full(3, 2.0))["r2"] == 1.0


@pytest.mark.parametrize("name", ["r2", "spearman"])
def test_one_number_among_equal_ones_is_left_out_without_harm(name: str) -> None:
    said, true = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.0, 0.0, 1.0])
    assert np.isfinite(regression_contributions(name, said, true)).all()


def test_what_cannot_be_scored_says_why() -> None:
    with pytest.raises(ValueError, match="not finite"):
        regression_metrics(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="needs 3 or more"):
        regression_contributions("r2", np.array([1.0, 2.0]), np.array([1.0, 2.0]))
