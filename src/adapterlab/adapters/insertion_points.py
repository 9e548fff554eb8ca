"""Where in a model's blocks modules are put in: at attention, at feed-forward layers, at blocks.

Read off the short names that a model declares (`target_aliases`): `out`, what follows attention,
and `ffn` or `mlp`, the feed-forward layers.
"""

from collections.abc import Sequence
from typing import NoReturn

from torch import nn

from adapterlab.adapters.targets import Layers, aliases_of, select_blocks
from adapterlab.adapters.weights import is_linear, sizes
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError
from adapterlab.models.protocol import adaptable, counted_layers

WITH_ATTENTION = (
    "bert_base, bert_tiny, deit, dinov2, distilbert, minilm, roberta_base, swin, vit, vit_tiny, "
    "and most of hf, hf_image and timm"
)
"""Models of conf/model that have attention and feed-forward layers by known names."""

_FEED_FORWARD = ("ffn", "mlp")


def attention_outputs(model: nn.Module) -> list[str]:
    """Return the layers that attention ends with, in forward order; none if none are known."""
    return _in_order(model, aliases_of(model).get("out", ()))


def feed_forwards(model: nn.Module) -> list[tuple[str, str]]:
    """Return the first and the last layer of each feed-forward network, in forward order.

    Of gated ones, the first is one of those that read the input.
    """
    aliases = aliases_of(model)
    names = [name for short in _FEED_FORWARD for name in aliases.get(short, ())]
    found: list[tuple[str, str]] = []
    in_blocks = [
        [name for name in _in_order(model, names) if within(name, (block,))]
        for block in adaptable(model).blocks
    ]
    for own in in_blocks:
        while own:
            end = len(own) if len(own) <= 3 else _end(model, own)
            found += [(own[0], own[end - 1])] if end > 1 else []
            own = own[end:]
    return found


def attentions(model: nn.Module) -> dict[str, int]:
    """Return the modules that compute attention and how wide their keys are, in forward order."""
    aliases = aliases_of(model)
    found = {}
    for short, parts in (("key", 1), ("qkv", 3)):
        for name in _in_order(model, aliases.get(short, ())):
            width = sizes(model.get_submodule(name))[1] // parts
            found[name.rpartition(".")[0]] = width
    return found


def chain(model: nn.Module) -> list[str]:
    """Return the blocks of a chain that are linear layers, as those of an MLP are."""
    said = adaptable(model)
    linear = [name for name in said.blocks if is_linear(model.get_submodule(name))]
    return linear if said.is_chain else []


def within_blocks(model: nn.Module, names: Sequence[str], layers: Layers) -> list[str]:
    """Return the names that are in the blocks that `layers` stands for.

    Raises:
        ConfigError: there are no such blocks.
    """
    blocks = select_blocks(layers, adaptable(model).blocks, counted_layers(model))
    return list(names) if layers == "all" else [name for name in names if within(name, blocks)]


def refuse(method: str, lacks: str, have: str = WITH_ATTENTION) -> NoReturn:
    """Refuse a method on a model that has no place for it.

    Args:
        method: option and value, ``adapter.placement=houlsby``.
        lacks: what it needs and the model has not.
        have: the models that have it.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(f"{method} needs {lacks}, and this model has none; models with: {have}")


def _in_order(model: nn.Module, names: Sequence[str]) -> list[str]:
    wanted = set(names)
    return [name for name, _ in model.named_modules() if name in wanted]


def _end(model: nn.Module, names: Sequence[str]) -> int:
    """Return how many of the layers are the first network: up to one that gives its inputs back."""
    width = sizes(model.get_submodule(names[0]))[0]
    for index, name in enumerate(names[1:], start=1):
        if sizes(model.get_submodule(name))[1] == width:
            return index + 1
    return len(names)
