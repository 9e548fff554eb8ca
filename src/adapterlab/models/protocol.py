"""What a model says of itself, so that strategies, packs and runs can work with it.

`Adaptable` is the one place where that is written down, with what is taken where a model does not
say. A model derives from `ClassifierModel`, which gives these defaults; an `nn.Module` of its own
that names its head and its blocks will do as well, and is looked at through `adaptable`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, cast, runtime_checkable

from torch import Tensor, nn

from adapterlab.base.errors import ConfigError
from adapterlab.data.pixels import Pixels
from adapterlab.models.forward_passes import Passed

Aliases = Mapping[str, tuple[str, ...]]
"""Names of layers by short name."""


@runtime_checkable
class Adaptable(Protocol):
    """A classifier, from inputs to logits, that says what strategies need to know of it.

    Modules are named as in `named_modules`. All but the first two has a default.

    Attributes:
        head_modules: the modules that map features to the task's classes. Needed.
        blocks: the layers in the order of the forward pass; those before the head that
            `last_layers`, `layers` and frozen prefixes count in. Needed, and may be empty.
        block_passes: how often the blocks are computed, one after the other, with the same weights.
            1 by default.
        target_aliases: short names of layers (`query`), which come before patterns of the same
            text. None by default.
        is_chain: whether each layer takes only what the one before it gives, so that lanes of a
            pack may share rows up to any of them. A residual connection around a layer that a
            strategy trains or adapts breaks the chain. False by default.
        frozen_dropout: whether modules with frozen weights drop while others are trained. By
            default they do not: see `adapterlab.models.frozen`.
        input_names: what a batch of inputs holds by name (`input_ids`, `attention_mask`); empty
            by default: a batch is one tensor.
        pixels: what images the model was trained to see, which they are then brought to. None by
            default: it takes them in the data set's size, and normalised by the data set's figures.
        max_tokens: of the longest input; None by default: there is no limit.
        vocab_size: how many token ids the model knows, from 0; None by default: it takes none.
        hidden_states: returns, of inputs and a depth from 1, the output of that block, and computes
            nothing after it; the model then takes these `hidden_states` and their `depth` among
            its inputs. None by default: the model is always computed from its inputs.
        pad_with: takes the id of the token that texts are padded with, for a classifier that finds
            its place by it. None by default: the attention mask says where a text ends.
        token_types: whether it is told which text of a pair a token is of (`token_type_ids`).
            False by default.
        token_mask: holds the attention mask of the batch that is being computed, for modules inside
            that need to know where texts begin and end. None by default: there is none.
        reaches_head: whether a depth of one more than there are blocks is what the head takes, and
            nothing before it is trained then. False by default.
        embedding_modules: what stands before the blocks and has weights; counts where there are
            hidden states. Empty by default.
        architecture: what the hidden states depend on beside the weights, as JSON can hold it;
            None by default: they are not kept from one run to the next.
        attention_heads: of a block, for an estimate of memory; 0 by default: none.
        peft_root: the submodule whose names files in PEFT's format have; the model itself by
            default. None: no file in that format would fit a model that others have.
        name_or_path: where others find the base, for files in PEFT's format. None by default.
    """

    head_modules: tuple[str, ...]
    blocks: tuple[str, ...]
    block_passes: int = 1
    target_aliases: Aliases = MappingProxyType({})
    is_chain: bool = False
    frozen_dropout: bool = False
    input_names: tuple[str, ...] = ()
    pixels: Pixels | None = None
    max_tokens: int | None = None
    vocab_size: int | None = None
    hidden_states: Callable[[Any, int], Tensor] | None = None
    pad_with: Callable[[int], None] | None = None
    token_types: bool = False
    token_mask: Passed | None = None
    reaches_head: bool = False
    embedding_modules: tuple[str, ...] = ()
    architecture: Mapping[str, Any] | None = None
    attention_heads: int = 0
    peft_root: str | None = ""
    name_or_path: str | None = None


class ClassifierModel(nn.Module, Adaptable):
    """A model with the defaults of `Adaptable`; it sets `head_modules` and `blocks`."""


class _WithDefaults:
    """A module that names its head and blocks, with the defaults for all that it does not say."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        default = vars(Adaptable)
        return getattr(self._model, name, *((default[name],) if name in default else ()))


def counted_layers(model: nn.Module) -> str:
    """Say how many layers a model has before its head, and how often it computes shared ones."""
    said = adaptable(model)
    number = f"{len(said.blocks)} layer{'' if len(said.blocks) == 1 else 's'}"
    if said.block_passes == 1:
        return number
    return f"{number} whose weights are shared by {said.block_passes * len(said.blocks)}"


def adaptable(model: nn.Module) -> Adaptable:
    """Return what a model says of itself, with the defaults for the rest.

    Raises:
        ConfigError: it names no head or no blocks.
    """
    if not (hasattr(model, "head_modules") and hasattr(model, "blocks")):
        raise ConfigError(
            f"{type(model).__name__} cannot be adapted: it names no head_modules and blocks"
        )
    return model if isinstance(model, ClassifierModel) else cast(Adaptable, _WithDefaults(model))
