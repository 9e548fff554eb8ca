"""What a folder or a repository of a model may not have: code of its own, or an adapter's base."""

from pathlib import Path
from typing import Any

from adapterlab.base.errors import ConfigError

PLAIN: dict[str, Any] = {"trust_remote_code": False}
"""How everything of transformers is loaded: not told, it would ask on the terminal."""

TENSORS: dict[str, Any] = {**PLAIN, "weights_only": True}
"""How weights are: a pickle among them is read as tensors, or not at all."""


def require_plain(source: str, config: Any) -> None:
    """Refuse what would load more than the model's own architecture and weights.

    Args:
        source: a folder, or a name on the hub.
        config: transformers' configuration, as it was read there.

    Raises:
        ConfigError: it is an adapter, which names a base and modules to import; or it names
            kernels, which are compiled code from elsewhere.
    """
    if (Path(source) / "adapter_config.json").is_file():
        raise ConfigError(
            f"model.name_or_path={source} holds a PEFT adapter (adapter_config.json); give the "
            "folder of a model, such as scripts/export.py writes"
        )
    for option in ("_attn_implementation", "_experts_implementation"):
        named = getattr(config, option, None)
        if named is not None and "/" in str(named):
            raise ConfigError(
                f"model.name_or_path={source} asks for {option.strip('_')}={named}, which is code "
                "from elsewhere; remove that from its config.json"
            )
