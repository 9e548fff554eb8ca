"""Networks as plain torch modules, input to logits; each names its head and its blocks."""

from adapterlab.models.mlp import MLP

__all__ = ["MLP"]
