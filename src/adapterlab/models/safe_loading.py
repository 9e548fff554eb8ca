"""Safe loading of a model's folder or repository: no code of its own, no pickles, no adapter."""

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
    its = shown(base) if isinstance(base, str) and base else None
    raise ConfigError(
        f"model.name_or_path={source} is an adapter{f' of {its}' if its else ''}, not a model "
        f"(adapter_config.json); set model.name_or_path={its or 'MODEL'} base=peft "
        f"base.path={source}, or give the folder in which scripts/export.py has merged it"
    )


def require_no_run(source: str) -> None:
    """Refuse the folder of a run, which holds what was trained and not the model.

    Args:
        source: a folder, or a name on the hub.

    Raises:
        ConfigError: it is one.
    """
    folder = Path(source)
    if (folder / "config.json").exists() or not (folder / "provenance.json").is_file():
        return
    merged = f"export it (scripts/export.py run={source} to=FOLDER) and give that folder"
    adapter = folder / "peft"
    further = f", or set base=peft base.path={adapter}" if adapter.is_dir() else ""
    raise ConfigError(f"model.name_or_path={source} is a run, not a model; {merged}{further}")


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
