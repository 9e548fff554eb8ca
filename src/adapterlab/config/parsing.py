"""What Hydra composed, as a checked `Config`; and what a field's own type cannot say."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.base.redaction import remember
from adapterlab.config.bookkeeping import FileName, Target
from adapterlab.config.multirun import derived_study
from adapterlab.config.optimizers import Optimizer, gathered, require_consistent, spread, target_of
from adapterlab.config.overrides import Given, given_now, told
from adapterlab.config.own_data import settled
from adapterlab.config.schema import (
    RESERVED_STUDIES,
    CheckpointBase,
    Config,
    PeftBase,
    SplitName,
    TrainedBase,
)
from adapterlab.config.task_options import settled_task
from adapterlab.config.validation import checked

EXAMPLES = {"image": ("fashion_mnist", "mlp"), "text": ("emotion", "minilm")}
"""A data set and a model for either kind of input."""


def parse(cfg: DictConfig) -> Config:
    """Turn what Hydra composed into a checked `Config`, relative paths made absolute.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    return parse_values(values, given_now())


def parse_values(values: Any, given: Given | None) -> Config:
    """Turn the plain values of a job, resolved, into a checked `Config`.

    Args:
        values: of all that is not Hydra's.
        given: to the job.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    config = from_container(_with_own_data_settled(values))
    remember(config.tracking.uri)
    if config.study in RESERVED_STUDIES:
        raise ConfigError(f"study={config.study} is taken: it names runs that are in no study")
    if config.pruned is not None:
        raise ConfigError("pruned is what scripts/prune.py fills in; allowed: null")
    if config.ranks.asked is not None:
        raise ConfigError("ranks.asked is what adapter.rank=auto fills in; allowed: null")
    base, adapter = config.base, config.adapter
    if isinstance(base, CheckpointBase | PeftBase):
        base = replace(base, path=absolute(base.path))
        if adapter.get("path") is not None:  # a strategy that goes on from there
            adapter = {**adapter, "path": absolute(adapter["path"])}
    return replace(
        config,
        adapter=adapter,
        study=config.study or derived_study(),
        base=base,
        model=with_folders(config.model, absolute),
        root=absolute(config.root),
        data_dir=config.data_dir and absolute(config.data_dir),
        told=told(config.tuning, given),
    )


def from_container(values: Any) -> Config:
    """Check plain values, as read from a run's config.yaml, and return them as a `Config`.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    config = checked(_configs(), _with_optimizers_gathered(values))
    config = replace(config, adapter=_with_parts_that_are(config.adapter))
    for where, node in (("model", config.model), ("adapter", config.adapter)):
        _require_target(where, node)
    _require_target("dataset.loader", {"name": config.dataset.name, **config.dataset.loader})
    if "tokenizer" in config.model:
        tokenizer = config.model["tokenizer"]
        if not isinstance(tokenizer, Mapping):
            raise ConfigError(f"model.tokenizer={tokenizer} should be a node with _target_")
        _require_target("model.tokenizer", {"name": config.model["name"], **tokenizer})
    config = settled_task(config)
    _require_one_kind(config)
    _require_budget(config.budget)
    for where, optimizer in optimizers(config):
        require_consistent(optimizer, where)
    if config.trial_pruner is not None and config.hardware.devices > 1:
        raise ConfigError(
            f"hydra.sweeper.pruner={config.trial_pruner.rule} stops runs of one device, and "
            f"hardware.devices={config.hardware.devices}; set one of them otherwise"
        )
    if config.loss.focal_gamma and config.label_smoothing:
        raise ConfigError(
            f"loss.focal_gamma={config.loss.focal_gamma:g} does not go with "
            f"label_smoothing={config.label_smoothing:g}; set one of them to 0"
        )
    if isinstance(config.base, TrainedBase) and config.base.dataset is None:
        raise ConfigError(
            f"data set {config.dataset.name} names no source for its base: set base.source=NAME "
            "(a data set), base=checkpoint base.path=FILE, base=pretrained or base=scratch"
        )
    config = _with_one_validation_split(_with_limits_that_count(config))
    return _shortened(config) if config.fast_dev_run else config


def to_container(config: Config) -> dict[str, Any]:
    """Return a config as plain values, the inverse of `from_container`."""
    values: dict[str, Any] = _configs().dump_python(config, mode="json")
    values["optimizer"] = spread(values["optimizer"])
    if "optimizer" in values["base"]:
        values["base"]["optimizer"] = spread(values["base"]["optimizer"])
    return values


@cache
def _configs() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


@cache  # each run of a sweep asks for it, and reading it takes longer than the rest of its parsing
def _as_written(path: Path, changed: int) -> Any:
    """Return what a file of conf/ holds, its references unresolved."""
    return OmegaConf.to_container(OmegaConf.load(path))


def source_dataset(conf: Path, name: str | None) -> Any:
    """Return the data set `name` of conf/dataset: the resolver behind `base.source`.

    Raises:
        ConfigError: there is none of that name.
    """
    if name is None:
        return None
    path = conf / "dataset" / f"{name}.yaml"
    names = sorted(p.stem for p in (conf / "dataset").glob("*.yaml"))
    if name not in names:
        raise ConfigError(f"base.source={name} is no data set; {allowed(name, names)}")
    dataset = OmegaConf.create(_as_written(path, path.stat().st_mtime_ns))
    if missing := sorted(OmegaConf.missing_keys(dataset)):
        raise ConfigError(
            f"base.source={name} leaves {missing[0]} open: copy {path.name} to "
            "conf/dataset/NAME.yaml, fill it in there, and set base.source=NAME"
        )
    return dataset


def _with_own_data_settled(values: Any) -> Any:
    """Give data of the user's own a name of its own, and a path that leads there from anywhere."""
    if not isinstance(values, dict):
        return values
    search = [Path(values[key]).expanduser() for key in ("data_dir",) if values.get(key)]
    search += [Path(values["root"]).expanduser() / "mlruns" / "data"] if values.get("root") else []
    settled_ = {**values, "dataset": settled(values.get("dataset"), search)}
    base = values.get("base")
    if isinstance(base, dict) and "dataset" in base:
        settled_["base"] = {**base, "dataset": settled(base["dataset"], search)}
    return settled_


def _require_target(where: str, node: Mapping[str, Any]) -> None:
    for key in ("name", "_target_"):
        if not isinstance(node.get(key), str):
            what = where.rpartition(".")[2]
            raise ConfigError(f"{where}.{key} is missing: every {what} names itself and its class")
    for key in ("name", "label"):  # they name folders
        if key in node:
            checked(TypeAdapter(FileName), node[key], f"{where}.{key}")


def _with_parts_that_are(node: Target) -> Target:
    """Leave out parts of a combination that are null, or say no more than what the whole says.

    Raises:
        ConfigError: a part leaves its ranks open.
    """
    parts = node.get("parts")
    if not isinstance(parts, dict):
        return node
    for name, part in parts.items():
        if isinstance(part, dict) and part.get("rank") == "auto":
            raise ConfigError(
                f"adapter.parts.{name}.rank=auto: ranks are given out to a strategy by itself "
                "(adapter=lora adapter.rank=auto); a part takes a number"
            )

    def is_one(part: Any) -> bool:
        return part is not None and not (isinstance(part, dict) and part.keys() <= {"head"})

    return {**node, "parts": {name: part for name, part in parts.items() if is_one(part)}}


def absolute(path: str) -> str:
    """Return a path that means the same from any working directory."""
    return str(Path(path).expanduser().resolve())


def _is_folder(name_or_path: Any) -> bool:
    """Say whether a model's name is that of a folder here."""
    named = isinstance(name_or_path, str) and name_or_path != ""
    return named and Path(name_or_path).expanduser().is_dir()


def with_folders(node: Target, change: Callable[[str], Any]) -> Target:
    """Return a model's node with its folders changed; what is no folder is a name on the hub."""
    changed: Target = {}
    for key, value in node.items():
        if isinstance(value, dict):
            value = with_folders(value, change)
        elif key == "name_or_path" and _is_folder(value):
            value = change(value)
        changed[key] = value
    return changed


def _require_budget(budget: int | str | None) -> None:
    """A share is written with a percent sign, for 1 could be a parameter or all of them."""
    if not isinstance(budget, str):
        return
    share = float(budget[:-1]) if re.fullmatch(r"\d+(\.\d+)?%", budget) else 0.0
    if not 0 < share <= 100:
        raise ConfigError(
            f"budget={budget} should be a number of parameters, such as 10000, or a share of the "
            "base, such as 1%"
        )


def _require_one_kind(config: Config) -> None:
    """Texts go to models that have a tokenizer, images to those that have none."""
    kind, name = config.dataset.kind, config.model["name"]
    taken = "text" if "tokenizer" in config.model else "image"
    if kind != taken:
        raise ConfigError(
            f"dataset={config.dataset.name} holds {kind}s and model={name} takes {taken}s; "
            f"such as dataset={EXAMPLES[taken][0]}, or for {kind}s model={EXAMPLES[kind][1]}"
        )
    if kind == "text" and isinstance(config.base, CheckpointBase) and config.base.shape is not None:
        raise ConfigError(f"base.shape={config.base.shape} is for images; {name} takes texts")
    source = config.source
    if source is not None and source.kind != kind:
        raise ConfigError(
            f"base.source={source.name} holds {source.kind}s and dataset={config.dataset.name} "
            f"{kind}s; allowed: a source of {kind}s, such as {EXAMPLES[kind][0]}"
        )


def _with_limits_that_count(config: Config) -> Config:
    """Leave limits of None out, so that a run that names them is the run that does not."""
    if not isinstance(config.limit, dict):
        return config
    limits: dict[SplitName, int | None] = {
        split: limit for split, limit in config.limit.items() if limit is not None
    }
    return replace(config, limit=limits or None)


def _with_one_validation_split(config: Config) -> Config:
    """Hold out the same rows from base and target where both come from the same files.

    Otherwise the base would have been trained on what the target's selection is made on.
    """
    base, target = config.base, config.dataset
    if not isinstance(base, TrainedBase) or base.dataset is None:
        return config
    if not same_files(base.dataset.loader, target.loader):
        return config
    source = replace(
        base.dataset, validation=target.validation, validation_seed=target.validation_seed
    )
    return replace(config, base=replace(base, dataset=source))


def same_files(one: Target, other: Target) -> bool:
    """Say whether two loaders read the same files."""
    return all(one.get(key) == other.get(key) for key in ("_target_", "path", "folder"))


def _with_optimizers_gathered(values: Any) -> Any:
    """Put the own options of optimizers together, where there are optimizers."""

    def changed(node: Any, where: str) -> Any:
        if not (isinstance(node, Mapping) and isinstance(node.get("optimizer"), Mapping)):
            return node
        optimizer = node["optimizer"]
        _require_target(where, {**optimizer, "_target_": target_of(optimizer)})
        return {**node, "optimizer": gathered(optimizer)}

    values = changed(values, "optimizer")
    if isinstance(values, Mapping) and "base" in values:
        values = {**values, "base": changed(values["base"], "base.optimizer")}
    return values


def optimizers(config: Config) -> list[tuple[str, Optimizer]]:
    """Return the run's optimizer and that of its base's training, with their places."""
    found = [("optimizer", config.optimizer)]
    if isinstance(config.base, TrainedBase):
        found.append(("base.optimizer", config.base.optimizer))
    return found


def _shortened(config: Config) -> Config:
    """Cut a run down to one epoch of two batches, the base's training as well."""
    base = config.base
    if isinstance(base, TrainedBase):
        base = replace(base, epochs=1)
    return replace(config, base=base, epochs=1, limit=2 * config.batch_size)
