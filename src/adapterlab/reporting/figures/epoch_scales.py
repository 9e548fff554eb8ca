"""What scales of metrics by epoch are called."""

_SCALES = {
    "train/loss": "training loss (nats)",
    "val/micro_f1": "validation micro F1",
    "val/mean_average_precision": "validation mean average precision",
    "val/exact_match": "validation share with all labels right",
    "val/r2": "validation R²",
    "val/pearson": "validation Pearson correlation",
    "val/spearman": "validation Spearman correlation",
    "val/accuracy": "validation accuracy",
    "val/macro_f1": "validation macro F1",
    "val/mcc": "validation Matthews correlation",
    "val/balanced_accuracy": "validation balanced accuracy",
    "val/loss": "validation loss (nats)",
}


def scale_of(name: str, main: str) -> str:
    """Return what the scale of a metric of an epoch is called.

    Args:
        name: of the metric: ``val/loss``.
        main: the main metric of the task; the loss of numbers is a squared error.
    """
    said = _SCALES.get(name, name)
    return said.replace("(nats)", "(squared error)") if main == "r2" else said
