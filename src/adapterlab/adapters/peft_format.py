"""PEFT's adapter format: what is trained here loads there, and the other way round.

PEFT (https://github.com/huggingface/peft) keeps a folder of two files: `adapter_config.json`, and
`adapter_model.safetensors`, where a layer `encoder.query` under LoRA or DoRA and a head
`classifier` that is trained in full are

    base_model.model.encoder.query.lora_A.weight             [rank, d_in]     ours: lora_A
    base_model.model.encoder.query.lora_B.weight             [d_out, rank]    ours: lora_B
    base_model.model.encoder.query.lora_magnitude_vector     [d_out]          ours: magnitude
    base_model.model.classifier.weight                                        ours: the same

Names are relative to the model that PEFT is given. A model that wraps it says where it is by an
`peft_root`, see `adapterlab.models.protocol`.
"""

import contextlib
import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from adapterlab.adapters.checkpoint import UNREADABLE
from adapterlab.adapters.dora import DoRA
from adapterlab.adapters.lora import LoRA, LoRALinear
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.adapters.targets import aliases_of, by_pattern
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.base.files import write_json, write_tensors
from adapterlab.base.reading import UnreadableError, parse_mapping, read_text
from adapterlab.models.protocol import adaptable

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

FACTORS = {
    "lora_A": "lora_A.weight",
    "lora_B": "lora_B.weight",
    "magnitude": "lora_magnitude_vector",
}
"""PEFT's names of a layer's parameters, by ours."""

UNDERSTOOD = {
    *("peft_type", "use_dora", "use_rslora", "r", "lora_alpha", "rank_pattern", "alpha_pattern"),
    *("init_lora_weights", "bias"),
    # What they choose shows in the names of the tensors.
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("modules_to_save", "task_type"),
    # Without effect on the logits.
    *("auto_mapping", "base_model_name_or_path", "revision", "peft_version", "inference_mode"),
    *("lora_dropout", "runtime_config", "eva_config"),
    # Beside the point for linear layers, or for features that are off.
    *("fan_in_fan_out", "megatron_core", "qalora_group_size", "loftq_config"),
}
"""Options of PEFT's LoRA that are heeded or safely passed over; any other that is set is not."""

_MOST_REPETITIONS = 4

HARMLESS_INITS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Ways to draw A and B; PEFT's others change the base weights as well."""


def save_peft(adapted: AdaptedModel, folder: Path, *, base_name: str | None = None) -> None:
    """Write a LoRA or DoRA adapter as `PeftModel.from_pretrained(base, folder)` reads it.

    A head that is trained or frozen goes along whole, for the base that it is loaded over may
    have another. One that is adapted cannot: it needs a base with this model's head.

    Args:
        adapted: under LoRA or DoRA.
        folder: created if need be; files of the same names in it are replaced.
        base_name: name or folder of the base model, for PEFT to record.

    Raises:
        ConfigError: PEFT cannot express the strategy.
    """
    config = _config(adapted, _expressible(adapted), base_name)
    own = adapted.model.state_dict()
    tensors = {
        theirs: own[ours].detach().cpu().contiguous() for theirs, ours in _names(adapted).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt", "base_sha256": adapted.base_hash})
    write_json(folder / CONFIG, config, sort_keys=True)


def load_peft(adapted: AdaptedModel, folder: Path) -> None:
    """Load PEFT's adapter into a model under the same strategy over the same base weights.

    Raises:
        CheckpointError: a file is missing or damaged, or the adapter is of another kind, scale or
            shape, for other layers, or over another base; nothing has been loaded then.
        ConfigError: PEFT cannot express the model's strategy.
    """
    strategy = _expressible(adapted)
    config = _read_config(folder / CONFIG)
    _require_understood(config, folder)
    if bool(config.get("use_dora")) != isinstance(strategy, DoRA):
        raise CheckpointError(
            f"{folder} holds {'DoRA' if config.get('use_dora') else 'LoRA'}, this model is under "
            f"{type(strategy).__name__}"
        )
    tensors, base_hash = _read_weights(folder / WEIGHTS)
    if base_hash not in (None, adapted.base_hash):
        raise CheckpointError(
            f"{folder} belongs to other base weights: it was trained over {base_hash[:12]}, this "
            f"model has {adapted.base_hash[:12]}"
        )
    names, own = _names(adapted), adapted.model.state_dict()
    odd = sorted(tensors.keys() ^ names.keys())
    if odd:
        raise CheckpointError(
            f"{folder} does not fit {type(adapted.model).__name__}: {odd[0]} is only in the "
            f"{'file' if odd[0] in tensors else 'model'}"
        )
    frozen = own.keys() - adapted.state().keys()
    for theirs, ours in names.items():
        if own[ours].shape != tensors[theirs].shape:
            raise CheckpointError(
                f"{folder}: {theirs} is {list(tensors[theirs].shape)} in the file and "
                f"{list(own[ours].shape)} in the model"
            )
        if ours in frozen and not torch.equal(own[ours], tensors[theirs].to(own[ours])):
            raise CheckpointError(
                f"{folder} has a head of its own ({theirs} differs), and this model's is frozen; "
                "to take it over: adapter.head=train"
            )
    _require_same_scales(adapted, config, folder)
    with torch.no_grad():
        for theirs, ours in names.items():
            own[ours].copy_(tensors[theirs])


def _expressible(adapted: AdaptedModel) -> LoRA:
    """Return the strategy of a model that PEFT can have.

    Raises:
        ConfigError: PEFT cannot.
    """
    strategy = adapted.strategy
    if type(strategy) not in (LoRA, DoRA):
        raise ConfigError(
            f"PEFT's format has no {type(strategy).__name__}; export the merged model instead"
        )
    assert isinstance(strategy, LoRA)
    if isinstance(strategy, DoRA) and strategy.magnitude != "per_output":
        raise ConfigError(
            f"PEFT's DoRA has no magnitude={strategy.magnitude}; export the merged model instead"
        )
    if strategy.also_train:
        raise ConfigError(
            f"PEFT's format has no also_train={list(strategy.also_train)}; export the merged model "
            "instead"
        )
    return strategy


def _adapted_layers(adapted: AdaptedModel) -> dict[str, LoRALinear]:
    """Return the adapted layers by their name in the model."""
    modules = adapted.model.named_modules()
    return {name: module for name, module in modules if isinstance(module, LoRALinear)}


def _relative(adapted: AdaptedModel, name: str) -> str:
    """Return a module's or tensor's name in the model that PEFT is given."""
    return name.removeprefix(f"{adaptable(adapted.model).peft_root}.")


def _names(adapted: AdaptedModel) -> dict[str, str]:
    """Return our name of every tensor that PEFT's file has, by PEFT's.

    Raises:
        ConfigError: something is trained that has no place in the file.
    """
    layers = _adapted_layers(adapted)
    head = set[str]()
    if adapted.strategy.head != "adapt":
        head = {name for name in adapted.model.state_dict() if adapted.in_head(name)}
    names = {}
    for ours in sorted(adapted.state().keys() | head):
        module, _, parameter = ours.rpartition(".")
        if module in layers:
            theirs = f"{module}.{FACTORS[parameter]}"
        elif ours in head:
            theirs = ours
        else:
            raise ConfigError(f"PEFT's format has no place for {ours}, which training changes")
        names[f"base_model.model.{_relative(adapted, theirs)}"] = ours
    return names


def _config(adapted: AdaptedModel, strategy: LoRA, base_name: str | None) -> dict[str, Any]:
    """Return the content of `adapter_config.json`."""
    layers = _adapted_layers(adapted)
    rank, alpha = strategy.rank, strategy.alpha
    ranks = {name: layer.rank for name, layer in layers.items()}
    alphas = by_pattern(
        "alpha_pattern", layers, alpha, strategy.alpha_pattern, aliases_of(adapted.model)
    )
    if strategy.scaling == "alpha":  # PEFT divides by the rank in any case
        alpha *= rank
        alphas = {name: value * ranks[name] for name, value in alphas.items()}
    targets = [_relative(adapted, name) for name in layers]
    whole_head = strategy.head != "adapt"
    heads = [_relative(adapted, name) for name in adapted.head_modules if whole_head]
    _require_unmistakable(adapted, targets, heads)

    def exactly(name: str) -> str:
        return f"^{re.escape(_relative(adapted, name))}"

    return {
        "peft_type": "LORA",
        # For PEFT, a classifier of sequences is one of transformers whose head is saved whole.
        "task_type": "SEQ_CLS" if whole_head and adaptable(adapted.model).input_names else None,
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": _plain(alpha),
        "target_modules": targets,
        "rank_pattern": {exactly(name): r for name, r in ranks.items() if r != rank},
        "alpha_pattern": {exactly(name): _plain(a) for name, a in alphas.items() if a != alpha},
        "modules_to_save": heads or None,
        "lora_dropout": strategy.dropout,
        "use_rslora": strategy.scaling == "alpha_over_sqrt_rank",
        "use_dora": isinstance(strategy, DoRA),
        "init_lora_weights": True,
        "fan_in_fan_out": False,
        "bias": "none",
    }


def _require_unmistakable(adapted: AdaptedModel, targets: list[str], heads: list[str]) -> None:
    """Refuse names that PEFT, which looks for them at the ends of names, would find elsewhere.

    Raises:
        ConfigError: PEFT would adapt a layer that is not adapted, or pass over one that is.
    """
    adapted_here = set(_adapted_layers(adapted))
    for name, module in adapted.model.named_modules():
        layer = name.removesuffix(".base")
        if not isinstance(module, nn.Linear) or layer in adapted_here:
            continue
        for target in targets:
            if _relative(adapted, layer).endswith(f".{target}"):
                raise ConfigError(f"PEFT cannot adapt {target} without adapting {layer} as well")
    for target in targets:
        for head in heads:
            if f".{head}." in f".{target}.":
                raise ConfigError(f"PEFT would take {target} for a part of the head, {head}")


def _require_understood(config: dict[str, Any], folder: Path) -> None:
    """Refuse PEFT's adapters that compute something else than ours."""
    if config.get("peft_type") != "LORA":
        raise CheckpointError(
            f"{folder} holds PEFT's {config.get('peft_type')}; allowed: LORA, with or without DoRA"
        )
    init = config.get("init_lora_weights")
    if init not in HARMLESS_INITS:
        raise CheckpointError(
            f"{folder} was initialised by {init}, which changes the base weights; have PEFT "
            "convert it to plain LoRA when saving (path_initial_model_for_weight_conversion)"
        )
    if config.get("bias", "none") != "none":
        raise CheckpointError(f"{folder} trained biases (bias={config['bias']}); allowed: none")
    unknown = sorted(option for option in config.keys() - UNDERSTOOD if config[option])
    if unknown:
        raise CheckpointError(
            f"{folder} uses an option of PEFT that has no counterpart here: "
            f"{unknown[0]}={config[unknown[0]]}"
        )


def _require_same_scales(adapted: AdaptedModel, config: dict[str, Any], folder: Path) -> None:
    """Refuse factors that PEFT multiplies with another s than this model's layers."""
    for name, layer in _adapted_layers(adapted).items():
        alpha = _by_regex(config["lora_alpha"], config.get("alpha_pattern"), adapted, name)
        root = math.sqrt(layer.rank) if config.get("use_rslora") else layer.rank
        if not math.isclose(alpha / root, layer.scale, rel_tol=1e-9):
            raise CheckpointError(
                f"{folder}: the update of {name} is scaled by {alpha / root:g} in the file "
                f"(lora_alpha={alpha:g}, rank {layer.rank}) and by {layer.scale:g} in the model"
            )


def _by_regex(
    default: float, patterns: dict[str, float] | None, adapted: AdaptedModel, name: str
) -> float:
    """Return a layer's value as PEFT does: of the first pattern that matches the name's end."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", _relative(adapted, name)):
            return value
    return default


def _are_patterns(patterns: Any) -> bool:
    """Say whether these are numbers by patterns that no name takes years to be matched with."""
    if not isinstance(patterns, dict):
        return patterns is None
    for pattern, value in patterns.items():
        with contextlib.suppress(re.error, RecursionError, OverflowError):
            re.compile(pattern)
            many = len(re.findall(r"[*+{]", pattern)) > _MOST_REPETITIONS
            if isinstance(value, int | float) and not many and not re.search(r"\)[*+{]", pattern):
                continue
        return False
    return True


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = parse_mapping(read_text(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; a PEFT adapter has one") from None
    except (OSError, UnreadableError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(config.get("lora_alpha", 1), int | float):
        raise CheckpointError(f"{path} is not the configuration of a PEFT adapter")
    if not _are_patterns(config.get("alpha_pattern")):
        most = f"at most {_MOST_REPETITIONS} repetitions in a pattern, none of them of a group"
        raise CheckpointError(f"{path}: alpha_pattern is no numbers by patterns; allowed: {most}")
    return {"lora_alpha": 8, **config}  # PEFT's default


def _read_weights(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """Return the tensors by name, and the hash of the base if this program wrote the file."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, (file.metadata() or {}).get("base_sha256")
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file; have PEFT save with safe_serialization=True"
        ) from None
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from None


def _plain(value: float) -> float:
    """Return a whole number as an integer, as PEFT's configurations have it."""
    return int(value) if float(value).is_integer() else value
