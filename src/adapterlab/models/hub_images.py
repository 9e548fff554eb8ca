"""Where image classifiers come from: the hub, a local folder, or a seed alone."""

import inspect
from typing import Any, cast

import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

import transformers
from transformers import (
    AutoImageProcessor,
    PretrainedConfig,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from adapterlab.base.errors import ConfigError
from adapterlab.data.pixels import PILLOWS, Pixels
from adapterlab.models.hub import require_encoder
from adapterlab.models.loading import (
    UNAVAILABLE,
    Weights,
    cached_first,
    config_of,
    indispensable,
    quiet,
    read_weights,
    redraw_head,
)
from adapterlab.models.origin import named, reads
from adapterlab.models.safe_loading import PLAIN
from adapterlab.models.seeded_init import drawing_from
from adapterlab.models.transformer import head_names
from adapterlab.models.vision import VisionClassifier, body_name, from_transformers, require_size

_BY_NUMBER = {number: name for name, number in PILLOWS.items()}
"""How processors change sizes; another way is taken for bilinear."""


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
    """Return any image classifier that `transformers` knows, with a head for these classes.

    Of the head, what the checkpoint lacks and what depends on the number of classes is drawn, as
    for texts: the rest, such as a norm before the classifier, is the checkpoint's.

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
    if image_size is not None and image_size < 1:
        raise ConfigError(f"model.image_size={image_size} must be 1 or more")
    source, config = config_of(name_or_path, None, weights, num_classes)
    config.num_labels = num_classes  # PVT's configuration keeps it apart from the names
    kind = class_of(config)
    drawn: tuple[str, ...] = ()

    def make(own: PretrainedConfig) -> PreTrainedModel:
        made: PreTrainedModel = kind._from_config(own, dtype=torch.float32)  # type: ignore[no-untyped-call]
        return made

    if weights == "random" or torch.empty(0).is_meta:
        with drawing_from(generator):
            model = make(config)
    else:
        with drawing_from(generator), quiet():
            model, lacking = _from_checkpoint(kind, source, config, name_or_path)
        with drawing_from(generator):
            drawn = redraw_head(model, lacking, head_names(model, body_name(model)), make)
    pixels = _pixels(config, source, image_size)
    model.name_or_path = name_or_path
    classifier = as_classifier(model, pixels)
    classifier.drawn = drawn
    if image_size is not None and torch.empty(0).is_meta:
        require_size(classifier, image_size)
    return classifier


def vit_tiny(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    patch_size: int = 4,
    hidden_size: int = 64,
    num_layers: int = 4,
    num_heads: int = 4,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> VisionClassifier:
    """Return a small ViT (Dosovitskiy et al. 2021, arXiv:2010.11929) with random weights.

    Args:
        input_shape: of an image, (channels, height, width), which it takes as it is.
        num_classes: outputs of the head.
        patch_size: height and width of a patch; it divides the image's.
        hidden_size: width of the encoder; the feed-forward layers are four times as wide.
        num_layers: blocks.
        num_heads: attention heads of a block; they divide `hidden_size`.
        dropout: probability of dropping an activation, and of dropping an attention weight.
        generator: CPU generator that the weights are drawn from; torch's default one when None.

    Raises:
        ConfigError: a size is below 1 or does not divide what it should, dropout is outside
            [0, 1), or the weights are more than this machine's memory.
    """
    sizes = {
        "patch_size": patch_size,
        "hidden_size": hidden_size,
        "num_layers": num_layers,
        "num_heads": num_heads,
    }
    require_encoder(sizes, dropout)
    channels, height, width = input_shape
    if height % patch_size or width % patch_size:
        raise ConfigError(
            f"model.patch_size={patch_size} does not divide images of {height}x{width} pixels"
        )
    config = ViTConfig(
        image_size=[height, width],
        patch_size=patch_size,
        num_channels=channels,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    config.num_labels = num_classes
    with drawing_from(generator):
        model = ViTForImageClassification(config)
    return from_transformers(model, None, {})


def as_classifier(model: PreTrainedModel, pixels: Pixels) -> VisionClassifier:
    """Return a model of transformers as strategies adapt it, for images of some kind.

    Raises:
        ConfigError: head and body cannot be told from the module tree.
    """
    other_size = pixels.size is not None and pixels.size != _own_size(model.config)
    return from_transformers(model, pixels, _interpolating(model) if other_size else {})


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
) -> tuple[PreTrainedModel, set[str]]:
    """Return the architecture with the checkpoint's weights, and those that it lacks."""
    model, missing, mismatched = read_weights(kind.from_pretrained, source, None, config, name)
    heads = tuple(f"{head}." for head in head_names(model, body_name(model)))
    for key in sorted(missing | mismatched):
        if not key.startswith(heads):
            raise indispensable(name, key, mismatched)
    return model, missing | mismatched


def _pixels(config: PretrainedConfig, source: str, image_size: int | None) -> Pixels:
    """Return what images a model was trained to see, as its processor says."""
    channels = int(getattr(config, "num_channels", 3))
    own = None if image_size is None else (image_size, image_size)
    try:
        processor = cached_first(AutoImageProcessor.from_pretrained, source, None, **PLAIN)
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
        interpolation=_BY_NUMBER.get(int(processor.resample or 2), "bilinear"),
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
