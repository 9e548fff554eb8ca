"""Which options of PEFT's files are heeded, for methods that are no LoRA."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from adapterlab.base.errors import CheckpointError

_OF_ALL = (
    # What they choose shows in the names of the tensors.
    *("peft_type", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("modules_to_save", "task_type", "bias"),
    # Without effect on the logits.
    *("auto_mapping", "base_model_name_or_path", "revision", "peft_version", "inference_mode"),
    # How a base stores its weights, which the base itself says.
    "fan_in_fan_out",
)


def require_understood(
    config: dict[str, Any], path: Path, kind: str, options: Collection[str]
) -> None:
    """Refuse PEFT's adapters of another method, or with options that have no counterpart here.

    Args:
        config: content of `adapter_config.json`.
        path: of that file.
        kind: PEFT's name of the method, `peft_type`.
        options: of the method, heeded or safely passed over; any other that is set is not.

    Raises:
        CheckpointError: it is such an adapter.
    """
    folder = path.parent
    if config.get("peft_type") != kind:
        raise CheckpointError(f"{folder} holds PEFT's {config.get('peft_type')}; allowed: {kind}")
    if config.get("bias", "none") != "none":
        raise CheckpointError(f"{folder} trained biases (bias={config['bias']}); allowed: none")
    unknown = sorted(name for name in config.keys() - {*_OF_ALL, *options} if config[name])
    if unknown:
        raise CheckpointError(
            f"{folder} uses an option of PEFT that has no counterpart here: "
            f"{unknown[0]}={config[unknown[0]]}"
        )
