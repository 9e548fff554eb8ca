"""Prompts: trained vectors before the input embeddings of a text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args

import torch
from torch import Tensor, nn

from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.prompt_learning import PromptLearning
from adapterlab.adapters.insertion_points import refuse
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, Strategy, replace_module
from adapterlab.base.errors import ConfigError, allowed
from adapterlab.models.forward_passes import Passed, SpeaksForBase
from adapterlab.models.protocol import adaptable

Init = Literal["vocabulary", "normal"]
"""First values: embeddings of tokens that are drawn from the vocabulary, or N(0, std²)."""

WITH_PROMPTS = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")
"""Architectures whose encoders take embeddings in the place of tokens, and read the first place."""

_HAVE = "bert_base, bert_tiny, distilbert, minilm, roberta_base, and hf of {}"


class PromptedEncoder(SpeaksForBase, AdapterLayer):
    """Prompt tuning (Lester et al. 2021, https://arxiv.org/abs/2104.08691).

    The encoder is given [P; E(tokens)] in the place of E(tokens), its input embeddings. A text's
    places are counted on from the prompt's, whose token type is the first text's.

    What reads the first place then reads the first vector's: so do the architectures' own
    classifiers, as in PEFT. Where hidden states are pooled, they are the text's alone.

    Shapes: P [length, width of the embeddings].

    Args:
        base: an encoder of transformers, from token ids or embeddings to hidden states.
        first: the first values of P.
        text_only: return the hidden states of the text alone.
        token_mask: where the model holds the mask of its batch, for modules inside: it says which
            places are a text's own.
    """

    mergeable = False
    only_calls_base = True
    covers_base = False

    def __init__(
        self, base: nn.Module, *, first: Tensor, text_only: bool, token_mask: Passed | None = None
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.prompt = nn.Parameter(first)
        self.text_only, self.token_mask = text_only, token_mask
        self.places = len(first)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Any
    ) -> Any:
        """Return what the encoder returns."""
        return prompted(self, [self.prompt], input_ids, attention_mask, others)

    def describe(self) -> str:
        """Say how long it is."""
        return f"prompt of {len(self.prompt)}"


@dataclass(frozen=True, kw_only=True)
class Prompt(Strategy):
    """Train vectors before the input embeddings of a text (Lester et al. 2021, arXiv:2104.08691).

    Args:
        num_virtual_tokens: how many. Texts may be that much shorter than without.
        init: see `Init`. It does not start as the base in any case.
        std: standard deviation of `init=normal`.
    """

    dial: ClassVar[str | None] = "num_virtual_tokens"

    num_virtual_tokens: int = 10
    init: Init = "vocabulary"
    std: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_virtual_tokens < 1:
            raise ConfigError(
                f"adapter.num_virtual_tokens={self.num_virtual_tokens} must be 1 or more; to train "
                "without an adapter: adapter=head"
            )
        if self.init not in get_args(Init):
            raise ConfigError(f"adapter.init={self.init}; {allowed(self.init, get_args(Init))}")
        if not 0 < self.std < math.inf:
            raise ConfigError(f"adapter.std={self.std:g} must be above 0 and finite")

    @property
    def mergeable(self) -> bool:
        """No tokens of the base have these embeddings."""
        return False

    def most(self, model: nn.Module) -> int:
        """Return the width, whose whole space they span then, or the places beside a short text."""
        encoder = model.get_submodule(_encoder(model))
        width = int(_embeddings(encoder).weight.shape[1])
        limit = adaptable(model).max_tokens
        return width if limit is None else max(1, min(width, limit - _SHORT_TEXT))

    def turned(self, value: int) -> Self:
        """Return the strategy with a prompt of another length."""
        return replace(self, num_virtual_tokens=value)

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Put the prompt before what the encoder is given."""
        name = _encoder(model)
        encoder = model.get_submodule(name)
        table = _embeddings(encoder).weight.detach()
        layer = PromptedEncoder(
            encoder,
            first=self._first(table, generator),
            text_only=getattr(model, "pooling", "auto") != "auto",
            token_mask=adaptable(model).token_mask,
        )
        replace_module(model, name, layer)

    def _first(self, table: Tensor, generator: torch.Generator) -> Tensor:
        """Return the first values, of the embeddings of the vocabulary."""
        if table.is_meta:
            return table.new_empty(self.num_virtual_tokens, table.shape[1])
        if self.init == "vocabulary":
            tokens = torch.randint(len(table), (self.num_virtual_tokens,), generator=generator)
            return table[tokens.to(table.device)].clone()
        shape = (self.num_virtual_tokens, table.shape[1])
        return (self.std * torch.randn(shape, generator=generator)).to(table)


_SHORT_TEXT = 3
"""Tokens of a text of one word."""


def prompted(
    layer: Any,
    prompts: Sequence[Tensor],
    input_ids: Tensor,
    attention_mask: Tensor | None,
    others: Mapping[str, Any],
) -> Any:
    """Return what an encoder makes of texts with prompts before them.

    Args:
        layer: a `PromptedEncoder`, or its counterpart in packs.
        prompts: [length, width] each, of as many equal parts of the rows.
        input_ids: [rows, tokens].
        attention_mask: likewise.
        others: by name; of these, `token_type_ids` are each token's, and the rest is passed on.
    """
    given = dict(others)
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids)

    def filled(rows: Tensor, value: int) -> Tensor:
        return before([rows.new_full((len(prompt),), value) for prompt in prompts], rows)

    if given.get("token_type_ids") is not None:
        given["token_type_ids"] = filled(given["token_type_ids"], 0)
    given["inputs_embeds"] = before(prompts, _embeddings(layer.base)(input_ids))
    if layer.token_mask is not None:
        layer.token_mask.give(filled(attention_mask, 0))
    output = layer.base(attention_mask=filled(attention_mask, 1), **given)
    if layer.text_only:
        lengths = [len(prompt) for prompt in prompts]
        output.last_hidden_state = behind(lengths, output.last_hidden_state, input_ids.shape[1])
    return output


def before(prompts: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Put prompts before equal parts of rows, and zeros behind those of shorter ones.

    Args:
        prompts: [length, ...] each.
        rows: [rows, tokens, ...].

    Returns:
        [rows, tokens and the longest prompt's length, ...].
    """
    longest = max(len(prompt) for prompt in prompts)
    parts = []
    for prompt, part in zip(prompts, rows.chunk(len(prompts)), strict=True):
        pieces = [prompt.to(part.dtype).expand(len(part), *prompt.shape), part]
        if len(prompt) < longest:
            pieces.append(part.new_zeros(len(part), longest - len(prompt), *part.shape[2:]))
        parts.append(torch.cat(pieces, 1))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def behind(lengths: Sequence[int], rows: Tensor, tokens: int) -> Tensor:
    """Return what stands behind prompts of these lengths, [rows, tokens, ...]."""
    parts = zip(lengths, rows.chunk(len(lengths)), strict=True)
    return torch.cat([part[:, length : length + tokens] for length, part in parts])


def _embeddings(encoder: Any) -> nn.Embedding:
    found: nn.Embedding = encoder.get_input_embeddings()
    return found


def _encoder(model: nn.Module) -> str:
    """Return the name of the encoder in a classifier.

    Raises:
        ConfigError: it is none of texts, or of an architecture that prompts are not known to fit.
    """
    inner: Any = getattr(model, "model", None)
    kind = getattr(getattr(inner, "config", None), "model_type", None)
    if "input_ids" not in adaptable(model).input_names or kind not in WITH_PROMPTS:
        have = _HAVE.format(", ".join(WITH_PROMPTS))
        refuse("adapter=prompt", "an encoder of texts that takes embeddings", have)
    return f"model.{inner.base_model_prefix}"


@dataclass(frozen=True)
class _PeftPrompt(PromptLearning):
    """PEFT's PROMPT_TUNING."""

    peft_type: ClassVar[str] = "PROMPT_TUNING"

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Add the width; first values are those of the file."""
        (layer,) = layers.values()
        own = {"token_dim": layer.prompt.shape[1], "prompt_tuning_init": "RANDOM"}
        return {**super().own(adapted, layers), **own}


METHODS[Prompt] = _PeftPrompt(PromptedEncoder, {"prompt": "prompt"})
