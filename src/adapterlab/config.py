"""The typed schema of conf/: what Hydra composed, checked and turned into plain objects.

The schema loads no torch, so that a mistake is found in a moment. What a user can swap by
`_target_` (model, strategy, loader) is checked against the target's own signature, by `targets`.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from adapterlab.errors import ConfigError, allowed

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]
Shape = Annotated[list[Count], Field(min_length=3, max_length=3)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
Target = dict[str, Any]
"""A node with `_target_` and its arguments, a `name` for tags and maybe a `label` for names."""

BASES = "bases"
"""The study that runs which train a base model belong to."""

RESERVED_STUDIES = (BASES, "single")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Dataset:
    """A data set and how its images reach the model.

    Attributes:
        name: as in tables and tags.
        source: the data set that the base is trained on unless `base.source` says otherwise.
        source_epochs: epochs of that training, unless `base.epochs` says otherwise.
        loader: `_target_` of a function that returns the splits, and its arguments.
        shape: (channels, height, width); None takes it from the files.
        classes: class names in label order; None takes them from the files.
        mean, std: normalisation in units of [0, 1] pixels, one value or one a channel.
        crop: pixels of zero padding before a random crop back to size; 0 for none.
        flip: mirror half of the training images.
        validation: share of the training split held out, where there is no such split.
        validation_seed: seed of that cut, the same in every run.
    """

    name: FileName
    source: str | None
    source_epochs: Count
    loader: Target
    shape: Shape | None
    classes: Annotated[list[str], Field(min_length=2)] | None
    mean: Annotated[list[float], Field(min_length=1)]
    std: Annotated[list[Positive], Field(min_length=1)]
    crop: Annotated[int, Field(ge=0)]
    flip: bool
    validation: Annotated[float, Field(gt=0, lt=1)]
    validation_seed: Seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptimizerBase:
    """What all optimizers share.

    Attributes:
        lr: peak learning rate.
        weight_decay: L2 penalty (SGD, Adam) or decoupled decay (AdamW) of trained parameters.
        schedule: of the learning rate after the warm-up; `plateau` divides it by ten when the
            validation loss has not fallen for `plateau_patience` epochs.
        plateau_patience: epochs.
        warmup: share of all steps over which the rate rises linearly from zero.
        clip_norm: largest norm of the gradient; None leaves it alone.
    """

    lr: Positive
    weight_decay: NotNegative
    schedule: Literal["constant", "cosine", "linear", "plateau"]
    plateau_patience: Annotated[int, Field(ge=0)]
    warmup: Share
    clip_norm: Positive | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SGD(OptimizerBase):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    momentum: Share
    nesterov: bool


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Adam(OptimizerBase):
    """Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019)."""

    name: Literal["adam", "adamw"]
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)]
    eps: Positive


Optimizer = Annotated[SGD | Adam, Field(discriminator="name")]

Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["auto", "32-true", "64-true", "bf16-mixed", "16-mixed"]

HeadInit = Literal["auto", "keep", "new"]
"""Keep the base's classifier, draw a new one, or keep it when the classes are the same."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainedBase:
    """A base model trained here on a source data set, once for all runs that ask for it.

    Attributes:
        source: name of the source data set in conf/dataset.
        dataset: its configuration, looked up by that name.
        seed: of the base's own training; the runs of a study share one base.
    """

    kind: Literal["trained"]
    head: HeadInit
    source: str | None
    dataset: Dataset | None
    epochs: Count
    batch_size: Count
    optimizer: Optimizer
    seed: Seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CheckpointBase:
    """Base weights from a file: safetensors, or a state dict saved by torch.

    Attributes:
        path: the file; its names and shapes must be the model's.
        shape: the input shape that the weights were trained with; None takes the data set's.
        classes: class names of its head; None if they are not known.
    """

    kind: Literal["checkpoint"]
    head: HeadInit
    path: str
    shape: Shape | None
    classes: list[str] | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScratchBase:
    """No pretrained weights: the model as it was drawn from the init seed."""

    kind: Literal["scratch"]


Base = Annotated[TrainedBase | CheckpointBase | ScratchBase, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Hardware:
    """Where a run computes. A run uses one device; several runs can use several.

    Attributes:
        accelerator: `auto` takes a GPU when there is one.
        device: index of the GPU.
        precision: `auto` takes bfloat16 autocast where the GPU has it, else float32.
        workers: processes that cut batches; 0 is fastest for images in memory.
        threads: torch's threads on the CPU; None leaves torch's choice.
        compile: run the model through torch.compile; pays off on long trainings only.
    """

    accelerator: Accelerator
    device: Annotated[int, Field(ge=0)]
    precision: Precision
    workers: Annotated[int, Field(ge=0)]
    threads: Count | None
    compile: bool


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tracking:
    """Where a run is logged.

    Attributes:
        enabled: False logs to the run folder only.
        uri: MLflow tracking URI; None is the store under `root`/mlruns.
        experiment: MLflow experiment.
    """

    enabled: bool
    uri: str | None
    experiment: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """One run. See conf/train.yaml for what each option means."""

    dataset: Dataset
    model: Target
    adapter: Target
    base: Base
    optimizer: Optimizer
    hardware: Hardware
    tracking: Tracking
    epochs: Count
    batch_size: Count
    label_smoothing: Share
    select_on: Literal["accuracy", "macro_f1", "loss"]
    early_stopping: Count | None
    seed: Seed
    init_seed: Seed
    order_seed: Seed
    limit: Count | None
    fast_dev_run: bool
    study: FileName | None
    resume: bool
    plan: bool
    root: str
    data_dir: str | None

    @property
    def data_path(self) -> Path | None:
        """The folder with local copies of data sets."""
        return None if self.data_dir is None else Path(self.data_dir)

    @property
    def mlruns(self) -> Path:
        """The folder that everything is written under."""
        return Path(self.root) / "mlruns"


T = TypeVar("T")


def parse(cfg: DictConfig) -> Config:
    """Turn what Hydra composed into a checked `Config`, relative paths made absolute.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    config = from_container(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))
    if config.study in RESERVED_STUDIES:
        raise ConfigError(f"study={config.study} is taken: it names runs that are in no study")
    base = config.base
    if isinstance(base, CheckpointBase):
        base = replace(base, path=_absolute(base.path))
    return replace(
        config,
        base=base,
        root=_absolute(config.root),
        data_dir=config.data_dir and _absolute(config.data_dir),
    )


def from_container(values: Any) -> Config:
    """Check plain values, as read from a run's config.yaml, and return them as a `Config`.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    config = checked(TypeAdapter(Config), values)
    for where, node in (("model", config.model), ("adapter", config.adapter)):
        _require_target(where, node)
    _require_target("dataset.loader", {"name": config.dataset.name, **config.dataset.loader})
    for where, optimizer in _optimizers(config):
        if optimizer.schedule == "plateau" and optimizer.warmup > 0:
            raise ConfigError(
                f"{where}.warmup={optimizer.warmup:g} does not go with schedule=plateau; "
                f"set {where}.warmup=0 or schedule=constant, cosine or linear"
            )
        if isinstance(optimizer, SGD) and optimizer.nesterov and optimizer.momentum == 0:
            raise ConfigError(f"{where}.nesterov=true needs momentum; set {where}.momentum above 0")
    if isinstance(config.base, TrainedBase) and config.base.dataset is None:
        raise ConfigError(
            f"data set {config.dataset.name} names no source for its base: "
            "set base.source=NAME (a data set), base=checkpoint base.path=FILE, or base=scratch"
        )
    config = _with_one_validation_split(config)
    return _shortened(config) if config.fast_dev_run else config


def to_container(config: Config) -> dict[str, Any]:
    """Return a config as plain values, the inverse of `from_container`."""
    values: dict[str, Any] = TypeAdapter(Config).dump_python(config, mode="json")
    return values


def source_dataset(conf: Path, name: str | None) -> Any:
    """Return the data set `name` of conf/dataset: the resolver behind `base.source`.

    Raises:
        ConfigError: there is none of that name.
    """
    if name is None:
        return None
    path = conf / "dataset" / f"{name}.yaml"
    if not path.is_file():
        names = sorted(p.stem for p in (conf / "dataset").glob("*.yaml"))
        raise ConfigError(f"base.source={name} is no data set; {allowed(name, names)}")
    dataset = OmegaConf.load(path)
    if missing := sorted(OmegaConf.missing_keys(dataset)):
        raise ConfigError(
            f"base.source={name} leaves {missing[0]} open: copy {path.name} to "
            "conf/dataset/NAME.yaml, fill it in there, and set base.source=NAME"
        )
    return dataset


def checked(adapter: TypeAdapter[T], values: Any, where: str = "") -> T:
    """Validate `values`, and say the first mistake in one line.

    Raises:
        ConfigError: a value has the wrong type or lies outside its domain.
    """
    try:
        # Read as JSON: strict about types, and still builds dataclasses out of mappings.
        return adapter.validate_json(json.dumps(values))
    except ValidationError as error:
        raise ConfigError(describe(error, values, where)) from None


def describe(error: ValidationError, values: Any, where: str = "") -> str:
    """Say the first mistake of a validation in one line: option, value, what is allowed.

    Args:
        error: what pydantic found.
        values: what it was looking at.
        where: the place of `values` in the config.
    """
    first = error.errors(include_url=False)[0]
    path, siblings = _located(first["loc"], values)
    option = ".".join([where, *path] if where else path)
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    match first["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{option} is not an option; {allowed(path[-1], siblings)}"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            missing = str(first["loc"][-1])
            return f"{option}.{missing} is missing" if option else f"{missing} is missing"
        case "union_tag_invalid":
            details = first["ctx"]
            kind = details["discriminator"].strip("'")
            return f"{option}.{kind}={details['tag']!r} should be {details['expected_tags']}"
        case "string_pattern_mismatch":
            return (
                f"{option}={_short(first['input'])} names files: letters, digits, '.', '_' and "
                "'-' are allowed, the first a letter, digit or '_'"
            )
        case _:
            # "List should have at least 2 items": of the value, not of a type.
            _, verb, rest = message.partition(" should ")
            rest = rest if verb else f"be {message}"
            return f"{option}={_short(first['input'])} should {rest}"


def _located(loc: tuple[int | str, ...], values: Any) -> tuple[list[str], list[str]]:
    """Return an option's path, and the names of the options beside it.

    Pydantic's path also names the members of unions ("sgd", "str"), which are no options.
    """
    path: list[str] = []
    siblings: list[str] = []
    for part in loc:
        if isinstance(values, Mapping) and part in values:
            siblings = [str(name) for name in values if name not in (part, "_target_")]
        elif not (isinstance(values, list) and isinstance(part, int) and part < len(values)):
            continue
        path.append(str(part))
        values = values[part]
    return path, siblings


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _require_target(where: str, node: Mapping[str, Any]) -> None:
    for key in ("name", "_target_"):
        if not isinstance(node.get(key), str):
            raise ConfigError(f"{where}.{key} is missing: every {where} names itself and its class")
    for key in ("name", "label"):  # they name folders
        if key in node:
            checked(TypeAdapter(FileName), node[key], f"{where}.{key}")


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _with_one_validation_split(config: Config) -> Config:
    """Hold out the same rows from base and target where both come from the same files.

    Otherwise the base would have been trained on what the target's selection is made on.
    """
    base, target = config.base, config.dataset
    if not isinstance(base, TrainedBase) or base.dataset is None:
        return config
    if base.dataset.loader["_target_"] != target.loader["_target_"]:
        return config
    source = replace(
        base.dataset, validation=target.validation, validation_seed=target.validation_seed
    )
    return replace(config, base=replace(base, dataset=source))


def _optimizers(config: Config) -> list[tuple[str, SGD | Adam]]:
    optimizers: list[tuple[str, SGD | Adam]] = [("optimizer", config.optimizer)]
    if isinstance(config.base, TrainedBase):
        optimizers.append(("base.optimizer", config.base.optimizer))
    return optimizers


def _shortened(config: Config) -> Config:
    """Cut a run down to one epoch of two batches, the base's training as well."""
    base = config.base
    if isinstance(base, TrainedBase):
        base = replace(base, epochs=1)
    return replace(config, base=base, epochs=1, limit=2 * config.batch_size)
