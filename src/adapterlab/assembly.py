"""What a run trains and on what: data, base weights, model and strategy, put together."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from adapterlab.adapters import AdaptedModel, Plan, merge
from adapterlab.adapters.base import adaptable, replace_module
from adapterlab.bases import BaseWeights, load_base, load_into
from adapterlab.building import declared_shape, make_model, make_strategy, plan_for
from adapterlab.config import Config, Dataset
from adapterlab.data.images import ImageDataModule
from adapterlab.data.splits import ImageSplits, hold_out, limited
from adapterlab.data.transforms import splits_to_shape
from adapterlab.hardware import resolve_accelerator
from adapterlab.loading import load_splits
from adapterlab.runs import RunResult
from adapterlab.seeding import stream


@dataclass(frozen=True)
class Assembly:
    """Everything a training needs.

    Attributes:
        data: the target task.
        base: what the weights started from.
        adapted: the model under its strategy.
        head_kept: whether the head is the base's, rather than newly drawn.
        notes: what a reader of the figures should know about the data.
    """

    data: ImageDataModule
    base: BaseWeights
    adapted: AdaptedModel
    head_kept: bool
    notes: tuple[str, ...]


def assemble(config: Config, train: Callable[[Config], RunResult]) -> Assembly:
    """Load the data and the base, and put the strategy on the model.

    The target's files are read first, so that a missing one is found before a base is trained.

    Args:
        config: of the run.
        train: carries out the run that trains the base, where there is one to train.

    Raises:
        AdapterLabError: data or weights are missing, damaged or do not fit.
    """
    shape = declared_shape(config)
    splits = load_splits(config, config.dataset, shape)
    data = data_module(config, config.dataset, splits)
    base = load_base(config, train)
    if base.shape is not None and base.shape != data.shape:
        splits = splits_to_shape(splits, base.shape)
        data = data_module(config, config.dataset, splits)
    model = make_model(config, data.shape, len(data.classes))
    head_kept = load_into(model, base, data.classes, getattr(config.base, "head", "new"))
    if base.weights and not head_kept and config.adapter.get("head") != "train":
        warnings.warn(
            f"the head is new, and adapter.head={config.adapter.get('head')} leaves its random "
            "weights as they are; base.head=keep keeps the base's",
            stacklevel=2,
        )
    if config.hardware.precision == "64-true":
        model.double()
    adapted = make_strategy(config).apply(model, seed=stream(config.init_seed, "adapter"))
    return Assembly(data, base, adapted, head_kept, _notes(config, splits, base))


def _notes(config: Config, splits: ImageSplits, base: BaseWeights) -> tuple[str, ...]:
    """Return what a reader of the figures should know about the data, each thing once."""
    notes = list(splits.notes)
    own, shape = config.dataset.shape, list(splits.train.shape)
    if own is not None and own != shape:
        notes.append(f"images are brought from {own} to the base's {shape}")
    if config.limit is not None:
        notes.append(f"limited to {config.limit} examples of each split")
    return tuple(dict.fromkeys((*notes, *base.notes)))


def plan_from_files(config: Config) -> Plan:
    """Return what a run would train, for a data set whose shape or classes are in its files."""
    splits = load_splits(config, config.dataset, declared_shape(config))
    return plan_for(config, make_strategy(config), splits.train.shape, len(splits.classes))


def data_module(config: Config, dataset: Dataset, splits: ImageSplits) -> ImageDataModule:
    """Cut the validation split and make batches of a data set."""
    train, validation = hold_out(splits, dataset.validation, dataset.validation_seed)
    test = splits.test
    if config.limit is not None:
        train, validation, test = (
            limited(split, config.limit, seed=0) for split in (train, validation, test)
        )
    return ImageDataModule(
        train=train,
        validation=validation,
        test=test,
        classes=splits.classes,
        mean=dataset.mean,
        std=dataset.std,
        batch_size=config.batch_size,
        order_seed=config.order_seed,
        crop=dataset.crop,
        flip=dataset.flip,
        workers=config.hardware.workers,
        pin_memory=resolve_accelerator(config.hardware.accelerator) == "gpu",
    )


def source_model(config: Config, assembly: Assembly) -> nn.Module:
    """Return the adapted model as a classifier of the source task.

    If the base's head was kept there is one head, and the model is as it is. If a new head was
    drawn, the base's own is put back on the adapted body: what is measured is how far the
    features still serve the old task.
    """
    if assembly.head_kept:
        return assembly.adapted
    base = assembly.base
    assert base.classes is not None
    body = merge(assembly.adapted)
    original = make_model(config, assembly.data.shape, len(base.classes))
    original.load_state_dict(base.weights)
    for name in adaptable(original).head_modules:
        replace_module(body, name, original.get_submodule(name))
    return body.to(next(assembly.adapted.parameters()).dtype)


def source_data(config: Config, assembly: Assembly) -> ImageDataModule:
    """Return the source task's data in the shape that the model takes."""
    dataset = assembly.base.dataset
    assert dataset is not None
    splits = load_splits(config, dataset, assembly.data.shape)
    return data_module(config, dataset, splits)
