"""Names in an adapted model as they were in its base, whose blocks and layers go by these."""

from torch import nn

from adapterlab.adapters.strategy import AdapterLayer


def wrapped_modules(model: nn.Module) -> set[str]:
    """Return the names of what adapters are around, which are those of the adapters now."""
    return {name for name, module in model.named_modules() if isinstance(module, AdapterLayer)}


def base_name(name: str, wrapped: set[str]) -> str:
    """Return a name as it was before the model was adapted.

    Args:
        name: of a parameter, buffer or module.
        wrapped: see `wrapped_modules`.
    """
    found: list[str] = []
    above = ""
    for part in name.split("."):
        if not (part == "base" and above in wrapped):
            found.append(part)
        above = f"{above}.{part}".lstrip(".")
    return ".".join(found)
