"""Networks as plain torch modules, input to logits; each says what it is, see `protocol`."""

from adapterlab.models.mlp import MLP
from adapterlab.models.protocol import Adaptable, ClassifierModel
from adapterlab.models.wrapped import wrapped

__all__ = ["MLP", "Adaptable", "ClassifierModel", "wrapped"]
