"""Model and strategy from their options, and a check of both without data or weights."""

import json
import warnings
from collections.abc import Sequence

import torch
from torch import nn

from adapterlab.adapters import AdaptedModel, AdapterLayer, Continued, Plan, Strategy, plan
from adapterlab.adapters.budget import Fitted, fit
from adapterlab.adapters.plan import never_learning, refuse_idle
from adapterlab.adapters.roles import WIDE
from adapterlab.base.errors import ConfigError
from adapterlab.base.memory_limits import fitting
from adapterlab.base.seeding import stream
from adapterlab.config.parsing import optimizers
from adapterlab.config.schema import (
    CheckpointBase,
    Config,
    Dataset,
    PeftBase,
    PretrainedBase,
    TextDataset,
    TrainedBase,
)
from adapterlab.config.targets import prepared, takes
from adapterlab.models.protocol import adaptable
from adapterlab.runs.data import RunData, Shape, as_shape, prepared_loader, shape_of
from adapterlab.runs.memory import (
    require_crop,
    require_room_for_batch,
    require_room_for_weights,
    rows_of_batch,
    sizes_in,
)
from adapterlab.runs.peft_base import require_file, require_peft_base
from adapterlab.runs.task_outputs import named_outputs, require_task
from adapterlab.training.driver import require_whole_tensors
from adapterlab.training.hardware import require_sound
from adapterlab.training.losses import class_weights
from adapterlab.training.optimizers import require_optimizer, require_roles
from adapterlab.training.representable import require_representable
from adapterlab.training.selection import watched

_FEW_TOKENS = 4


def check(config: Config) -> Plan | None:
    """Apply the strategy to a model without weights, to find mistakes before data is touched.

    Returns:
        What would be trained; None if the data set's shape or classes are only in its files.

    Raises:
        ConfigError: an option of model, strategy or data set is wrong, a target matches no
            layer, the head does not fit the classes, or this machine has no room for it.
    """
    require_sound(config.hardware)
    require_representable(config)
    strategy = make_strategy(config)
    require_whole_tensors(config.hardware, strategy, config.adapter["name"])
    require_task(config, strategy.of_classes)
    if config.mlflow_model and not strategy.mergeable:
        raise ConfigError(
            f"mlflow_model=true: a run with adapter={config.adapter['name']} has no merged model, "
            "which an MLflow model is"
        )
    allow = config.allow_targets
    for where, optimizer in optimizers(config):
        require_optimizer(optimizer, where, None, allow)
        if where == "base.optimizer":  # a base is trained in full
            require_roles(optimizer, where, WIDE)
    prepared_loader(config.dataset, "dataset", allow)
    if "tokenizer" in config.model:
        prepared(config.model["tokenizer"], "model.tokenizer", perhaps=("texts",), allow=allow)
    if isinstance(config.base, PretrainedBase) and not comes_with_weights(config):
        raise ConfigError(
            f"base=pretrained: model={config.model['name']} comes without weights; "
            "allowed: trained, checkpoint, scratch"
        )
    if isinstance(config.base, PeftBase):
        require_peft_base(config, config.base, has_weights=comes_with_weights(config))
    elif isinstance(strategy, Continued):
        raise ConfigError(
            f"adapter=continued goes on from the adapter of base=peft, and base={config.base.kind}"
        )
    if keeps_own_head(config):
        require_own_head(config, tuple(config.dataset.classes or ()))
    if isinstance(config.base, CheckpointBase):
        require_file(config.base.path)
    if isinstance(config.base, TrainedBase) and (source := config.source) is not None:
        prepared_loader(source, "base.dataset", allow)
        classes = config.dataset.classes
        if config.base.head == "keep" and source.classes and classes:
            _require_same_count(source, config.dataset)
    if config.dataset.classes is not None:
        _require_weighed(config, config.dataset.classes)
    require_crop(config.dataset, shape_of(config.dataset), "dataset")
    shape, outputs = declared_shape(config), named_outputs(config)
    if shape is None and config.dataset.kind == "image":
        return None
    # Whether targets and lengths fit does not hang on how many classes there are.
    adapted = sketch(config, None)
    require_optimizer(config.optimizer, "optimizer", adapted, allow)
    require_room_for_weights(config, adapted)
    _require_learning(adapted)
    planned = plan(adapted)
    return None if outputs is None else planned


def _require_learning(adapted: AdaptedModel) -> None:
    """Refuse adapters that can never learn, as far as a model without weights can tell.

    Raises:
        ConfigError: there are such.
    """
    said = adaptable(adapted.model)
    if "input_ids" not in said.input_names:
        return
    layers = [n for n, m in adapted.model.named_modules() if isinstance(m, AdapterLayer)]
    key = json.dumps([said.architecture, layers], default=str)
    if key not in _idle:
        # Without a mask, which models look into.
        inputs = {"input_ids": torch.zeros(2, _FEW_TOKENS, dtype=torch.long, device="meta")}
        try:
            _idle[key] = never_learning(adapted, inputs)
        except Exception:  # it looks at numbers that are not there; the run itself tries it
            _idle[key] = ()
    refuse_idle(_idle[key])


_idle: dict[str, tuple[str, ...]] = {}
"""What has been found out: the configurations of a sweep share few models and targets."""


def check_with(config: Config, read: RunData) -> None:
    """Find what only the data show to be a mistake, before anything is trained.

    Args:
        config: of the run.
        read: its data.

    Raises:
        ConfigError: a crop is larger than the images, a class that is weighed does not exist, or
            this machine has no room for the model or its batches.
    """
    _require_weighed(config, read.target.classes)
    require_crop(config.dataset, read.shape, "dataset")
    if keeps_own_head(config):
        require_own_head(config, read.target.classes)
    batch = rows_of_batch(config, read.target.train)
    known = says_its_shape(config)
    if known and batch is None:
        return  # `check` has seen to it
    adapted = sketch(config, read)
    require_optimizer(config.optimizer, "optimizer", adapted, config.allow_targets)
    require_room_for_weights(config, adapted)
    if batch is not None:
        require_room_for_batch(config, adapted, *batch)


def _require_weighed(config: Config, classes: Sequence[str]) -> None:
    """Refuse weights of a class that there is not, and a choice by the F1 of one."""
    watched(config.select_on, classes)
    class_weights(config.loss.class_weights, torch.zeros(1, dtype=torch.long), classes)


def sketch(config: Config, read: RunData | None) -> AdaptedModel:
    """Return a run's adapted model on the meta device.

    Args:
        config: of the run.
        read: its data, where only their files tell shape or classes.

    Raises:
        ConfigError: a target matches no layer, or texts may be longer than the model takes.
    """
    model = bare(config, *_shape_and_classes(config, read))
    with fitting(sizes_in(config.adapter, "adapter")):
        adapted = _adapted(make_strategy(config), model)
    taken = sum(m.places for m in adapted.modules() if isinstance(m, AdapterLayer))
    if taken:
        _require_room_for_texts(config, model, taken)
    return adapted


def fit_to_budget(config: Config, read: RunData | None) -> Fitted:
    """Return a run's strategy, with what its budget leaves open solved.

    Args:
        config: of a run with a budget.
        read: its data, where only their files tell shape or classes.

    Raises:
        ConfigError: a target matches no layer, texts may be longer than the model takes, or
            other options fix what the strategy trains.
    """
    assert config.budget is not None
    model = bare(config, *_shape_and_classes(config, read))
    return fit(make_strategy(config), model, config.budget)


def says_its_shape(config: Config) -> bool:
    """Say whether the model's shape and classes are known without reading data."""
    shape_is_known = config.dataset.kind == "text" or declared_shape(config) is not None
    return shape_is_known and named_outputs(config) is not None


def _shape_and_classes(config: Config, read: RunData | None) -> tuple[Shape | None, int]:
    shape = model_shape(config, read)
    classes = named_outputs(config) or (read.target.classes if read else ("", ""))
    return shape, len(classes)


def bare(config: Config, shape: Shape | None, num_classes: int) -> nn.Module:
    """Return a run's model on the meta device, not adapted.

    Raises:
        ConfigError: an option of the model is wrong, or texts may be longer than it takes.
    """
    with fitting(_asked(config, shape)), torch.device("meta"):
        model = make_model(config, shape, num_classes)
    _require_room_for_texts(config, model)
    return model


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


def _asked(config: Config, shape: Shape | None) -> str:
    """Return the options that a model's size hangs on."""
    sizes = sizes_in(config.model, "model")
    return sizes if shape is None else f"{sizes}, images of {list(shape)}"


def _adapted(strategy: Strategy, model: nn.Module) -> AdaptedModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are for the run itself
        return strategy.apply(model)


def comes_with_weights(config: Config) -> bool:
    """Say whether the model has pretrained weights of its own."""
    return "weights" in takes(config.model, "model", config.allow_targets)


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


def keeps_own_head(config: Config) -> bool:
    """Say whether a run starts from the head that its pretrained model comes with."""
    return isinstance(config.base, PretrainedBase) and config.base.head == "keep"


def require_own_head(config: Config, classes: tuple[str, ...]) -> None:
    """Refuse a model without a head of its own, or one for other classes.

    Args:
        config: of a run that keeps it.
        classes: of the data set; empty where they are not known yet.

    Raises:
        ConfigError: it has none, or its classes are others by name.
    """
    path = config.model.get("name_or_path")
    if path is None:
        raise ConfigError(
            f"base.head=keep: model={config.model['name']} comes without a head; "
            "model=hf model.name_or_path=FOLDER names a classifier, such as export writes"
        )
    if classes:
        from adapterlab.models.own_head import require_own_classes  # loads transformers

        require_own_classes(path, classes, config.model.get("revision"))


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


def _text_datasets(config: Config) -> list[tuple[str, TextDataset]]:
    named = [("dataset", config.dataset), ("base.dataset", config.source)]
    return [(where, d) for where, d in named if isinstance(d, TextDataset)]


def _require_same_count(source: Dataset, target: Dataset) -> None:
    assert source.classes is not None
    assert target.classes is not None
    if len(source.classes) != len(target.classes):
        raise ConfigError(
            f"base.head=keep: {source.name} has {len(source.classes)} classes, {target.name} "
            f"{len(target.classes)}; allowed: new, auto"
        )
