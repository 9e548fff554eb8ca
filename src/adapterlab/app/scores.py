"""The scores of a run in its printed summary, the main one of its task first."""

from collections.abc import Mapping

TITLES: Mapping[str, str] = {"accuracy": "accuracy", "micro_f1": "micro-F1", "r2": "R²"}
"""Main metrics of tasks, as they are printed."""

_FLOORS = {
    "accuracy": "most frequent class, linear model",
    "micro_f1": "most frequent labels, linear model",
    "r2": "the mean, linear model",
}


def scores_of(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return names and values of a run's scores.

    Args:
        metrics: of the run, as they are logged.
    """
    main = next((name for name in TITLES if f"test/{name}" in metrics), "accuracy")
    floors = ", ".join(share(metrics.get(f"data/{k}_{main}")) for k in ("majority", "baseline"))
    rows = [
        (f"{TITLES[main]} on the test split", share(metrics.get(f"test/{main}"))),
        (_FLOORS[main], floors),
    ]
    if main == "r2":
        both = f"{share(metrics['test/pearson'])}, {share(metrics['test/spearman'])}"
        errors = f"{metrics['test/rmse']:.4g}, {metrics['test/mae']:.4g}"
        return [*rows, ("Pearson, Spearman", both), ("RMSE, MAE", errors)]
    rows.append(("macro-F1", share(metrics.get("test/macro_f1"))))
    if main == "micro_f1":
        area, exact = (metrics.get(f"test/{k}") for k in ("mean_average_precision", "exact_match"))
        return [
            *rows,
            ("mean average precision", share(area)),
            ("all labels of an example right", share(exact)),
        ]
    return [*rows, ("NLL, ECE", f"{metrics['test/nll']:.4f}, {metrics['test/ece']:.4f}")]


def share(value: float | None) -> str:
    """Write a share in percent."""
    return "not measured" if value is None else f"{value:.2%}"
