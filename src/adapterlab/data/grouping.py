"""Cuts rows in two without parting those that belong together."""

import numpy as np
import torch
from torch import Tensor

from adapterlab.base.errors import ConfigError, DataError


def grouped_cut(
    labels: Tensor, groups: Tensor, fraction: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Cut rows in two by groups, each class keeping its share as far as the groups allow.

    The second part is one of ``round(1 / fraction)`` parts of about the same size, as
    scikit-learn's ``StratifiedGroupKFold`` makes them.

    Args:
        labels: int64 ``[N]``.
        groups: int64 ``[N]``; rows of one group come into one part.
        fraction: about the share of rows that the second part gets, between 0 and 1.
        seed: fixes the cut; equal labels, groups and seed give equal rows.

    Returns:
        Row indices of the first part and of the second one, int64, ascending.

    Raises:
        ConfigError: a fraction outside of (0, 1).
        DataError: fewer groups than parts.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"the share to cut off is {fraction}; allowed: above 0, below 1")
    parts = max(2, round(1 / min(fraction, 1 - fraction)))
    count = len(torch.unique(groups))
    if count < parts:
        raise DataError(
            f"{len(labels):,} rows of {count} groups cannot be cut at {fraction:g}, which needs "
            f"{parts} groups or more; give a larger share, or smaller groups"
        )
    from sklearn.model_selection import StratifiedGroupKFold  # which takes a second

    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    most, least = next(folds.split(np.zeros(len(labels)), labels.numpy(), groups.numpy()))
    first, second = (most, least) if fraction <= 0.5 else (least, most)
    return torch.from_numpy(np.sort(first)), torch.from_numpy(np.sort(second))
