"""Architectures and weights of `transformers`, from a folder, the hub's cache or the hub."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
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
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from adapterlab.base.errors import CheckpointError, ConfigError, allowed, first_line
from adapterlab.models.safe_loading import (
    PLAIN,
    TENSORS,
    require_no_adapter,
    require_no_run,
    require_plain,
)
from adapterlab.models.transformer import body_name

Weights = Literal["pretrained", "random"]
"""Whether the body's weights are read from the checkpoint or drawn."""

UNAVAILABLE = (OSError, ValueError, KeyError)
"""What transformers raises for a model that is not there or not whole."""

_SILENCE_SECONDS = 10.0

T = TypeVar("T")


def source_of(name_or_path: str, revision: str | None) -> str:
    """Return the folder meant, or the name as it is for the hub.

    Raises:
        ConfigError: there is no such folder, or it is asked for a revision.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ConfigError(
                f"model.revision={revision} is of models on the hub, and "
                f"model.name_or_path={name_or_path} is a folder"
            )
        require_no_adapter(str(folder))
        require_no_run(str(folder))
        return str(folder)
    if name_or_path.startswith((".", "/", "~")):
        raise ConfigError(f"model.name_or_path={name_or_path}: no such folder")
    return name_or_path


def config_of(
    name_or_path: str, revision: str | None, weights: str, num_classes: int
) -> tuple[str, PretrainedConfig]:
    """Return the folder meant, or the name, and a checkpoint's configuration for these classes.

    Raises:
        ConfigError: there is none, it has code of its own, or `weights` is no `Weights`.
    """
    if weights not in get_args(Weights):
        raise ConfigError(f"model.weights={weights}; {allowed(weights, get_args(Weights))}")
    source = source_of(name_or_path, revision)
    try:
        config = cached_first(AutoConfig.from_pretrained, source, revision, **PLAIN)
    except UNAVAILABLE as error:
        raise ConfigError(unavailable(name_or_path, error)) from None
    require_plain(source, config)
    # Whatever names the checkpoint has are those of another task's classes.
    config.id2label = {index: f"LABEL_{index}" for index in range(num_classes)}
    config.label2id = {label: index for index, label in config.id2label.items()}
    return source, config


def cached_first(load: Callable[..., T], source: str, revision: str | None, **options: Any) -> T:
    """Load from a folder or the hub's cache, and only what is not there from the hub.

    The hub is asked once whether it is there: transformers itself would knock for half a minute.
    """
    if revision is not None:
        options["revision"] = revision
    try:
        return load(source, local_files_only=True, **options)
    except OSError:
        if Path(source).is_dir():
            raise
    try:
        HfApi().model_info(source, revision=revision, timeout=_SILENCE_SECONDS)
    except Exception as error:  # the hub's libraries raise nearly anything
        raise OSError(f"huggingface.co: {first_line(error)}") from error
    return load(source, **options)


def from_config(config: PretrainedConfig) -> PreTrainedModel:
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


def from_checkpoint(
    source: str, revision: str | None, config: PretrainedConfig, name: str
) -> tuple[PreTrainedModel, set[str]]:
    """Return the architecture with the checkpoint's weights, and the names of those it lacks.

    Args:
        source: a folder, or a name on the hub.
        revision: on the hub; None is its default branch.
        config: with the number of classes that is wanted.
        name: of the model, for errors.

    Raises:
        CheckpointError: the weights are damaged, or the body's are missing or of another shape.
    """
    load = AutoModelForSequenceClassification.from_pretrained
    model, missing, mismatched = read_weights(load, source, revision, config, name)
    body = body_name(model)
    drawn = sorted(key for key in (missing | mismatched) if key.startswith(f"{body}."))
    for key in drawn:
        # Masked-language-model checkpoints have no pooler, everything else is indispensable.
        if key in mismatched or not key.startswith(f"{body}.pooler."):
            raise indispensable(name, key, mismatched)
    if drawn:
        warnings.warn(
            f"{name} has no weights for {', '.join(drawn)}: they start random", stacklevel=3
        )
    return model, missing | mismatched


def read_weights(
    load: Callable[..., Any],
    source: str,
    revision: str | None,
    config: PretrainedConfig,
    name: str,
) -> tuple[PreTrainedModel, set[str], set[str]]:
    """Return a model, and the weights that the checkpoint lacks or has in another shape.

    Args:
        load: `from_pretrained` of the class.
        source: a folder, or a name on the hub.
        revision: on the hub; None is its default branch.
        config: with the number of classes that is wanted.
        name: of the model, for errors.

    Raises:
        CheckpointError: the weights are damaged, or not to be had.
    """
    try:
        model, report = cached_first(
            load,
            source,
            revision,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # of the head; whose they are is for the caller to say
            output_loading_info=True,
            **TENSORS,
        )
    except (*UNAVAILABLE, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise CheckpointError(unavailable(name, error)) from None
    return model, set(report["missing_keys"]), {key for key, *_ in report["mismatched_keys"]}


def indispensable(name: str, key: str, mismatched: set[str]) -> CheckpointError:
    """Return the error for a checkpoint whose body is not all there."""
    return CheckpointError(
        f"model.name_or_path={name}: {key} is "
        f"{'of another shape' if key in mismatched else 'missing'} in its weights"
    )


@torch.no_grad()
def redraw_head(
    model: PreTrainedModel,
    lacking: Set[str],
    heads: Sequence[str],
    make: Callable[[PretrainedConfig], PreTrainedModel],
) -> tuple[str, ...]:
    """Draw what of the head the checkpoint lacks or depends on the number of classes.

    Args:
        model: with the checkpoint's weights.
        lacking: names of the weights that it does not have.
        heads: names of the modules that are the head.
        make: returns a classifier of its kind; called on the meta device.

    Returns:
        The names of the modules that were drawn.
    """
    inside = tuple(f"{head}." for head in heads)
    own = {n: t for n, t in model.state_dict().items() if n.startswith(inside)}
    known = own.keys() - lacking
    kept = known - (_of_the_classes(model, make) if known else set())
    before = {name: own[name].clone() for name in kept}
    for head in heads:
        redraw(model, head)
    for name, weight in before.items():
        own[name].copy_(weight)
    return tuple(dict.fromkeys(name.rpartition(".")[0] for name in own if name not in kept))


@torch.no_grad()
def redraw(model: PreTrainedModel, name: str) -> None:
    """Draw a submodule's weights as the architecture does for a new model."""
    for module in model.get_submodule(name).modules():
        for marked in (module, *module.parameters(recurse=False)):
            # transformers passes over whatever bears this mark.
            setattr(marked, "_is_hf_initialized", False)  # noqa: B010
        model._init_weights(module)  # type: ignore[no-untyped-call]


def _of_the_classes(
    model: PreTrainedModel, make: Callable[[PretrainedConfig], PreTrainedModel]
) -> set[str]:
    """Return the names of the weights whose shape another number of classes would change."""
    config = copy.deepcopy(model.config)
    config.num_labels = int(config.num_labels or 0) + 1
    with torch.device("meta"):
        other = make(config).state_dict()
    return {
        name
        for name, tensor in model.state_dict().items()
        if name not in other or other[name].shape != tensor.shape
    }


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


def unavailable(name: str, error: Exception) -> str:
    """Say that a model or its tokenizer cannot be loaded, and why."""
    return (
        f"model.name_or_path={name} cannot be loaded ({first_line(error)}); without a network, "
        "give a folder that save_pretrained wrote"
    )
