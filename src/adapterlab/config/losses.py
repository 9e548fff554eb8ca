"""Options of what training makes small."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic.dataclasses import dataclass

from adapterlab.config.domains import NotNegative, Positive
from adapterlab.config.validation import STRICT


def _named(weights: Any) -> Any:
    """Take the names of classes for texts, as 3 is one that Hydra reads as a number."""
    if not isinstance(weights, dict):
        return weights
    return {
        str(key).lower() if isinstance(key, bool) else str(key): weight
        for key, weight in weights.items()
    }


ByClass = Annotated[dict[str, Positive], BeforeValidator(_named)]
ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("rule")] | Annotated[ByClass, Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, dict) else "rule"),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Loss:
    """What training makes small; see `training.losses`.

    Attributes:
        class_weights: `balanced`, or weights by class name; None weighs all classes alike.
        focal_gamma: how much rows that are right already count less; 0 for cross-entropy.
        standardize: learn numbers in standard deviations from their mean, both of the training
            rows; of a regression only.
    """

    class_weights: ClassWeights | None = None
    focal_gamma: NotNegative = 0.0
    standardize: bool = True
