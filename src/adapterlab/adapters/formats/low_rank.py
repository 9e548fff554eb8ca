"""How PEFT writes low-rank updates: LoRA and DoRA, which are one method there."""

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.factors import plain_number
from adapterlab.adapters.formats.peft import PeftMethod
from adapterlab.adapters.formats.peft_names import relative
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.adapters.targets import aliases_of, by_pattern
from adapterlab.adapters.weights import (
    is_convolution,
    is_plain_at_single_places,
    is_transposed,
)
from adapterlab.base.errors import CheckpointError, ConfigError

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


@dataclass(frozen=True)
class LowRank(PeftMethod):
    """PEFT's LORA, of strategies and layers that have the options of `LoRA` and `LoRALinear`.

    What is subtracted as a frozen first update is more rank there, as PEFT converts its own:
    W + s · (B A - B0 A0) = W + s · [B, -B0] [A; A0].

    Attributes:
        dora: whether the updates are DoRA's.
    """

    dora: bool = False

    def written(self, layer: Any, name: str, tensor: Tensor) -> Tensor:
        """Return a factor of twice the rank where a first update is subtracted."""
        if not layer.less_first or name not in ("lora_A", "lora_B"):
            return tensor
        A, B = layer.whole()
        return cast(Tensor, A if name == "lora_A" else B).detach()

    def taken(self, layer: Any, name: str, tensor: Tensor) -> dict[str, Tensor]:
        """Return both halves, or the first where the other is made again from the base."""
        if not layer.less_first or name not in ("lora_A", "lora_B"):
            return {name: tensor}
        first = name.replace("lora", "first")
        own, other = torch.split(tensor, layer.rank, 0 if name == "lora_A" else 1)
        of_first = {first: other if name == "lora_A" else -other}
        return {name: own, **(of_first if layer.frozen[first] else {})}

    def require_fit(self, layer: Any, tensors: Mapping[str, Tensor], what: str) -> None:
        """Refuse another first update than the one that the base gives; signs do not count."""
        if not layer.less_first or layer.frozen["first_A"]:
            return
        A = tensors["lora_A"].flatten(1)[layer.rank :].to(layer.first_A)
        B = -tensors["lora_B"].flatten(1)[:, layer.rank :].to(layer.first_B)
        own = layer.first_B.flatten(1) @ layer.first_A.flatten(1)
        if not (B @ A - own).abs().max() <= 1e-4 * own.abs().max():
            raise CheckpointError(
                f"{what} is less another first update than this model's is, which the base gives; "
                "a LoRA of that rank takes any: adapter=lora adapter.init=kaiming"
            )

    def lacking(self, strategy: Any) -> str | None:
        """PEFT trains nothing beside, and has one axis of a magnitude."""
        if self.dora and strategy.magnitude != "per_output":
            return f"PEFT's DoRA has no magnitude={strategy.magnitude}"
        if strategy.also_train:
            return f"PEFT's format has no also_train={list(strategy.also_train)}"
        return None

    def config(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return ranks and strengths, those of single layers by regular expressions.

        Raises:
            ConfigError: a convolution's update is another one in PEFT.
        """
        strategy: Any = adapted.strategy
        for name, layer in layers.items():
            if other := not_peft(layer.base):
                raise ConfigError(
                    f"PEFT's update of {name}, a convolution with {other}, is another one; export "
                    "the merged model instead"
                )
        times = 2 if any(layer.less_first for layer in layers.values()) else 1
        rank, alpha = times * strategy.rank, strategy.alpha
        ranks = {name: times * layer.rank for name, layer in layers.items()}
        alphas = by_pattern(
            "alpha_pattern", layers, alpha, strategy.alpha_pattern, aliases_of(adapted.model)
        )
        if strategy.scaling == "alpha":  # PEFT divides by the rank in any case
            alpha *= rank
            alphas = {name: value * ranks[name] for name, value in alphas.items()}
        elif times > 1:  # it divides by more of it
            more = times if strategy.scaling == "alpha_over_rank" else math.sqrt(times)
            alpha *= more
            alphas = {name: value * more for name, value in alphas.items()}

        def exactly(name: str) -> str:
            return f"^{re.escape(relative(adapted, name))}"

        return {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": plain_number(alpha),
            "rank_pattern": {exactly(name): r for name, r in ranks.items() if r != rank},
            "alpha_pattern": {
                exactly(name): plain_number(a) for name, a in alphas.items() if a != alpha
            },
            "lora_dropout": strategy.dropout,
            "use_rslora": strategy.scaling == "alpha_over_sqrt_rank",
            "use_dora": self.dora,
            "init_lora_weights": True,
            "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
            "bias": "none",
        }

    def understood(self, config: dict[str, Any], path: Path) -> dict[str, Any]:
        """Refuse PEFT's adapters that compute something else than ours."""
        folder = path.parent
        if not isinstance(config.get("lora_alpha", 1), int | float):
            raise CheckpointError(f"{path} is not the configuration of a PEFT adapter")
        if not _are_patterns(config.get("alpha_pattern")):
            most = f"at most {_MOST_REPETITIONS} repetitions in a pattern, none of them of a group"
            raise CheckpointError(
                f"{path}: alpha_pattern is no numbers by patterns; allowed: {most}"
            )
        if config.get("peft_type") != "LORA":
            raise CheckpointError(
                f"{folder} holds PEFT's {config.get('peft_type')}; allowed: LORA, with or without "
                "DoRA"
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
        if bool(config.get("use_dora")) != self.dora:
            kinds = ("DoRA", "LoRA") if config.get("use_dora") else ("LoRA", "DoRA")
            raise CheckpointError(f"{folder} holds {kinds[0]}, this model is under {kinds[1]}")
        return {"lora_alpha": 8, **config}  # PEFT's default

    def require_same(
        self, adapted: AdaptedModel, layers: Mapping[str, Any], config: dict[str, Any], folder: Path
    ) -> None:
        """Refuse factors that PEFT computes with otherwise than this model's layers."""
        for name, layer in layers.items():
            if other := not_peft(layer.base):
                raise CheckpointError(
                    f"{folder}: PEFT's update of {name}, a convolution with {other}, is not ours"
                )
            relative_name = relative(adapted, name)
            alpha = by_regex(config["lora_alpha"], config.get("alpha_pattern"), relative_name)
            rank = layer.rank * (2 if layer.less_first else 1)
            root = math.sqrt(rank) if config.get("use_rslora") else rank
            if not math.isclose(alpha / root, layer.scale, rel_tol=1e-9):
                raise CheckpointError(
                    f"{folder}: the update of {name} is scaled by {alpha / root:g} in the file "
                    f"(lora_alpha={alpha:g}, rank {rank}) and by {layer.scale:g} in the model"
                )


def not_peft(layer: nn.Module) -> str | None:
    """Say what of a convolution PEFT's A has not; None if it has all, or the layer is linear."""
    if not is_convolution(layer):
        return None
    for option in ("groups", "dilation"):
        value: Any = getattr(layer, option)
        if value != 1 and set(value if isinstance(value, tuple) else (value,)) != {1}:
            return f"{option}={value}"
    return None if is_plain_at_single_places(layer) else "padding of its own"


def by_regex(default: float, patterns: dict[str, float] | None, name: str) -> float:
    """Return a layer's value as PEFT does: of the first pattern that matches the name's end."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
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
