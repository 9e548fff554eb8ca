"""Text classifiers from `transformers`, as modules that name their head, blocks and targets.

Everything is read off the module tree, so that an architecture needs no entry of its own: the body
is what `transformers` calls the base model, the head is what stands beside it, and the blocks are
the body's one list of layers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from adapterlab.base.errors import ConfigError
from adapterlab.models.forward_passes import Passed
from adapterlab.models.layouts import target_aliases
from adapterlab.models.protocol import ClassifierModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OF_THE_TASK = ("id2label", "label2id", "num_labels", "problem_type", "architectures")

_POSITIONS = ("position_embeddings", "embed_positions", "position_embedding", "wpe")
"""Names of embeddings of places, counted from the first token."""


class _Reached(Exception):  # noqa: N818  # no error: it ends a forward pass that has its result
    def __init__(self, output: object) -> None:
        self.output = output


class TransformerClassifier(ClassifierModel):
    """A sequence classifier of `transformers` as a function of its inputs to logits.

    Shapes: inputs, as the tokenizer names them, [batch, tokens] each -> logits [batch, classes].

    Where the inputs hold `hidden_states`, [batch, tokens, hidden], and their `depth`, they take the
    place of the embeddings' and the first blocks' output, which is not computed. Whether that is
    exact depends on the architecture: ALBERT calls one block many times.

    Args:
        model: an `AutoModelForSequenceClassification`.
        frozen_dropout: leave dropout on inside modules that are not trained in full, which
            otherwise stay in evaluation mode; see `adapterlab.models.frozen`.

    Attributes:
        head_modules: everything outside the base model that has weights. BERT's pooler belongs
            to the base model.
        blocks: the encoder's layers in the order of the forward pass.
        embedding_modules: what stands before them in the base model and has weights.
        target_aliases: names of layers by short name, see `models.layouts`; empty if the blocks are
            laid out in no known way.
        block_passes: how often the blocks are computed; above 1 where layers share weights.
        peft_root: the submodule that PEFT and `save_pretrained` know.
        max_tokens: tokens of the longest input that has a position; None without learned positions.
        vocab_size: token ids that the model has an embedding for, counted from 0.
        architecture: transformers' configuration, without what it says of the task.
        token_types: whether it is told which text of a pair a token is of.
        drawn: modules of the head that are not the checkpoint's.

    Raises:
        ConfigError: head or blocks cannot be told from the module tree.
    """

    peft_root: str | None = "model"
    input_names = ("input_ids", "attention_mask")
    drawn: tuple[str, ...] = ()
    token_mask: Passed

    def __init__(self, model: "PreTrainedModel", *, frozen_dropout: bool = False) -> None:
        super().__init__()
        self.model = model
        self.frozen_dropout = frozen_dropout
        body = body_name(model)
        self.head_modules = tuple(f"model.{name}" for name in head_names(model, body))
        self.blocks = tuple(f"model.{name}" for name in block_names(model, body))
        self.embedding_modules = tuple(f"model.{name}" for name in embedding_names(model, body))
        self.target_aliases = target_aliases(self, self.blocks)
        layers = getattr(model.config, "num_hidden_layers", None) or len(self.blocks)
        self.block_passes = max(1, layers // max(1, len(self.blocks)))
        self.max_tokens = longest_input(model)
        self.vocab_size = cast(nn.Embedding, model.get_input_embeddings()).num_embeddings
        self.architecture = architecture(model)
        self.token_types = takes_token_types(model)
        self.attention_heads = int(getattr(model.config, "num_attention_heads", 0))
        self.name_or_path = model.name_or_path
        self.token_mask = Passed()
        self._block_outputs: int | None = None
        self.train()  # `from_pretrained` returns models in evaluation mode

    def forward(self, inputs: Mapping[str, Any]) -> Tensor:
        """Return the logits.

        Raises:
            ConfigError: the inputs hold hidden states that these blocks cannot have given.
        """
        rest = dict(inputs)
        hidden, depth = rest.pop("hidden_states", None), rest.pop("depth", 0)
        self.token_mask.give(rest.get("attention_mask"))
        if hidden is None:
            return self.logits(rest)
        if self._block_outputs is None:
            with torch.no_grad():
                self.hidden_states({name: value[:1] for name, value in rest.items()}, 1)
        if not torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.to(self.model.dtype)  # what autocast gave may be narrower
        with self._given(hidden, self._blocks(depth)):
            return self.logits(rest)

    def logits(self, inputs: Mapping[str, Any]) -> Tensor:
        """Return the logits of the architecture's own head."""
        return cast(Tensor, self.model(**inputs, return_dict=True).logits)

    def hidden_states(self, inputs: Mapping[str, Tensor], depth: int) -> Tensor:
        """Return the output of block number `depth`, [batch, tokens, hidden].

        Nothing after it is computed.

        Args:
            inputs: as for the logits.
            depth: counted from 1.

        Raises:
            ConfigError: there is no such block, or it gives no hidden state for each token.
        """

        def stop(block: nn.Module, arguments: object, output: object) -> None:
            raise _Reached(output)

        hook = self._blocks(depth)[-1].register_forward_hook(stop)
        output: object = None
        try:
            self.model(**inputs, return_dict=True)
        except _Reached as reached:
            output = reached.output
        finally:
            hook.remove()
        hidden, *others = output if isinstance(output, tuple) else (output,)
        if (
            not isinstance(hidden, Tensor)
            or hidden.shape[:-1] != inputs[self.input_names[0]].shape
            or any(other is not None for other in others)
        ):
            raise ConfigError(
                f"{type(self.model).__name__}: {self.blocks[depth - 1]} should give one hidden "
                "state for each token, and nothing else"
            )
        self._block_outputs = len(output) if isinstance(output, tuple) else 0
        return hidden

    def pad_with(self, token_id: int) -> None:
        """Take the tokenizer's padding token, by which decoders' classifiers find the last one."""
        text_config = self.model.config.get_text_config()
        if text_config.pad_token_id != token_id:
            text_config.pad_token_id = token_id
            self.architecture = {**(self.architecture or {}), **architecture(self.model)}

    def _blocks(self, depth: int) -> list[nn.Module]:
        if not 1 <= depth <= len(self.blocks):
            raise ConfigError(f"depth is {depth}; allowed: 1 to {len(self.blocks)}")
        return [self.get_submodule(name) for name in self.blocks[:depth]]

    @contextmanager
    def _given(self, hidden: Tensor, blocks: list[nn.Module]) -> Iterator[None]:
        """Let embeddings and these blocks give `hidden`, whatever they are called with."""

        def giving(output: object) -> Callable[..., object]:
            return lambda *args, **kwargs: output

        size = self._block_outputs or 0
        embeddings = [self.get_submodule(name) for name in self.embedding_modules]
        forwards = dict.fromkeys(embeddings, giving(hidden)) | dict.fromkeys(
            blocks, giving((hidden, *(None,) * (size - 1)) if size else hidden)
        )
        # An attribute of the instance goes before the class's method, and hooks still run.
        before = {m: vars(m)["forward"] for m in forwards if "forward" in vars(m)}
        try:
            for module, forward in forwards.items():
                vars(module)["forward"] = forward
            yield
        finally:
            for module in forwards:
                del vars(module)["forward"]
            for module, forward in before.items():
                vars(module)["forward"] = forward


def body_name(model: "PreTrainedModel") -> str:
    """Return the name of the base model inside a classifier.

    Raises:
        ConfigError: it has none.
    """
    name = model.base_model_prefix
    if not name or not isinstance(getattr(model, name, None), nn.Module):
        raise ConfigError(f"{type(model).__name__} cannot be adapted: it has no base model inside")
    return name


def head_names(model: "PreTrainedModel", body: str) -> tuple[str, ...]:
    """Return the modules with weights that stand beside the base model.

    Raises:
        ConfigError: there are none.
    """
    names = tuple(
        name
        for name, module in model.named_children()
        if name != body and any(True for _ in module.parameters())
    )
    if not names:
        raise ConfigError(
            f"{type(model).__name__} cannot be adapted: no module outside {body} could be its head"
        )
    return names


def block_names(model: "PreTrainedModel", body: str) -> tuple[str, ...]:
    """Return the layers of the base model, which it must hold in a single list.

    Raises:
        ConfigError: the base model has no list of modules, or several that are not nested.
    """
    lists: dict[str, nn.ModuleList] = {}
    for name, module in model.get_submodule(body).named_modules(prefix=body):
        nested = any(name.startswith(f"{outer}.") for outer in lists)
        if isinstance(module, nn.ModuleList) and not nested:
            lists[name] = module
    if len(lists) != 1:
        raise ConfigError(
            f"{type(model).__name__} cannot be adapted: {body} should have one list of layers, "
            f"it has {len(lists)}{': ' if lists else ''}{', '.join(lists)}"
        )
    ((name, layers),) = lists.items()
    return tuple(f"{name}.{index}" for index in range(len(layers)))


def embedding_names(model: "PreTrainedModel", body: str) -> tuple[str, ...]:
    """Return the base model's own modules with weights ahead of the one that holds the blocks.

    OPT lists its last norm there, which it computes after them.

    Raises:
        ConfigError: there is no single list of blocks.
    """
    path = block_names(model, body)[0].split(".")[:-1]
    for depth in range(1, len(path)):
        holder = ".".join(path[:depth])
        children = model.get_submodule(holder).named_children()
        before = takewhile(lambda child: child[0] != path[depth], children)  # noqa: B023
        found = [
            name
            for name, module in before
            if not name.startswith("final_") and any(True for _ in module.parameters())
        ]
        if found:
            return tuple(f"{holder}.{name}" for name in found)
    return ()


def longest_input(model: "PreTrainedModel") -> int | None:
    """Return the tokens of the longest input, by embeddings and configuration; None if any."""
    found = [
        module.num_embeddings - _reserved(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
        and name.endswith(_POSITIONS)
        and not hasattr(module, "make_weights")  # sines, which are made as far as they are needed
    ]
    # A model of relative or rotary positions names a length that it was trained for, no limit.
    return min(found, default=None)


def _reserved(positions: nn.Embedding) -> int:
    """Return the rows of no token: OPT counts from 2, RoBERTa from the one after padding's."""
    offset: int = getattr(positions, "offset", 0)
    return offset or (0 if positions.padding_idx is None else positions.padding_idx + 1)


def architecture(model: "PreTrainedModel") -> dict[str, Any]:
    """Return the model's configuration without what it says of the task, or of where it is from."""
    config: dict[str, Any] = model.config.to_dict()
    return {k: v for k, v in config.items() if k not in _OF_THE_TASK and not k.startswith("_")}


def takes_token_types(model: "PreTrainedModel") -> bool:
    """Say whether a model has embeddings for the two texts of a pair."""
    named = "token_type_ids" in signature(model.forward).parameters
    return named and getattr(model.config, "type_vocab_size", 2) != 1
