"""Model and strategy from their options, and a check of both without data or weights."""

import warnings
from pathlib import Path

import torch
from torch import nn

from adapterlab.adapters import Plan, Strategy, plan
from adapterlab.config import CheckpointBase, Config, Dataset, TrainedBase
from adapterlab.errors import CheckpointError, ConfigError
from adapterlab.instantiate import prepared
from adapterlab.seeding import stream

Shape = tuple[int, int, int]


def check(config: Config) -> Plan | None:
    """Apply the strategy to a model without weights, to find mistakes before data is touched.

    Returns:
        What would be trained; None if the data set's shape or classes are only in its files.

    Raises:
        ConfigError: an option of model, strategy or data set is wrong, a target matches no
            layer, or the head does not fit the classes.
    """
    strategy = make_strategy(config)
    prepared(config.dataset.loader, "dataset.loader", supplied=("context",))
    if isinstance(config.base, CheckpointBase) and not Path(config.base.path).is_file():
        raise CheckpointError(f"base.path={config.base.path}: no such file")
    if isinstance(config.base, TrainedBase) and config.base.dataset is not None:
        source = config.base.dataset
        prepared(source.loader, "base.dataset.loader", supplied=("context",))
        classes = config.dataset.classes
        if config.base.head == "keep" and source.classes and classes:
            _require_same_count(source, config.dataset)
    shape = declared_shape(config)
    if shape is None or config.dataset.classes is None:
        return None
    return plan_for(config, strategy, shape, len(config.dataset.classes))


def plan_for(config: Config, strategy: Strategy, shape: Shape, num_classes: int) -> Plan:
    """Return what a strategy would train, from a model without weights."""
    with torch.device("meta"):
        model = make_model(config, shape, num_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are for the run itself
        return plan(strategy.apply(model))


def make_strategy(config: Config) -> Strategy:
    """Return the strategy that a config names.

    Raises:
        ConfigError: an option is unknown, of the wrong type, or outside its domain.
    """
    strategy: Strategy = prepared(config.adapter, "adapter")()
    return strategy


def make_model(config: Config, shape: Shape, num_classes: int) -> nn.Module:
    """Return the model that a config names, drawn from its init seed.

    Raises:
        ConfigError: an option is unknown, of the wrong type, or outside its domain.
    """
    make = prepared(config.model, "model", supplied=("input_shape", "num_classes", "generator"))
    generator = torch.Generator("cpu").manual_seed(stream(config.init_seed, "model"))
    model: nn.Module = make(input_shape=shape, num_classes=num_classes, generator=generator)
    return model


def declared_shape(config: Config) -> Shape | None:
    """Return the model's (channels, height, width), as far as the configuration tells it."""
    shape = config.dataset.shape
    if isinstance(config.base, TrainedBase) and config.base.dataset is not None:
        shape = config.base.dataset.shape
    if isinstance(config.base, CheckpointBase) and config.base.shape is not None:
        shape = config.base.shape
    if shape is None:
        return None
    channels, height, width = shape
    return channels, height, width


def _require_same_count(source: Dataset, target: Dataset) -> None:
    assert source.classes is not None
    assert target.classes is not None
    if len(source.classes) != len(target.classes):
        raise ConfigError(
            f"base.head=keep: {source.name} has {len(source.classes)} classes, {target.name} "
            f"{len(target.classes)}; allowed: new, auto"
        )
