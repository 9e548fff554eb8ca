"""Scores of numbers that a model says, by scikit-learn's and SciPy's definitions."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from adapterlab.evidence.arrays import Floats

Values = npt.NDArray[np.float64]


def regression_metrics(said: Floats, true: Floats) -> dict[str, float]:
    """Score numbers against the true ones; every key is a valid MLflow metric name.

    Args:
        said: ``[N]``, N at least 1, all finite.
        true: ``[N]``, likewise.

    Returns:
        ``r2``, the coefficient of determination, 1 - Σ(y - ŷ)² / Σ(y - ȳ)², below 0 where the
        mean of `true` would do better (of equal `true` 1 if all are right, else 0, as in
        scikit-learn); ``pearson`` and ``spearman``, the correlations of the numbers and of their
        ranks, ties sharing the mean of theirs, 0 where either side is all of one number so that
        there is nothing to correlate; ``mse``, ``rmse`` and ``mae``, the mean squared error, its
        root, and the mean absolute error.

    Raises:
        ValueError: shapes do not fit, or a number is not finite.
    """
    x, y = _checked(said, true)
    errors = x - y
    mse = float(np.square(errors).mean())
    return {
        "r2": r_squared(x, y),
        "pearson": correlation(x, y),
        "spearman": correlation(ranks(x), ranks(y)),
        "mse": mse,
        "rmse": float(np.sqrt(mse)),
        "mae": float(np.abs(errors).mean()),
    }


def r_squared(said: Values, true: Values) -> float:
    """Return the coefficient of determination, see `regression_metrics`."""
    spread, rest = float(_squares(true)), float(np.square(said - true).sum())
    if spread == 0:
        return 1.0 if rest == 0 else 0.0
    return 1 - rest / spread


def correlation(x: Values, y: Values) -> float:
    """Return Pearson's correlation; 0 where x or y is all of one number."""
    a, b = x - x.mean(), y - y.mean()
    # Rounding leaves something of what is constant.
    if _constant(x) or _constant(y):
        return 0.0
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1, 1))


def ranks(x: Values) -> Values:
    """Return ranks from 1, ties sharing the mean of theirs."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    found: Values = (ends - (counts - 1) / 2)[place]
    return found


def regression_contributions(metric: str, said: Floats, true: Floats) -> Values:
    """Return a score's contribution of each example, see `contributions.contributions`.

    ``mse`` and ``mae`` are means of what they contribute; the others are linearised by the
    delete-one jackknife, computed exactly (of ``spearman`` with the ranks that are left).

    Args:
        metric: one of `regression_metrics`.
        said: ``[N]``, all finite.
        true: ``[N]``, likewise.

    Raises:
        ValueError: fewer than 3 examples, of which one cannot be left out, or what
            `regression_metrics` refuses.
    """
    x, y = _checked(said, true)
    if metric == "mse":
        return np.square(x - y)
    if metric == "mae":
        return np.abs(x - y)
    if len(x) < 3:
        raise ValueError(f"{metric} of {len(x)} examples has no standard error; it needs 3 or more")
    score, without = regression_metrics(x, y)[metric], _WITHOUT[metric](x, y)
    values: Values = score + (len(x) - 1) * (without.mean() - without)
    return values


def _checked(said: Floats, true: Floats) -> tuple[Values, Values]:
    if said.ndim != 1 or said.shape != true.shape or len(true) == 0:
        raise ValueError(f"numbers of shape {said.shape} for {true.shape}; expected [N] for [N]")
    if not (np.isfinite(said).all() and np.isfinite(true).all()):
        raise ValueError("numbers that are not finite (nan or inf) cannot be scored")
    return said.astype(np.float64), true.astype(np.float64)


def _squares(x: Values) -> np.float64:
    if _constant(x):
        return np.float64(0)
    found: np.float64 = np.square(x - x.mean()).sum()
    return found


def _constant(x: Values) -> bool:
    return bool((x == x[0]).all())


def _r2_without(x: Values, y: Values) -> Values:
    n, errors = len(y), np.square(x - y)
    spread = _squares(y) - n / (n - 1) * np.square(y - y.mean())
    rest = errors.sum() - errors
    # Where all that are left are equal, no part of the spread is but rounding.
    flat = spread <= 1e-12 * max(float(_squares(y)), np.finfo(float).tiny)
    return np.where(flat, np.where(rest == 0, 1.0, 0.0), 1 - rest / np.where(flat, 1, spread))


def _rmse_without(x: Values, y: Values) -> Values:
    errors = np.square(x - y)
    found: Values = np.sqrt(np.maximum(errors.sum() - errors, 0) / (len(y) - 1))
    return found


def _pearson_without(x: Values, y: Values) -> Values:
    n = len(x)
    a, b = x - x.mean(), y - y.mean()
    # Of centred sums, an example takes n / (n - 1) times its own product.
    share = n / (n - 1)
    return _correlations(a @ b - share * a * b, a @ a - share * a * a, b @ b - share * b * b)


def _spearman_without(x: Values, y: Values) -> Values:
    """Correlate the ranks of all others, which are lower where the example left out is below.

    Without example i, rank r_j is r_j - a_ij, where a_ij is 1 if x_j is above x_i, a half if they
    tie, and 0 of i itself. The sums of products over all j are found by sorting, in N log² N steps.
    """
    n = len(x)
    r, s = ranks(x) - (n + 1) / 2, ranks(y) - (n + 1) / 2
    ones = np.ones(n)
    above_x, above_y = _above(x, ones), _above(y, ones)
    both = r @ s - r * s - _above(x, s) - _above(y, r) + _above_in_both(x, y)
    of_r = r @ r - r * r - 2 * _above(x, r) + _above_in_both(x, x)
    of_s = s @ s - s * s - 2 * _above(y, s) + _above_in_both(y, y)
    # Neither the sums of the others' ranks nor their means are 0 then.
    sum_x, sum_y = r + above_x, s + above_y
    rest = n - 1
    return _correlations(
        both - sum_x * sum_y / rest, of_r - sum_x * sum_x / rest, of_s - sum_y * sum_y / rest
    )


def _above(x: Values, weights: Values) -> Values:
    """Sum the weights of what is above each number, of what ties with it a half, without its own.

    Args:
        x: ``[N]``.
        weights: ``[N]``.
    """
    _, place = np.unique(x, return_inverse=True)
    of_each = np.bincount(place, weights=weights)
    above = of_each[::-1].cumsum()[::-1] - 0.5 * of_each
    found: Values = above[place] - 0.5 * weights
    return found


def _above_in_both(x: Values, y: Values) -> Values:
    """Count what is above each example in x and in y, halves where it ties, without itself."""
    n = len(x)
    _, in_x = np.unique(x, return_inverse=True)
    _, in_y = np.unique(y, return_inverse=True)
    _, in_both = np.unique(in_x * n + in_y, return_inverse=True)
    same = 0.25 * (np.bincount(in_both)[in_both] - 1)
    tied_in_x = _higher_in_group(in_x, in_y)
    tied_in_y = _higher_in_group(in_y, in_x)
    found: Values = _higher_in_both(in_x, in_y) + 0.5 * (tied_in_x + tied_in_y) + same
    return found


def _higher_in_group(
    group: npt.NDArray[np.intp], value: npt.NDArray[np.intp]
) -> npt.NDArray[np.int64]:
    """Count for each example those of its group with a higher value."""
    key = group * (value.max() + 1) + value
    ordered = np.sort(key)
    ends = np.searchsorted(ordered, (group + 1) * (value.max() + 1))
    found: npt.NDArray[np.int64] = ends - np.searchsorted(ordered, key, side="right")
    return found


def _higher_in_both(x: npt.NDArray[np.intp], y: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Count for each example those with a higher x and a higher y, by merging halves.

    Args:
        x: places among the values, ``[N]``, integers from 0.
        y: likewise.
    """
    n = len(x)
    order = np.lexsort((y, -x))  # of equal x the lower y first, so that none counts for another
    y = y[order]
    at, count = np.arange(n), np.zeros(n, np.int64)
    half = 1
    while half < n:
        # In blocks of two halves, the first is higher in x: how many of it are higher in y too?
        block, later = at // (2 * half), (at // half) % 2
        ranked = np.lexsort((later, y, block))
        first = 1 - later[ranked]
        so_far = np.cumsum(first)
        # Of all blocks but the last, the first half is whole.
        through = np.minimum(block[ranked] * half + half, so_far[-1])
        count[ranked] += np.where(first == 1, 0, through - so_far)
        half *= 2
    found = np.empty(n, np.int64)
    found[order] = count
    return found


def _correlations(both: Values, of_x: Values, of_y: Values) -> Values:
    # Where all that are left are equal, no part of the spread is but rounding.
    defined = (of_x > 1e-12 * of_x.max()) & (of_y > 1e-12 * of_y.max())
    spread = np.sqrt(np.where(defined, of_x * of_y, 1))
    return np.where(defined, both / spread, 0.0)


_WITHOUT: Mapping[str, Callable[[Values, Values], Values]] = {
    "r2": _r2_without,
    "rmse": _rmse_without,
    "pearson": _pearson_without,
    "spearman": _spearman_without,
}
