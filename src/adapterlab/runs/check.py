"""A check of a run without data or weights, and of what only its data show."""

import json
from collections.abc import Sequence

import torch

from adapterlab.adapters import AdaptedModel, AdapterLayer, Continued, Plan, plan
from adapterlab.adapters.plan import never_learning, refuse_idle
from adapterlab.adapters.roles import OF_ANY_MODEL, WIDE
from adapterlab.base.errors import ConfigError
from adapterlab.config.bookkeeping import LONGEST_NAME
from adapterlab.config.class_names import listed
from adapterlab.config.parsing import optimizers
from adapterlab.config.schema import (
    CheckpointBase,
    Config,
    Dataset,
    PeftBase,
    PretrainedBase,
    TrainedBase,
)
from adapterlab.config.targets import prepared
from adapterlab.models.protocol import adaptable
from adapterlab.runs.data import RunData, prepared_loader, shape_of
from adapterlab.runs.identity import run_name
from adapterlab.runs.memory import (
    require_crop,
    require_room_for_batch,
    require_room_for_weights,
    rows_of_batch,
)
from adapterlab.runs.peft_base import require_file, require_peft_base
from adapterlab.runs.sketch import (
    comes_with_weights,
    declared_shape,
    make_strategy,
    says_its_shape,
    sketch,
)
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
    if len(name := run_name(config)) > LONGEST_NAME:
        raise ConfigError(
            f"the run would be called {name[:60]}..., which is {len(name)} characters, and a "
            f"folder's name may have {LONGEST_NAME}: shorten dataset.name, model.label or "
            "adapter.label"
        )
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
            require_roles(optimizer, where, (*WIDE, *OF_ANY_MODEL))
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
            require_same_order(source.classes, classes)
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


def require_same_order(of_head: Sequence[str], classes: Sequence[str]) -> None:
    """Refuse to keep a head that tells the very same classes apart in another order.

    Of other classes, that may be meant: its outputs are learnt anew from where they are.

    Raises:
        ConfigError: it does.
    """
    if list(of_head) != list(classes) and sorted(of_head) == sorted(classes):
        raise ConfigError(
            f"base.head=keep: the base's head tells apart {listed(of_head)}, and the data set the "
            f"same in another order, {listed(classes)}; dataset.classes puts them into the head's, "
            "base.head=new draws another"
        )


def _require_same_count(source: Dataset, target: Dataset) -> None:
    assert source.classes is not None
    assert target.classes is not None
    if len(source.classes) != len(target.classes):
        raise ConfigError(
            f"base.head=keep: {source.name} has {len(source.classes)} classes, {target.name} "
            f"{len(target.classes)}; allowed: new, auto"
        )
