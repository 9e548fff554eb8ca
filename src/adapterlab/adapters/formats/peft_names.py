"""What PEFT calls the modules of a model."""

from collections.abc import Mapping

from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.errors import ConfigError
from adapterlab.models.protocol import adaptable


def relative(adapted: AdaptedModel, name: str) -> str:
    """Return a module's or tensor's name in the model that PEFT is given."""
    return name.removeprefix(f"{adaptable(adapted.model).peft_root}.")


def require_one_name(adapted: AdaptedModel, layers: Mapping[str, object]) -> None:
    """Refuse layers that a model has under several names: PEFT adapts them under the first alone.

    Raises:
        ConfigError: there are such.
    """
    for name, module in adapted.model.named_modules(remove_duplicate=False):
        first = next((known for known, layer in layers.items() if layer is module), name)
        if first != name:
            raise ConfigError(
                f"PEFT would adapt {first} and not {name}, which is the same layer; export the "
                "merged model instead"
            )


def require_unmistakable(
    adapted: AdaptedModel, layers: Mapping[str, object], targets: list[str], heads: list[str]
) -> None:
    """Refuse names that PEFT, which looks for them at the ends of names, would find elsewhere.

    Raises:
        ConfigError: PEFT would adapt a layer that is not adapted, or pass over one that is.
    """
    for name, module in adapted.model.named_modules():
        layer = name.removesuffix(".base")
        if layer in layers or not any(True for _ in module.parameters(recurse=False)):
            continue
        for target in targets:
            if relative(adapted, layer).endswith(f".{target}"):
                raise ConfigError(f"PEFT cannot adapt {target} without adapting {layer} as well")
    for target in targets:
        for head in heads:
            if f".{head}." in f".{target}.":
                raise ConfigError(f"PEFT would take {target} for a part of the head, {head}")
