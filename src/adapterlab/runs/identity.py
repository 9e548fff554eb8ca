"""What a run computes, as hashes and names: equal computations have equal ones."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapterlab.base.files import file_hash
from adapterlab.config.optimizers import USUAL
from adapterlab.config.own_data import is_own, loader_name, own_name
from adapterlab.config.parsing import same_files, to_container, with_folders
from adapterlab.config.schema import CheckpointBase, Config, PeftBase, PretrainedBase, TrainedBase
from adapterlab.runs.canonical_options import one_way

BOOKKEEPING = (
    *("resume", "plan", "pack", "root", "data_dir", "tracking", "study"),
    *("budget", "tuning", "report", "margin", "told", "allow_targets", "baseline"),
    *("mlflow_model", "figures", "ranks", "trial_pruner"),
)
"""Options that say where and how a run is kept, or where other options come from."""

MODEL_FILES = (".json", ".txt", ".model", ".safetensors", ".bin")
"""Suffixes of what `save_pretrained` writes into a folder: configuration, tokenizer, weights."""

PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""What an adapter in PEFT's format consists of."""

OFF: dict[str, Any] = {
    **{"also_train": [], "init_batches": 8, "corda_method": "ipm", "gora_gamma": 0.05}
}
"""Options of strategies that came later, and the value without which older runs keep their hash."""

OFF_OF: dict[str, dict[str, Any]] = {
    "adapterlab.adapters.Full": {"targets": "*", "towards_base": 0.0},
    "adapterlab.adapters.Prefix": {"offset_positions": False},
}
"""Likewise, where a name means something else in other strategies."""

OFF_OF_MODELS: dict[str, Any] = {"revision": None, "pad_token": None, "pooling": "auto"}
"""Likewise, of models and their tokenizers."""

_UNCUT: dict[str, Any] = {"test": 0.2, "test_seed": 0, "fold": 0}

OF_LOADERS: dict[str, dict[str, Any]] = {
    "text_files": {
        **dict.fromkeys(("id_column", "split_column", "group_column", "labels", "folds")),
        **dict.fromkeys(("encoding", "delimiter", "columns", "label_separator")),
        **_UNCUT,
        "empty_texts": False,
    },
    "image_folder": {
        **dict.fromkeys(("background", "labels", "image_column", "label_column")),
        **dict.fromkeys(("split_column", "group_column", "folds", "label_separator")),
        **_UNCUT,
    },
    "image_parquet": {"background": None},
    **{name: {"superclasses": None} for name in ("mnist", "fashion_mnist", "cifar10")},
}
"""Options of loaders that came later, likewise."""

FOUND_FIRST: dict[str, dict[str, str]] = {
    "text_files": {"text_column": "text", "label_column": "label"},
    "image_parquet": {"image_column": "img", "label_column": "label"},
}
"""Columns that were named by default, and are now looked for under that name first."""

CAME_LATER: dict[str, Any] = {
    "task": "single_label",
    "loss": {"class_weights": None, "focal_gamma": 0.0},
    "sampling": "natural",
    "accumulate": 1,
    "pruned": None,
}
"""Options of a run that came later, and the value without which older runs keep their hash."""

OFF_OF_LOSS: dict[str, Any] = {"standardize": True}
"""Likewise, within `loss`."""

OFF_OF_OPTIMIZERS: dict[str, Any] = {"roles": {}, "hold": 0.0, "floor": 0.0, "layer_decay": 1.0}
"""Likewise, of an optimizer."""

OF_THE_WHOLE = ("name", "label", "head")
"""What a part of a combination has for people, or repeats."""

SEEDS = ("seed", "init_seed", "order_seed")

USUAL_CUT = 0
"""The `validation_seed` of all data sets in conf/: arms of runs with that cut keep their hash."""


def config_hash(config: Config) -> str:
    """Return 12 hex digits for what a run computes; equal ones give equal hashes anywhere."""
    return _digest(what_it_computes(config))


def former_hash(config: Config) -> str:
    """Return the hash that earlier versions gave a run, which looked at how options are written."""
    return _digest(_as_written(config))


def arm_hash(config: Config) -> str:
    """Return 12 hex digits for a run's arm: everything but its seeds.

    The seed of the validation cut is one of them, also where the base's training follows it. Where
    ranks were chosen, by `adapter.rank=auto` or by pruning, the arm is how: what came out may
    differ between its seeds and cuts.
    """
    values = what_it_computes(config)
    if config.ranks.asked is not None:
        values["adapter"] = _unlabelled(config.ranks.asked)
    if config.pruned is not None:
        values["adapter"] = _unlabelled(config.pruned.adapter)
        values["pruned"] = {"tried": config.pruned.tried, "margin": config.pruned.margin}
    base = values["base"].get("dataset")
    if base is not None and same_files(base["loader"], values["dataset"]["loader"]):
        base["validation_seed"] = USUAL_CUT
    values["dataset"]["validation_seed"] = USUAL_CUT
    return _digest({key: value for key, value in values.items() if key not in SEEDS})


def what_it_computes(config: Config) -> dict[str, Any]:
    """Return the options that a result depends on, in one way where there are several.

    Of the hardware that is the precision, as it comes out on this machine; a base from a file, or
    a model from a folder, is its content, not its path.
    """
    values = _as_written(config)
    one_way(values, config)
    if config.ranks.asked is not None:  # a run of its own, for it has another arm
        values["ranks"] = {"budget": config.budget, **config.ranks.told_apart()}
    return values


def _as_written(config: Config) -> dict[str, Any]:
    values = to_container(config)
    for key in BOOKKEEPING:
        del values[key]
    values["loss"] = without(values["loss"], OFF_OF_LOSS)
    values = without(values, CAME_LATER)
    for node in (values["adapter"], values["model"]):
        node.pop("label", None)
    values["adapter"] = _strategy(values["adapter"])
    values["model"] = without(values["model"], OFF_OF_MODELS)
    if "tokenizer" in values["model"]:
        values["model"]["tokenizer"] = without(values["model"]["tokenizer"], OFF_OF_MODELS)
    values["model"] = with_folders(values["model"], _folder_hashes)
    values["hardware"] = {"precision": _precision(config)}
    for node in (values["optimizer"], values["base"].get("optimizer")):
        if node is not None:
            _without_what_came_later(node)
    datasets = [values["dataset"]]
    if isinstance(config.base, TrainedBase):
        datasets.append(values["base"]["dataset"])
        del values["base"]["source"]
    for dataset in datasets:  # these name the base, which stands in full in `base`
        for key in ("source", "source_epochs"):
            dataset.pop(key, None)
        if not dataset.get("augment"):  # which configurations of before did not say
            dataset.pop("augment", None)
        _as_it_was_named(dataset)
    if isinstance(config.base, PretrainedBase) and config.base.head == "new":
        del values["base"]["head"]
    if isinstance(config.base, CheckpointBase):
        values["base"]["path"] = file_hash(Path(config.base.path))
    if isinstance(config.base, PeftBase):
        values["base"]["path"] = hashes_of_peft(Path(config.base.path))
        if values["adapter"].get("path") == config.base.path:
            del values["adapter"]["path"]
    return values


def hashes_of_peft(folder: Path) -> dict[str, str | None]:
    """Return the hashes of what PEFT's format has in a folder, by the files' names."""
    return {name: file_hash(folder / name) for name in PEFT_FILES}


def _unlabelled(adapter: Mapping[str, Any]) -> dict[str, Any]:
    return _strategy({key: value for key, value in adapter.items() if key != "label"})


def without(node: Mapping[str, Any], off: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node's options but for those that have the value that `off` gives them."""
    return {key: value for key, value in node.items() if off.get(key, ...) != value}


def _strategy(node: dict[str, Any]) -> dict[str, Any]:
    """Return what counts of a strategy, and of its parts if it is a combination."""
    kept = without(node, OFF | OFF_OF.get(node["_target_"], {}))
    if "parts" in kept:
        kept.pop("dial_of", None)  # where other options come from
        kept["parts"] = {
            name: {key: value for key, value in _strategy(part).items() if key not in OF_THE_WHOLE}
            for name, part in kept["parts"].items()
        }
    return kept


def _as_it_was_named(dataset: dict[str, Any]) -> None:
    """Write a user's own data set as configurations of before did: they named it by its loader."""
    loader = dataset["loader"]
    function = loader_name(loader)
    if is_own(loader) and dataset["name"] == own_name(str(loader["path"])):
        dataset["name"] = function
    kept = without(loader, OF_LOADERS.get(function, {}))
    first = FOUND_FIRST.get(function, {})
    dataset["loader"] = {
        key: first.get(key) if value is None and key in first else value
        for key, value in kept.items()
    }


def _without_what_came_later(optimizer: dict[str, Any]) -> None:
    """Leave out of an optimizer what configurations of before did not say, where it is usual."""
    if USUAL.get(optimizer["name"]) == optimizer["_target_"]:
        del optimizer["_target_"]
    for option, usual in OFF_OF_OPTIMIZERS.items():
        if optimizer[option] == usual:
            del optimizer[option]


def run_name(config: Config) -> str:
    """Return a name for people: ``digits_rotated-mlp-lora-r8-a16-seed0``."""
    labels = [str(node.get("label", node["name"])) for node in (config.model, config.adapter)]
    return "-".join([config.dataset.name, *labels, f"seed{config.seed}"])


def former_name(config: Config) -> str:
    """Return the name that earlier versions gave a run: they called own data by their loader."""
    values: dict[str, Any] = {"name": config.dataset.name, "loader": dict(config.dataset.loader)}
    _as_it_was_named(values)
    return run_name(replace(config, dataset=replace(config.dataset, name=values["name"])))


def _precision(config: Config) -> str:
    from adapterlab.training.hardware import resolve_accelerator, resolve_precision  # loads torch

    accelerator = resolve_accelerator(config.hardware.accelerator)
    return resolve_precision(config.hardware.precision, accelerator)


def _digest(values: dict[str, Any]) -> str:
    text = json.dumps(_canonical(values), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _folder_hashes(folder: str) -> dict[str, str | None]:
    """Return the hashes of a model's files by their names."""
    files = sorted(path for path in Path(folder).iterdir() if path.suffix in MODEL_FILES)
    return {path.name: file_hash(path) for path in files}


def _canonical(value: Any) -> Any:
    """Write 16.0 as 16: YAML and the command line tell them apart, a run does not."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
