"""What a folder or a repository of a model may not have: code of its own, or an adapter's base."""

import contextlib
from pathlib import Path
from typing import Any

from adapterlab.base.errors import ConfigError
from adapterlab.base.reading import UnreadableError, parse_mapping, read_text
from adapterlab.base.redaction import shown

PLAIN: dict[str, Any] = {"trust_remote_code": False}
"""How everything of transformers is loaded: not told, it would ask on the terminal."""

TENSORS: dict[str, Any] = {**PLAIN, "weights_only": True}
"""How weights are: a pickle among them is read as tensors, or not at all."""


def require_no_adapter(source: str) -> None:
    """Refuse a folder that holds an adapter, which names a base and modules to import.

    Args:
        source: a folder, or a name on the hub.

    Raises:
        ConfigError: it does; the text names the adapter's base, as far as it is known.
    """
    file = Path(source) / "adapter_config.json"
    if not file.is_file():
        return
    base = None
    with contextlib.suppress(OSError, UnreadableError):
        base = parse_mapping(read_text(file)).get("base_model_name_or_path")
    its = f" of {shown(base)}" if isinstance(base, str) and base else ""
    raise ConfigError(
        f"model.name_or_path={source} is an adapter{its}, not a model (adapter_config.json); give "
        "the model, or the folder in which scripts/export.py has merged the adapter into it"
    )


def require_plain(source: str, config: Any) -> None:
    """Refuse what would load more than the model's own architecture and weights.

    Args:
        source: a folder, or a name on the hub.
        config: transformers' configuration, as it was read there.

    Raises:
        ConfigError: it is an adapter, see :func:`require_no_adapter`; or it names kernels, which
            are compiled code from elsewhere.
    """
    require_no_adapter(source)
    for option in ("_attn_implementation", "_experts_implementation"):
        named = getattr(config, option, None)
        if named is not None and "/" in str(named):
            raise ConfigError(
                f"model.name_or_path={source} asks for {option.strip('_')}={named}, which is code "
                "from elsewhere; remove that from its config.json"
            )
