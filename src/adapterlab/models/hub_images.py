"""Where image classifiers come from: the hub, a local folder, or a seed alone."""

import inspect
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any, cast, get_args

import torch
from safetensors import SafetensorError

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

import transformers
from transformers import AutoConfig, AutoImageProcessor, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from adapterlab.base.errors import CheckpointError, ConfigError, allowed
from adapterlab.data.pixels import Interpolation, Pixels
from adapterlab.models.drawn import drawing_from
from adapterlab.models.foreign import PLAIN, TENSORS, require_plain
from adapterlab.models.hub import (
    UNAVAILABLE,
    Weights,
    _cached_first,
    _redraw,
    _source,
    _unavailable,
    quiet,
)
from adapterlab.models.origin import named, reads
from adapterlab.models.transformer import head_names
from adapterlab.models.vision import VisionClassifier, body_name, from_transformers, require_size

_INTERPOLATIONS: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of them, which processors have; another one is taken for bilinear."""


@reads(named)
def hf_image(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    name_or_path: str,
    image_size: int | None = None,
    weights: Weights = "pretrained",
    generator: torch.Generator | None = None,
) -> VisionClassifier:
    """Return any image classifier that `transformers` knows, with a new head.

    Images are brought to the size of the model's own processor, and normalised as it does; where
    there is none, to the size in the configuration, normalised by the data set's figures.

    Args:
        input_shape: of the data set's images, (channels, height, width).
        num_classes: outputs of the head.
        name_or_path: a name on the hub, or a folder that `save_pretrained` wrote.
        image_size: height and width of the images instead; a ViT's positions are interpolated.
        weights: `pretrained`, or `random` for the same architecture from scratch.
        generator: CPU generator of every draw; torch's default one when None.

    Raises:
        ConfigError: there is no such model, it is no image classifier that can be adapted, or it
            takes no images of that size.
        CheckpointError: the weights are missing, damaged or another model's.
    """
    if weights not in get_args(Weights):
        raise ConfigError(f"model.weights={weights}; {allowed(weights, get_args(Weights))}")
    if image_size is not None and image_size < 1:
        raise ConfigError(f"model.image_size={image_size} must be 1 or more")
    source = _source(name_or_path)
    try:
        config = _cached_first(AutoConfig.from_pretrained, source, **PLAIN)
    except UNAVAILABLE as error:
        raise ConfigError(_unavailable(name_or_path, error)) from None
    require_plain(source, config)
    # Whatever names the checkpoint has are those of another task's classes.
    config.id2label = {index: f"LABEL_{index}" for index in range(num_classes)}
    config.label2id = {label: index for index, label in config.id2label.items()}
    config.num_labels = num_classes  # PVT's configuration keeps it apart from the names
    kind = class_of(config)
    if weights == "random" or torch.empty(0).is_meta:
        with drawing_from(generator):
            model: PreTrainedModel = kind._from_config(  # type: ignore[no-untyped-call]
                config, dtype=torch.float32
            )
    else:
        with drawing_from(generator), quiet():
            model = _from_checkpoint(kind, source, config, name_or_path)
        with drawing_from(generator):
            for head in head_names(model, body_name(model)):
                _redraw(model, head)
    pixels = _pixels(config, source, image_size)
    options = {}
    if pixels.size is not None and pixels.size != _own_size(config):
        options = _interpolating(model)
    model.name_or_path = name_or_path
    classifier = from_transformers(model, pixels, options)
    if image_size is not None and torch.empty(0).is_meta:
        require_size(classifier, image_size)
    return classifier


def class_of(config: PretrainedConfig) -> type[PreTrainedModel]:
    """Return the classifier of an architecture: of several, that which the checkpoint names.

    Raises:
        ConfigError: there is none.
    """
    names = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(config.model_type)
    if names is None:
        raise ConfigError(f"transformers has no image classifier of type {config.model_type}")
    several = (names,) if isinstance(names, str) else tuple(names)
    named_by = [name for name in config.architectures or () if name in several]
    return cast(type[PreTrainedModel], getattr(transformers, (*named_by, *several)[0]))


def _from_checkpoint(
    kind: type[PreTrainedModel], source: str, config: PretrainedConfig, name: str
) -> PreTrainedModel:
    """Return the architecture with the checkpoint's body."""
    load: Callable[..., tuple[PreTrainedModel, dict[str, Any]]]
    load = kind.from_pretrained  # type: ignore[assignment]  # which returns more if it is told to
    try:
        model, report = _cached_first(
            load,
            source,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # of the head; the body's are looked at below
            output_loading_info=True,
            **TENSORS,
        )
    except (*UNAVAILABLE, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise CheckpointError(_unavailable(name, error)) from None
    heads = head_names(model, body_name(model))
    mismatched = {key for key, *_ in report["mismatched_keys"]}
    for key in sorted({*report["missing_keys"], *mismatched}):
        if not key.startswith(tuple(f"{head}." for head in heads)):
            raise CheckpointError(
                f"model.name_or_path={name}: {key} is "
                f"{'of another shape' if key in mismatched else 'missing'} in its weights"
            )
    return model


def _pixels(config: PretrainedConfig, source: str, image_size: int | None) -> Pixels:
    """Return what images a model was trained to see, as its processor says."""
    channels = int(getattr(config, "num_channels", 3))
    own = None if image_size is None else (image_size, image_size)
    try:
        processor = _cached_first(AutoImageProcessor.from_pretrained, source, **PLAIN)
    except UNAVAILABLE:
        return Pixels(channels=channels, size=own or _own_size(config))
    factor = 255 * (processor.rescale_factor if processor.do_rescale else 1.0)
    mean, std = processor.image_mean, processor.image_std
    if not processor.do_normalize:
        mean, std = (0.0,) * channels, (1.0,) * channels
    return Pixels(
        channels=channels,
        size=own or _processed_size(processor) or _own_size(config),
        mean=tuple(float(value) / factor for value in mean),
        std=tuple(float(value) / factor for value in std),
        interpolation=_INTERPOLATIONS.get(int(processor.resample or 2), "bilinear"),
    )


def _processed_size(processor: Any) -> tuple[int, int] | None:
    """Return the height and width of what a processor returns; None if they differ by image."""
    crops = getattr(processor, "do_center_crop", False)
    for size in (processor.crop_size if crops else None, processor.size):
        if size is None:
            continue
        if size.height and size.width:
            return size.height, size.width
        if size.shortest_edge:
            return size.shortest_edge, size.shortest_edge
    return None


def _own_size(config: PretrainedConfig) -> tuple[int, int] | None:
    """Return the height and width that a configuration says, if it says any."""
    size = getattr(config, "image_size", None)
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) and size else None


def _interpolating(model: PreTrainedModel) -> dict[str, Any]:
    """Return the option by which a model interpolates its positions, where it has that."""
    known = inspect.signature(type(model).forward).parameters
    return {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in known else {}
