"""Whether this machine has room for what a configuration asks for, as far as that can be known.

The bounds are low ones: weights with what an optimizer keeps for them, the outputs that a batch
needs for its gradient. What is refused cannot fit; what is not refused still may not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adapterlab.adapters import AdaptedModel
from adapterlab.adapters.frozen import frozen_depth
from adapterlab.adapters.weights import is_linear, sizes
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError
from adapterlab.base.memory_limits import require_bytes
from adapterlab.config.schema import Config, Dataset, ImageDataset
from adapterlab.data.splits import ImageSplit, TextSplit
from adapterlab.models.protocol import adaptable
from adapterlab.training.hardware import sees_gpu
from adapterlab.training.optimizers import moments

_SMALL_BATCH = 4_096
"""Rows up to which a batch is not looked at: it would take a model of its own."""


_NO_SIZES = ("alpha", "name", "batches", "seed", "delta_t")
"""How options end that are numbers and make nothing larger."""


def sizes_in(node: Mapping[str, Any], where: str) -> str:
    """Return the options of a node that are sizes, ``model.widths=[128]``, or else its name."""
    sizes = [
        f"{where}.{key}={value}"
        for key, value in node.items()
        if (_is_size(value) and not key.endswith(_NO_SIZES)) or (key.endswith("_pattern") and value)
    ]
    sizes += [
        sizes_in(part, f"{where}.parts.{name}") for name, part in node.get("parts", {}).items()
    ]
    return ", ".join(sizes) or f"{where}={node.get('name')}"


def require_room_for_weights(config: Config, adapted: AdaptedModel) -> None:
    """Refuse a model whose weights, gradients and moments cannot fit.

    Args:
        config: of the run.
        adapted: its model, on the meta device.

    Raises:
        ConfigError: they cannot.
    """
    count = adapted.count()
    # On a GPU, gradients and moments are in its own memory.
    kept = 0 if _may_use_gpu(config) else count.trainable * _numbers_of_each(config)
    needed = _number_bytes(config) * (count.total + kept)
    asked = f"{sizes_in(config.adapter, 'adapter')}, {sizes_in(config.model, 'model')}"
    what = f"{count.total:,} weights, with gradients and moments of {count.trainable:,},"
    require_bytes(needed, asked, what)


def require_room_for_batch(config: Config, adapted: AdaptedModel, rows: int, tokens: int) -> None:
    """Refuse a batch whose outputs, as far as gradients need them, cannot fit.

    Args:
        config: of the run.
        adapted: its model.
        rows: of the largest batch.
        tokens: of a row, at least; 1 for a vector.

    Raises:
        ConfigError: they cannot.
    """
    shared = adaptable(adapted.model).blocks[: frozen_depth(adapted)]
    outputs: int = sum(
        sizes(module)[1]
        for name, module in adapted.model.named_modules()
        if is_linear(module) and not within(name, shared)
    )
    needed = _number_bytes(config) * rows * tokens * outputs
    what = f"the outputs of {rows:,} rows that gradients need"
    if not _may_use_gpu(config):
        require_bytes(needed, f"batch_size={config.batch_size}", what)


def rows_of_batch(config: Config, train: ImageSplit | TextSplit) -> tuple[int, int] | None:
    """Return rows and tokens, at least, of the largest batch; None for one that is not large."""
    if config.batch_size <= _SMALL_BATCH:
        return None
    limit = config.limit_of("train")
    # A part of these rows may become the validation split.
    most = int(len(train) * (1 - config.dataset.validation))
    rows = min(config.batch_size, most, limit or most)
    if rows <= _SMALL_BATCH:
        return None
    if isinstance(train, ImageSplit):
        return rows, 1
    longest = getattr(config.dataset, "max_length", 1)
    words = sum(min(len(text.split()), longest) for text in train.texts[:rows])
    return rows, max(1, words // rows)


def require_crop(dataset: Dataset, shape: Sequence[int] | None, where: str) -> None:
    """Refuse a crop that could leave nothing of an image.

    Args:
        dataset: of the images.
        shape: (channels, height, width); None while it is not known.
        where: the data set's place in the configuration.

    Raises:
        ConfigError: its padding is not below the image's size.
    """
    if not isinstance(dataset, ImageDataset) or shape is None:
        return
    smallest = min(shape[1:])
    if dataset.crop >= smallest:
        raise ConfigError(
            f"{where}.crop={dataset.crop}: images of {shape[1]}x{shape[2]} pixels could be moved "
            f"out of sight; allowed: 0 to {smallest - 1}"
        )


def _numbers_of_each(config: Config) -> int:
    """Return how many numbers there are for a trained weight, beside it: gradient and moments."""
    return 1 + moments(config.optimizer, config.allow_targets)


def _may_use_gpu(config: Config) -> bool:
    return config.hardware.accelerator != "cpu" and sees_gpu()


def _number_bytes(config: Config) -> int:
    return 8 if config.hardware.precision == "64-true" else 4


def _is_size(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return bool(value) and all(_is_size(item) for item in value)
    return isinstance(value, int) and not isinstance(value, bool)
