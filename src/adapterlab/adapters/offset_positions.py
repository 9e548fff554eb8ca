"""Positions of a text that are counted on from behind a prefix, as PEFT counts them."""

from inspect import signature
from typing import Any

from torch import Tensor, nn

from adapterlab.adapters.insertion_points import refuse
from adapterlab.adapters.strategy import AdapterLayer, replace_module
from adapterlab.base.errors import ConfigError
from adapterlab.models.forward_passes import SpeaksForBase
from adapterlab.models.protocol import adaptable

_OFFSET = "past_key_values_length"
"""What embeddings of transformers call the place of the first token."""


class OffsetEmbeddings(SpeaksForBase, AdapterLayer):
    """Embeddings that count the places of tokens on from behind a prefix; it trains nothing.

    Args:
        base: embeddings of transformers that take a `past_key_values_length`.
        by: the length of the prefix.
    """

    mergeable = False
    only_calls_base = True
    covers_base = False

    def __init__(self, base: nn.Module, *, by: int) -> None:
        super().__init__()
        self.base, self.places = base, by

    def forward(self, input_ids: Tensor, **others: Any) -> Any:
        """Return what the embeddings return."""
        return offset(self.base, self.places, input_ids, others)

    def describe(self) -> str:
        """Say how far on."""
        return f"positions from {self.places} on"


def offset_positions(model: nn.Module, by: int) -> None:
    """Let the embeddings of a model count places from `by` on.

    Raises:
        ConfigError: they cannot.
    """
    for name in adaptable(model).embedding_modules:
        embeddings = model.get_submodule(name)
        if _OFFSET in signature(embeddings.forward).parameters:
            replace_module(model, name, OffsetEmbeddings(embeddings, by=by))
            return
    have = "bert_base, bert_tiny, minilm, roberta_base, and hf of bert, electra, roberta"
    refuse("adapter.offset_positions=true", "embeddings of positions that count on", have)


def offset(base: nn.Module, by: int, input_ids: Tensor, others: dict[str, Any]) -> Any:
    """Return what embeddings give for tokens whose places are counted from `by` on.

    Raises:
        ConfigError: they are given embeddings of tokens, for which not all of them count on.
    """
    if input_ids is None:
        raise ConfigError(
            "adapter.offset_positions=true goes with token ids only, not with a prompt before them"
        )
    return base(input_ids=input_ids, **{**others, _OFFSET: by})
