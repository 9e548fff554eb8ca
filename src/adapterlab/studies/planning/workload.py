"""What the runs of a study work on, as far as their memory goes."""

import math

from adapterlab.config.schema import CheckpointBase, Config, PeftBase, SplitName, TrainedBase
from adapterlab.data.batches import EVALUATED
from adapterlab.packing.memory import Load
from adapterlab.runs.data import RunData
from adapterlab.runs.sketch import model_shape
from adapterlab.training.hardware import resolve_accelerator, resolve_precision
from adapterlab.training.optimizers import moments

_UNREAD = 10_000
"""Examples of a split that has not been read."""


def load_of(config: Config, read: RunData | None) -> Load:
    """Return what a run works on.

    Args:
        config: of the run.
        read: its data; without them, splits are taken to be large.
    """
    sizes = _evaluated_sizes(config, read)
    classes = config.dataset.classes or (read.target.classes if read else ())
    accelerator = resolve_accelerator(config.hardware.accelerator)
    precision = resolve_precision(config.hardware.precision, accelerator)
    return Load(
        batch=config.batch_size,
        evaluated=min(EVALUATED[config.dataset.kind], max(sizes.values())),
        tested=sizes["test"],
        tokens=config.dataset.max_length if config.dataset.kind == "text" else 1,
        classes=max(len(classes), 2),
        moments=moments(config.optimizer, config.allow_targets),
        bytes_per_number=8 if precision == "64-true" else 4,
        mixed=precision.endswith("-mixed"),
        kept_models=int(isinstance(config.base, TrainedBase | CheckpointBase | PeftBase)),
        # What is left of the source task is measured by a merged model under the base's head.
        spare_models=2 if isinstance(config.base, TrainedBase) else 1,
        shape=model_shape(config, read) or (),
        images=_kept_images(config, read),
    )


def _kept_images(config: Config, read: RunData | None) -> int:
    """Return the most images of which something may be kept while a pack is trained."""
    if config.dataset.kind != "image" or config.hardware.frozen_prefix == "never":
        return 0
    train = _UNREAD if read is None else len(read.target.train)
    limit = config.limit_of("train")
    train = train if limit is None else min(train, limit)
    return train + _evaluated_sizes(config, read)["validation"]


def _evaluated_sizes(config: Config, read: RunData | None) -> dict[str, int]:
    """Return the most examples of the splits that models are evaluated on."""
    validation = test = source = _UNREAD
    if read is not None:
        target = read.target
        held_out = math.ceil(len(target.train) * config.dataset.validation) + len(target.classes)
        validation = held_out if target.validation is None else len(target.validation)
        test, source = len(target.test), len(read.source.test) if read.source else 0

    def limited(split: SplitName, size: int) -> int:
        limit = config.limit_of(split)
        return size if limit is None else min(size, limit)

    return {
        "validation": limited("validation", validation),
        "test": limited("test", test),
        "source": source if isinstance(config.base, TrainedBase) else 0,
    }
