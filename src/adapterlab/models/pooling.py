"""Which hidden states of a text a classifier reads, where it is not the architecture's own choice.

A sentence encoder, say, is trained for the mean over the tokens, and its architecture's classifier
reads the first one. With a pooling of one's own, the head is one linear layer over what is pooled.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.models.seeded_init import drawing_from
from adapterlab.models.transformer import (
    TransformerClassifier,
    architecture,
    body_name,
    head_names,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Pooling = Literal["auto", "cls", "mean", "last"]
"""What the head reads: the architecture's own choice, the first token, the mean, the last token."""

_STD = 0.02  # of first weights, where the configuration says nothing


class PooledClassifier(TransformerClassifier):
    """A base model of `transformers` under a linear layer over pooled hidden states.

    Shapes: inputs, as the tokenizer names them, [batch, tokens] each -> logits [batch, classes].

    Args:
        model: an `AutoModelForSequenceClassification`; its own head and pooler are taken out.
        pooling: `cls`, `mean` or `last`.
        num_classes: outputs of the head.
        frozen_dropout: see `TransformerClassifier`.
        generator: CPU generator that the head is drawn from; torch's default one when None.

    Raises:
        ConfigError: the first token is to be read, and sees no other.
    """

    drawn = ("classifier",)
    peft_root = None

    def __init__(
        self,
        model: "PreTrainedModel",
        pooling: Pooling,
        num_classes: int,
        *,
        frozen_dropout: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        body = body_name(model)
        if pooling == "cls" and _looks_back_only(model):
            raise ConfigError(
                f"model.pooling=cls: the first token of a {model.config.model_type} is computed "
                "without those that follow; allowed: auto, mean, last"
            )
        heads = head_names(model, body)
        width = _width(model, heads)
        for name in heads:
            delattr(model, name)
        base = model.get_submodule(body)
        if isinstance(getattr(base, "pooler", None), nn.Module):
            base.pooler = nn.Identity()  # it would never get a gradient
        with drawing_from(generator):
            head = nn.Linear(width, num_classes)
            nn.init.normal_(head.weight, std=getattr(model.config, "initializer_range", _STD))
            nn.init.zeros_(head.bias)
        model.classifier = head
        super().__init__(model, frozen_dropout=frozen_dropout)
        self.pooling, self.body = pooling, body
        self.architecture = {**architecture(model), "pooling": pooling}

    def logits(self, inputs: Mapping[str, Any]) -> Tensor:
        """Return the logits of what is pooled."""
        hidden = self.model.get_submodule(self.body)(**inputs, return_dict=True).last_hidden_state
        pooled = pool(hidden, inputs.get("attention_mask"), self.pooling)
        return cast(Tensor, self.model.get_submodule("classifier")(pooled))


def pool(hidden: Tensor, mask: Tensor | None, pooling: Pooling) -> Tensor:
    """Return what stands for a text, [batch, hidden].

    Args:
        hidden: [batch, tokens, hidden].
        mask: 1 for tokens, 0 for padding at the right, [batch, tokens]; None for no padding.
        pooling: `cls`, `mean` or `last`.
    """
    if pooling == "cls":
        return hidden[:, 0]
    if mask is None:
        return hidden.mean(1) if pooling == "mean" else hidden[:, -1]
    if pooling == "mean":
        share = mask.to(hidden.dtype) / mask.sum(1, keepdim=True)
        return (hidden * share[..., None]).sum(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]


def require_pooling(pooling: str) -> None:
    """Refuse what is no pooling.

    Raises:
        ConfigError: it is none.
    """
    if pooling not in get_args(Pooling):
        raise ConfigError(f"model.pooling={pooling}; {allowed(pooling, get_args(Pooling))}")


def _looks_back_only(model: "PreTrainedModel") -> bool:
    """Say whether each token sees those before it only, as far as attention says so itself."""
    said = [bool(one.is_causal) for one in model.modules() if hasattr(one, "is_causal")]
    return bool(said) and all(said)


def _width(model: "PreTrainedModel", heads: tuple[str, ...]) -> int:
    """Return how wide what the head reads is: the inputs of its first linear layer."""
    for name in heads:
        for module in model.get_submodule(name).modules():
            if isinstance(module, nn.Linear):
                return module.in_features
    raise ConfigError(f"{type(model).__name__} has no linear layer in its head; model.pooling=auto")
