"""Texts without padding: those of one length together, for models that padding is not lost on."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def by_length(model: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
    """Return the logits of texts, [batch, classes], computed for each length apart.

    Args:
        model: takes inputs by name.
        inputs: [batch, tokens] each, padded at the right, with an `attention_mask`.
    """
    lengths = inputs["attention_mask"].sum(1)
    rows = [(lengths == length).nonzero().flatten() for length in lengths.unique()]
    logits = [model(_cut(inputs, own, int(lengths[own[0]]))) for own in rows]
    return torch.cat(logits)[torch.cat(rows).argsort()]


class ByLength(nn.Module):
    """A model of texts that computes each length apart, in evaluation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Mapping[str, Any]) -> Tensor:
        """Return the logits, [batch, classes]."""
        return by_length(self.model, inputs)


def _cut(inputs: Mapping[str, Any], rows: Tensor, length: int) -> dict[str, Any]:
    return {
        name: value[rows, :length] if isinstance(value, Tensor) else value
        for name, value in inputs.items()
    }
