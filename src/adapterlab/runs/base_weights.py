"""How the base model gets its weights: trained here on a source data set, a file, or none.

A base that is trained here is a run like any other (strategy `full`, from scratch, on the source
data set), kept in its own folder and found again by the hash of its configuration. A sweep trains
it once; a process that wants the base that another is training waits for it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from adapterlab.adapters import Continued, read_extra
from adapterlab.adapters.weights import further_names
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import CheckpointError, ConfigError, first_line
from adapterlab.base.reading import read_checkpoint
from adapterlab.config.class_names import listed
from adapterlab.config.losses import Loss
from adapterlab.config.ranks import Ranks
from adapterlab.config.schema import (
    BASES,
    Base,
    CheckpointBase,
    Config,
    Dataset,
    HeadInit,
    PeftBase,
    PretrainedBase,
    ScratchBase,
    TrainedBase,
)
from adapterlab.data.targets import Scale
from adapterlab.models.protocol import adaptable
from adapterlab.runs.check import keeps_own_head, require_own_head, require_same_order
from adapterlab.runs.data import RunData, Shape, as_shape
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.identity import run_name
from adapterlab.runs.kept_beside import scale_of
from adapterlab.runs.peft_base import require_file, says_own_unit, weights_under
from adapterlab.runs.sketch import comes_with_weights, make_model, make_strategy

Train = Callable[[Config, RunData], RunResult]
"""Carries out a run on data that has been read."""


@dataclass(frozen=True)
class BaseWeights:
    """Weights to start from, and what they were trained for.

    Attributes:
        origin: where they come from, for people.
        pretrained: whether there has been a training before, here or elsewhere.
        weights: state dict of the model with its original head; empty from scratch, and where the
            model comes with its own weights.
        shape: input shape they were trained with; None if the file does not say.
        classes: class names of the original head; None if they are not known.
        dataset: the source data set; None if there is none to test on.
        accuracy: on the source task's test split.
        notes: about the source data.
        run_id: MLflow run of its training.
        vocabulary: hash of the tokenizer they were trained with; None if it is not known.
        as_it_is: what is measured before the training, where it is not `weights`: with an adapter
            in them that is trained further.
        scale: in which the head says numbers; the usual one is their own unit.
    """

    origin: str
    pretrained: bool = True
    weights: dict[str, Tensor] = field(default_factory=dict)
    shape: Shape | None = None
    classes: tuple[str, ...] | None = None
    dataset: Dataset | None = None
    accuracy: float | None = None
    notes: tuple[str, ...] = ()
    run_id: str | None = None
    vocabulary: str | None = None
    as_it_is: dict[str, Tensor] | None = None
    scale: Scale = field(default_factory=Scale)


def base_run(config: Config) -> Config | None:
    """Return the run that trains the base of `config`; None if its base is not trained here."""
    base = config.base
    if not isinstance(base, TrainedBase) or base.dataset is None:
        return None
    start: Base = ScratchBase(kind="scratch")
    if comes_with_weights(config):
        start = PretrainedBase(kind="pretrained")
    return replace(
        config,
        dataset=base.dataset,
        adapter={"name": "full", "_target_": "adapterlab.adapters.Full", "head": "train"},
        base=start,
        optimizer=base.optimizer,
        epochs=base.epochs,
        batch_size=base.batch_size,
        label_smoothing=0.0,
        accumulate=1,
        loss=Loss(),
        sampling="natural",
        task="single_label",
        select_on="accuracy",
        early_stopping=None,
        seed=base.seed,
        init_seed=base.seed,
        order_seed=base.seed,
        study=BASES,
        fast_dev_run=False,  # it has been shortened already
        resume=True,
        budget=None,
        tuning=None,
        trial_pruner=None,
        ranks=Ranks(),
        pruned=None,
    )


def load_base(config: Config, data: RunData, train: Train) -> BaseWeights:
    """Return the base weights that a run starts from, training them where they are missing.

    Args:
        config: of the run that wants them.
        data: of that run.
        train: called with the base's own run.

    Raises:
        CheckpointError: the file of `base=checkpoint` is missing or damaged.
    """
    if isinstance(config.base, CheckpointBase):
        found = from_file(config.base, data.target.classes)
        return replace(found, scale=_scale_of_file(config, config.base))
    if isinstance(config.base, PretrainedBase):
        return _that_comes_with(config, data)
    if isinstance(config.base, PeftBase):
        return _under_peft(config, config.base, data)
    run = base_run(config)
    if run is None:
        return BaseWeights("random weights", pretrained=False)
    read = data.of_source
    assert read is not None
    result = train(run, read)
    adapter, start = result.folder / "adapter.safetensors", f"{run_name(run)}-"
    return BaseWeights(
        origin=f"trained on {run.dataset.name} ({result.folder.name.removeprefix(start)})",
        weights=load_file(adapter),
        shape=as_shape(list(result.shape) or None),
        classes=result.classes,
        dataset=run.dataset,
        accuracy=result.metrics["test/accuracy"],
        notes=result.notes,
        run_id=result.run_id,
        vocabulary=read_extra(adapter).get("vocabulary"),
    )


def _that_comes_with(config: Config, data: RunData) -> BaseWeights:
    """Return the weights that a model comes with: by its loader, or here, with its own head."""
    origin = f"pretrained ({config.model.get('name_or_path', config.model['name'])})"
    if not keeps_own_head(config):
        return BaseWeights(origin)
    from adapterlab.models.own_head import load_own_head  # loads transformers

    classes = data.target.classes
    require_own_head(config, classes)
    model = make_model(config, data.shape, len(classes))
    load_own_head(model, config.model["name_or_path"], config.model.get("revision"))
    return BaseWeights(f"{origin}, with its head", weights=model.state_dict(), classes=classes)


def _scale_of_file(config: Config, base: CheckpointBase) -> Scale:
    """Return the scale in which the head of a file says numbers, where it is kept for some.

    Raises:
        ConfigError: the file is of a run that has not kept it.
    """
    if config.task != "regression" or base.head != "keep":
        return Scale()
    path = Path(base.path).expanduser()
    found = scale_of(path)
    if found is None and read_extra(path):
        raise ConfigError(
            f"base.head=keep: {base.path} does not say in which scale its head learnt numbers, as "
            "the files of older runs; the model that export writes says them in their own unit"
        )
    return found or Scale()


def _under_peft(config: Config, base: PeftBase, data: RunData) -> BaseWeights:
    """Return the weights that a model comes with, with an adapter merged into them.

    Raises:
        ConfigError: its head is kept, and nothing says in which scale that learnt numbers.
    """
    own = replace(config, base=PretrainedBase(kind="pretrained"))
    goes_on = isinstance(make_strategy(config), Continued)
    found = weights_under(
        base,
        data.target.classes,
        lambda count: make_model(own, data.shape, count),
        without=goes_on,
    )
    name = config.model.get("name_or_path", config.model["name"])
    numbers = config.task == "regression" and base.head != "new" and found.classes is not None
    if numbers and not says_own_unit(Path(base.path)):
        raise ConfigError(
            f"base.head={base.head}: {base.path} does not say in which scale its head learnt "
            "numbers, as the adapters of older runs; allowed: new"
        )
    return BaseWeights(
        f"pretrained ({name}) under {Path(base.path).name}",
        weights=found.merged if found.without is None else found.without,
        classes=found.classes,
        as_it_is=None if found.without is None else found.merged,
    )


def load_into(
    model: nn.Module, base: BaseWeights, classes: tuple[str, ...], head: HeadInit
) -> bool:
    """Load base weights into a model for `classes`; say whether it kept the base's head.

    Raises:
        ConfigError: the head should be kept and its classes are of another number.
        CheckpointError: the weights are not this model's.
    """
    if not base.weights:
        return False
    heads = adaptable(model).head_modules
    kept = keeps_head(base, classes, head)
    own = model.state_dict()
    wanted = {name for name in own if kept or not within(name, heads)}
    wanted -= further_names(model) - base.weights.keys()  # a run's file has what is tied once
    if kept and base.classes is None:
        _require_same_outputs(own, base, heads)
    lacking = sorted(wanted - base.weights.keys())
    unknown = sorted(base.weights.keys() - own.keys())
    if lacking or unknown:
        what = f"{lacking[0]} is not in them" if lacking else f"the model has no {unknown[0]}"
        raise CheckpointError(
            f"base weights ({base.origin}) are not this model's: {what}; a base is a whole model, "
            "such as adapter.safetensors of a run with adapter=full"
        )
    for name in sorted(wanted):
        if own[name].shape != base.weights[name].shape:
            raise CheckpointError(
                f"base weights ({base.origin}) are not this model's: {name} is "
                f"{list(base.weights[name].shape)} there and {list(own[name].shape)} here"
            )
    model.load_state_dict({name: base.weights[name] for name in wanted}, strict=False)
    return kept


def keeps_head(base: BaseWeights, classes: tuple[str, ...], head: HeadInit) -> bool:
    """Say whether a model for `classes` keeps the head of its base.

    Raises:
        ConfigError: `head` is ``keep`` and the base's head is for another number of classes, or for
            the same ones in another order.
    """
    if not base.weights or head == "new":
        return False
    if head == "auto":
        return base.classes == classes
    if base.classes is not None and len(base.classes) != len(classes):
        raise ConfigError(
            f"base.head=keep: the base's head has {len(base.classes)} classes, the data set "
            f"{len(classes)}; allowed: new, auto"
        )
    if base.classes is not None:
        require_same_order(base.classes, classes)
    return True


def _require_same_outputs(
    own: dict[str, Tensor], base: BaseWeights, heads: tuple[str, ...]
) -> None:
    for name, tensor in own.items():
        there = base.weights.get(name)
        if within(name, heads) and there is not None and there.shape != tensor.shape:
            raise ConfigError(
                f"base.head=keep: the base's {name} is {list(there.shape)}, the data set's "
                f"classes need {list(tensor.shape)}; allowed: new, auto"
            )


def from_file(base: CheckpointBase, wanted: tuple[str, ...] | None = None) -> BaseWeights:
    """Return the weights of a file.

    Args:
        base: says which.
        wanted: the data set's classes, as far as they are known.

    Raises:
        CheckpointError: it is missing or damaged.
        ConfigError: it is of a run, or its exported model, whose head, which should be kept, is for
            others.
    """
    path = Path(base.path).expanduser()
    require_file(base.path)
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = _state_dict(read_checkpoint(path))
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"base.path={base.path} cannot be read: {first_line(error)}"
        ) from None
    if base.head == "keep" and base.classes is None and wanted:
        _require_exported_classes(path, wanted)
    return BaseWeights(
        origin=path.name,
        weights=weights,
        shape=as_shape(base.shape),
        classes=None if base.classes is None else tuple(base.classes),
        vocabulary=read_extra(path).get("vocabulary"),
    )


def _require_exported_classes(path: Path, wanted: tuple[str, ...]) -> None:
    """Refuse the head of a run, or of its exported model, whose classes are others by name."""
    try:
        said = read_extra(path).get("classes")
        if said is None:
            said = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["classes"]
        own = tuple(str(name) for name in said)
    except (OSError, ValueError, LookupError, TypeError):
        return  # it is none
    if own != wanted:
        raise ConfigError(
            f"base.head=keep: the head of {path} tells apart {listed(own)}, and the data set "
            f"{listed(wanted)}; they should agree by name and in their order"
        )


def _state_dict(saved: Any) -> dict[str, Tensor]:
    inner = saved.get("state_dict", saved) if isinstance(saved, dict) else saved
    if not isinstance(inner, dict) or not all(isinstance(t, Tensor) for t in inner.values()):
        raise ValueError("it holds no state dict of tensors")
    return inner
