"""Small random image classifiers of every family that has a file in conf/model."""

import copy
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    ConvNextConfig,
    DeiTConfig,
    Dinov2Config,
    PretrainedConfig,
    ResNetConfig,
    SwinConfig,
    ViTConfig,
    ViTImageProcessor,
)

from adapterlab.data.images import ImageBatches
from adapterlab.data.pixels import Pixels
from adapterlab.data.splits import ImageSplit
from adapterlab.models.hub import quiet
from adapterlab.models.hub_images import class_of, hf_image
from adapterlab.models.vision import VisionClassifier

SIDE, CLASSES = 16, 3

_LAYERS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": SIDE,
    "patch_size": 8,
}
_STAGES = {"hidden_sizes": [8, 16], "depths": [1, 2]}

FAMILIES: dict[str, Callable[[], PretrainedConfig]] = {
    "vit": lambda: ViTConfig(**_LAYERS),
    "deit": lambda: DeiTConfig(**_LAYERS),
    "dinov2": lambda: Dinov2Config(**_LAYERS, mlp_ratio=2),
    "swin": lambda: SwinConfig(
        image_size=SIDE,
        patch_size=2,
        embed_dim=8,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=2,
        drop_path_rate=0.0,
    ),
    # Its own layer scale, 1e-6, would hide what layers do.
    "convnext": lambda: ConvNextConfig(
        num_stages=2, image_size=SIDE, patch_size=2, layer_scale_init_value=0.5, **_STAGES
    ),
    "resnet": lambda: ResNetConfig(embedding_size=8, layer_type="basic", **_STAGES),
}


def saved(family: str, folder: Path, *, processor: bool = True) -> Path:
    """Write a small model of 7 classes as `save_pretrained` does, with a processor of its own."""
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        config = FAMILIES[family]()
        config.num_labels = 7
        model = class_of(config)._from_config(config)
        model.save_pretrained(folder)
        if processor:
            ViTImageProcessor(
                size={"height": SIDE, "width": SIDE}, image_mean=[0.4] * 3, image_std=[0.2] * 3
            ).save_pretrained(folder)
    return folder


@cache
def _saved_once(family: str) -> VisionClassifier:
    with tempfile.TemporaryDirectory() as folder:
        saved(family, Path(folder))
        generator = torch.Generator().manual_seed(0)
        return hf_image((3, SIDE, SIDE), CLASSES, name_or_path=folder, generator=generator)


def classifier(
    family: str, *, dtype: torch.dtype = torch.float64, seed: int = 0
) -> VisionClassifier:
    """Return a small model whose numbers are all shifted, so that biases and norms matter."""
    model = copy.deepcopy(_saved_once(family))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor += 0.1 * torch.rand(tensor.shape, generator=generator)
    return model.to(dtype)


def data(*, dtype: torch.dtype = torch.float64, **options: Any) -> ImageBatches:
    """Return batches of a few random images of another size than the models'."""
    generator = torch.Generator().manual_seed(3)

    def split(size: int) -> ImageSplit:
        images = torch.randint(0, 256, (size, 3, 8, 8), dtype=torch.uint8, generator=generator)
        return ImageSplit(images, torch.arange(size) % CLASSES)

    return ImageBatches(
        train=split(20),
        validation=split(7),
        test=split(5),
        classes=[str(c) for c in range(CLASSES)],
        mean=[0.5],
        std=[0.5],
        pixels=Pixels(size=(SIDE, SIDE)),
        batch_size=8,
        order_seed=0,
        dtype=dtype,
        **options,
    )
