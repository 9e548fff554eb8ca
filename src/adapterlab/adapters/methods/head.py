"""Linear probing: the body stays as it was, only the classifier is trained."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from adapterlab.adapters.strategy import HeadMode, Strategy


@dataclass(frozen=True, kw_only=True)
class Head(Strategy):
    """Train the task's classifier on frozen features (Alain & Bengio 2016, arXiv:1610.01644).

    Args:
        head: `train`; there is nothing else to train.
    """

    allowed_heads: ClassVar[tuple[HeadMode, ...]] = ("train",)

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Leave the body frozen."""
