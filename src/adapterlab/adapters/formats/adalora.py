"""How PEFT writes AdaLoRA, whose ranks differ between layers once it has trained."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapterlab.adapters.formats.peft import PeftMethod
from adapterlab.adapters.formats.peft_files import CONFIG
from adapterlab.adapters.formats.peft_options import require_understood
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.adapters.weights import is_transposed
from adapterlab.base.errors import CheckpointError

_HEEDED = ("init_r", "lora_alpha", "rank_pattern")
_OF_TRAINING = (
    *("r", "target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight"),
    *("total_step", "lora_dropout", "init_lora_weights"),
)
_OFF = ("megatron_core", "qalora_group_size", "loftq_config", "runtime_config", "eva_config")

_PREFIX = "base_model.model."


@dataclass(frozen=True)
class AdaLoRAFormat(PeftMethod):
    """PEFT's ADALORA. Written are all triplets; those that were given up have singular value 0."""

    def lacking(self, strategy: Any) -> str | None:
        """PEFT has all of it."""
        return None

    def config(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return PEFT's options; a schedule that is over, for PEFT asks for one."""
        strategy: Any = adapted.strategy
        return {
            "peft_type": "ADALORA",
            "init_r": strategy.init_rank,
            "target_r": strategy.rank,
            "lora_alpha": strategy.alpha,
            **{"tinit": 0, "tfinal": 0, "total_step": 1, "deltaT": strategy.delta_t},
            **{"beta1": strategy.beta1, "beta2": strategy.beta2},
            "orth_reg_weight": strategy.orth_reg_weight,
            "lora_dropout": strategy.dropout,
            "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
            "bias": "none",
        }

    def in_full(self, tensors: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
        """Return all triplets of a file that has those only which `rank_pattern` keeps."""
        full = dict(tensors)
        for name, kept in (config.get("rank_pattern") or {}).items():
            layer = _PREFIX + str(name).removesuffix(".default").removesuffix("lora_E")
            where = torch.tensor(kept, dtype=torch.bool).flatten()
            for factor, rows in (("lora_A", 0), ("lora_E", 0), ("lora_B", 1)):
                found = tensors.get(f"{layer}{factor}")
                if found is None or found.ndim != 2 or found.shape[rows] != int(where.sum()):
                    raise CheckpointError(
                        f"{CONFIG}: rank_pattern of {name} does not fit its tensors in the file"
                    )
                shape = [len(where) if i == rows else n for i, n in enumerate(found.shape)]
                places = where.nonzero().flatten()
                full[f"{layer}{factor}"] = found.new_zeros(shape).index_copy(rows, places, found)
        return full

    def understood(self, config: dict[str, Any], path: Path) -> dict[str, Any]:
        """Refuse another method, and what is no pattern of ranks."""
        require_understood(config, path, "ADALORA", (*_HEEDED, *_OF_TRAINING, *_OFF))
        pattern = config.get("rank_pattern") or {}
        lists = isinstance(pattern, dict) and all(
            isinstance(kept, list) and all(isinstance(one, bool) for one in kept)
            for kept in pattern.values()
        )
        if not lists:
            raise CheckpointError(f"{path}: rank_pattern is no lists of true and false by layer")
        numbers = (config.get("lora_alpha", 8), config.get("init_r", 12))
        if not all(isinstance(one, int | float) for one in numbers):
            raise CheckpointError(f"{path} is not the configuration of a PEFT adapter")
        return {"lora_alpha": 8, "init_r": 12, **config}  # PEFT's defaults

    def require_same(
        self, adapted: AdaptedModel, layers: Mapping[str, Any], config: dict[str, Any], folder: Path
    ) -> None:
        """Refuse another scale."""
        for name, layer in layers.items():
            scale = config["lora_alpha"] / (config["init_r"] + 1e-5)
            if not math.isclose(scale, layer.scale, rel_tol=1e-9):
                raise CheckpointError(
                    f"{folder}: the update of {name} is scaled by {scale:g} in the file "
                    f"(lora_alpha={config['lora_alpha']:g}, init_r={config['init_r']}) and by "
                    f"{layer.scale:g} in the model"
                )
