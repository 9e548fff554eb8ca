"""Cuts rows in two without parting those that belong together."""

import math

import numpy as np
import torch
from torch import Tensor

from adapterlab.base.errors import ConfigError, DataError


def require_groups(groups: Tensor, fraction: float, option: str) -> int:
    """Refuse groups that are too few to be cut; return the number of parts that the cut is made of.

    Args:
        groups: int64 ``[N]``.
        fraction: the share that is to be cut off.
        option: that says it, for the error.

    Raises:
        ConfigError: a fraction outside of (0, 1).
        DataError: fewer groups than parts.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"{option}={fraction} should be above 0 and below 1")
    parts = max(2, round(1 / min(fraction, 1 - fraction)))
    count = len(torch.unique(groups))
    if count < parts:
        raise DataError(
            f"{len(groups):,} rows of {count} groups cannot be cut at {option}={fraction:g}, which "
            f"needs {parts} groups; set {option}={math.ceil(100 / max(count, 2)) / 100:g}, or give "
            "smaller groups"
        )
    return parts


def grouped_cut(
    labels: Tensor, groups: Tensor, fraction: float, seed: int, option: str = "dataset.validation"
) -> tuple[Tensor, Tensor]:
    """Cut rows in two by groups, each class keeping its share as far as the groups allow.

    The second part is one of ``round(1 / fraction)`` parts of about the same size, as
    scikit-learn's ``StratifiedGroupKFold`` makes them.

    Args:
        labels: int64 ``[N]``.
        groups: int64 ``[N]``; rows of one group come into one part.
        fraction: about the share of rows that the second part gets, between 0 and 1.
        seed: fixes the cut; equal labels, groups and seed give equal rows.
        option: that says the fraction, for errors.

    Returns:
        Row indices of the first part and of the second one, int64, ascending.

    Raises:
        ConfigError: a fraction outside of (0, 1).
        DataError: fewer groups than parts.
    """
    parts = require_groups(groups, fraction, option)
    from sklearn.model_selection import StratifiedGroupKFold  # which takes a second

    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    most, least = next(folds.split(np.zeros(len(labels)), labels.numpy(), groups.numpy()))
    first, second = (most, least) if fraction <= 0.5 else (least, most)
    return torch.from_numpy(np.sort(first)), torch.from_numpy(np.sort(second))


def random_cut(rows: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Cut rows in two at random, both parts in the original order and with a row at least.

    Args:
        rows: how many there are.
        fraction: the share that the second part gets, between 0 and 1.
        seed: fixes the cut.

    Raises:
        DataError: there are fewer than two rows.
    """
    if rows < 2:
        raise DataError(f"{rows} row cannot be in two splits; allowed: at least 2")
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    held = min(max(1, round(fraction * rows)), rows - 1)
    return order[held:].sort().values, order[:held].sort().values
