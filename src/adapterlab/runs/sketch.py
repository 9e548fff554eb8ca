"""A run's model and strategy from their options; and both together without data or weights."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import nn

from adapterlab.adapters import AdaptedModel, AdapterLayer, Strategy
from adapterlab.adapters.budget import Fitted, fit
from adapterlab.base.errors import ConfigError
from adapterlab.base.memory_limits import fitting
from adapterlab.base.seeding import stream
from adapterlab.config.schema import CheckpointBase, Config, PretrainedBase, TextDataset
from adapterlab.config.targets import prepared, takes
from adapterlab.models.protocol import adaptable
from adapterlab.runs.data import RunData, Shape, as_shape, shape_of
from adapterlab.runs.memory import sizes_in
from adapterlab.runs.task_outputs import named_outputs

_Made = TypeVar("_Made")

_of_sweep: ContextVar[dict[str, Any] | None] = ContextVar("of_sweep", default=None)


@contextmanager
def sketched_once() -> Iterator[None]:
    """Within, sketch runs that differ in rates or seeds once, and fit them to a budget once.

    A sweep is planned within it: a transformer takes a tenth of a second to be sketched, and is
    sketched a dozen times to find the rank for a budget. Not for longer than a command, between two
    of which the user's own model may change.
    """
    known = _of_sweep.get()
    token = _of_sweep.set({} if known is None else known)
    try:
        yield
    finally:
        _of_sweep.reset(token)


def sketch(config: Config, read: RunData | None) -> AdaptedModel:
    """Return a run's adapted model on the meta device; it is not to be changed.

    Args:
        config: of the run.
        read: its data, where only their files tell shape or classes.

    Raises:
        ConfigError: a target matches no layer, or texts may be longer than the model takes.
    """
    shape, classes = _shape_and_classes(config, read)

    def make() -> AdaptedModel:
        model = bare(config, shape, classes)
        with fitting(sizes_in(config.adapter, "adapter")):
            adapted = _adapted(make_strategy(config), model)
        taken = sum(m.places for m in adapted.modules() if isinstance(m, AdapterLayer))
        if taken:
            _require_room_for_texts(config, model, taken)
        return adapted

    return _once("sketch", config, shape, classes, make)


def fit_to_budget(config: Config, read: RunData | None) -> Fitted:
    """Return a run's strategy, with what its budget leaves open solved.

    Args:
        config: of a run with a budget.
        read: its data, where only their files tell shape or classes.

    Raises:
        ConfigError: a target matches no layer, texts may be longer than the model takes, or
            other options fix what the strategy trains.
    """
    budget = config.budget
    assert budget is not None
    shape, classes = _shape_and_classes(config, read)

    def make() -> Fitted:
        return fit(make_strategy(config), bare(config, shape, classes), budget)

    return _once(f"fit {budget}", config, shape, classes, make)


def _once(
    what: str, config: Config, shape: Shape | None, classes: int, make: Callable[[], _Made]
) -> _Made:
    """Return what is made of a model and a strategy; in a sweep, what was made of the same."""
    known = _of_sweep.get()
    if known is None:
        return make()
    lengths = [dataset.max_length for _, dataset in _text_datasets(config)]
    pretrained = isinstance(config.base, PretrainedBase)
    trusted = list(config.allow_targets)
    key = json.dumps(
        [what, config.model, config.adapter, pretrained, shape, classes, lengths, trusted],
        sort_keys=True,
        default=str,
    )
    if key not in known:
        known[key] = make()
    made: _Made = known[key]
    return made


def bare(config: Config, shape: Shape | None, num_classes: int) -> nn.Module:
    """Return a run's model on the meta device, not adapted.

    Raises:
        ConfigError: an option of the model is wrong, or texts may be longer than it takes.
    """
    with fitting(_asked(config, shape)), torch.device("meta"):
        model = make_model(config, shape, num_classes)
    _require_room_for_texts(config, model)
    return model


def make_strategy(config: Config) -> Strategy:
    """Return the strategy that a config names.

    Raises:
        ConfigError: an option is unknown, of the wrong type, or outside its domain.
    """
    strategy: Strategy = prepared(config.adapter, "adapter", allow=config.allow_targets)()
    return strategy


def make_model(config: Config, shape: Shape | None, num_classes: int) -> nn.Module:
    """Return the model that a config names, drawn from its init seed.

    Args:
        config: of the run.
        shape: (channels, height, width) of its inputs; None for texts.
        num_classes: outputs of its head.

    Raises:
        ConfigError: an option is unknown, of the wrong type, or outside its domain.
    """
    supplied = {
        "num_classes": num_classes,
        "generator": torch.Generator("cpu").manual_seed(stream(config.init_seed, "model")),
    }
    if shape is not None:
        supplied["input_shape"] = shape
    if comes_with_weights(config):
        pretrained = isinstance(config.base, PretrainedBase)
        supplied["weights"] = "pretrained" if pretrained else "random"
    allow = config.allow_targets
    make = prepared(config.model, "model", supplied=tuple(supplied), allow=allow)
    model: nn.Module = make(**supplied)
    return model


def comes_with_weights(config: Config) -> bool:
    """Say whether the model has pretrained weights of its own."""
    return "weights" in takes(config.model, "model", config.allow_targets)


def says_its_shape(config: Config) -> bool:
    """Say whether the model's shape and classes are known without reading data."""
    shape_is_known = config.dataset.kind == "text" or declared_shape(config) is not None
    return shape_is_known and named_outputs(config) is not None


def model_shape(config: Config, read: RunData | None) -> Shape | None:
    """Return the model's (channels, height, width), from its data where only they tell it."""
    shape = declared_shape(config)
    if shape is None and read is not None:
        shape = (read.of_source or read).shape
    return shape


def declared_shape(config: Config) -> Shape | None:
    """Return the model's (channels, height, width), as far as the configuration tells it."""
    if config.source is not None:
        return shape_of(config.source)
    if isinstance(config.base, CheckpointBase) and config.base.shape is not None:
        return as_shape(config.base.shape)
    return shape_of(config.dataset)


def _shape_and_classes(config: Config, read: RunData | None) -> tuple[Shape | None, int]:
    shape = model_shape(config, read)
    classes = named_outputs(config) or (read.target.classes if read else ("", ""))
    return shape, len(classes)


def _require_room_for_texts(config: Config, model: nn.Module, taken: int = 0) -> None:
    """Refuse texts that may be longer than the model takes, beside places that an adapter takes."""
    limit = adaptable(model).max_tokens
    for where, dataset in _text_datasets(config):
        if limit is not None and dataset.max_length + taken > limit:
            beside = f" beside the {taken} places that the adapter takes" if taken else ""
            raise ConfigError(
                f"{where}.max_length={dataset.max_length}: model={config.model['name']} takes at "
                f"most {limit - taken} tokens{beside}"
            )


def _text_datasets(config: Config) -> list[tuple[str, TextDataset]]:
    named = [("dataset", config.dataset), ("base.dataset", config.source)]
    return [(where, d) for where, d in named if isinstance(d, TextDataset)]


def _asked(config: Config, shape: Shape | None) -> str:
    """Return the options that a model's size hangs on."""
    sizes = sizes_in(config.model, "model")
    return sizes if shape is None else f"{sizes}, images of {list(shape)}"


def _adapted(strategy: Strategy, model: nn.Module) -> AdaptedModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are for the run itself
        return strategy.apply(model)
