"""Image classifiers from `transformers` and `timm`, as modules that name head, blocks and targets.

As for texts, everything is read off the module tree: the body is what `transformers` calls the base
model, the head is what stands beside it, the blocks are the body's one list of layers, of stages in
networks that have some.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError
from adapterlab.data.pixels import Pixels
from adapterlab.models.forward_passes import Reached, giving
from adapterlab.models.protocol import Aliases, ClassifierModel
from adapterlab.models.transformer import architecture, head_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ATTENTION = ("attention", "attn", "self_attn", "self_attention")
_MLP = ("mlp", "ffn", "feed_forward", "intermediate", "output", "pwconv1", "pwconv2", "fc1", "fc2")
_PARTS = {
    "query": ("q_proj", "query", "q"),
    "key": ("k_proj", "key", "k"),
    "value": ("v_proj", "value", "v"),
    "out": ("o_proj", "out_proj", "proj"),
}


_UNKNOWN = 32
"""Height and width of stand-ins for images, where none has been seen yet."""


class VisionClassifier(ClassifierModel):
    """A network from a batch of images to logits, whose frozen part can be computed beforehand.

    Shapes: images [batch, channels, height, width] -> logits [batch, classes]. Instead of images,
    a mapping with `hidden_states` and their `depth`: what the first blocks gave, see
    `hidden_states`, which is not computed again.

    Args:
        model: gives logits, itself or as an attribute of its output.
        head: its modules from features to classes.
        blocks: its layers, or stages, in the order of the forward pass.
        stem: what has weights and stands before the blocks.
        pixels: what images it takes; None for those of the data set.
        options: of every call.
        architecture: see `Adaptable`.

    Attributes:
        drawn: modules of the head that are not the checkpoint's.
        target_aliases: short names of layers of the body, those that there are: attention, and
            in it query, key, value, out; mlp; conv, and of these pointwise (1x1) and depthwise.
    """

    peft_root = "model"
    drawn: tuple[str, ...] = ()

    def __init__(
        self,
        model: nn.Module,
        *,
        head: Sequence[str],
        blocks: Sequence[str],
        stem: Sequence[str] = (),
        pixels: Pixels | None,
        options: Mapping[str, Any] | None = None,
        architecture: Mapping[str, Any] | None = None,
        name_or_path: str | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.options = dict(options or {})
        self.head_modules = tuple(f"model.{name}" for name in head)
        self.blocks = tuple(f"model.{name}" for name in blocks)
        self.embedding_modules = tuple(f"model.{name}" for name in stem)
        self.target_aliases = target_aliases(self, self.head_modules)
        self.pixels, self.architecture, self.name_or_path = pixels, architecture, name_or_path
        self.reaches_head = len(self.head_modules) == 1
        self._seen = (pixels or Pixels()).shape((3, _UNKNOWN, _UNKNOWN))
        self.train()

    def forward(self, inputs: Tensor | Mapping[str, Any]) -> Tensor:
        """Return the logits."""
        if not isinstance(inputs, Mapping):
            return self._logits(inputs)
        hidden, depth = inputs["hidden_states"], inputs["depth"]
        if not torch.is_autocast_enabled(hidden.device.type):  # what it gave may be narrower
            hidden = hidden.to(next(self.parameters()).dtype)
        if hidden.ndim == 4:
            hidden = hidden.contiguous(memory_format=torch.channels_last)
        if depth > len(self.blocks):
            return cast(Tensor, self.get_submodule(self.head_modules[0])(hidden))
        names = (*self.embedding_modules, *self.blocks[:depth])
        with ExitStack() as given:
            for name in names:
                given.enter_context(giving(self.get_submodule(name), hidden))
            # What has no weights may stand before the blocks, and takes images of some size.
            return self._logits(hidden.new_zeros(len(hidden), *self._seen))

    def hidden_states(self, inputs: Tensor, depth: int) -> Tensor:
        """Return the output of block number `depth`, or what the head takes; nothing after it.

        Args:
            inputs: images.
            depth: counted from 1; one more than there are blocks is the head's input.

        Raises:
            ConfigError: there is no such block, or it gives something else than one tensor.
        """
        if not 1 <= depth <= len(self.blocks) + self.reaches_head:
            most = len(self.blocks) + self.reaches_head
            raise ConfigError(f"depth is {depth}; allowed: 1 to {most}")
        self._seen = cast(tuple[int, int, int], tuple(inputs.shape[1:]))
        at_head = depth > len(self.blocks)
        name = self.head_modules[0] if at_head else self.blocks[depth - 1]

        def stop_before(module: nn.Module, arguments: tuple[object, ...]) -> None:
            raise Reached(arguments[0] if len(arguments) == 1 else arguments)

        def stop_after(module: nn.Module, arguments: object, output: object) -> None:
            raise Reached(output)

        module = self.get_submodule(name)
        hook = (
            module.register_forward_pre_hook(stop_before)
            if at_head
            else module.register_forward_hook(stop_after)
        )
        found: object = None
        try:
            self._logits(inputs)
        except Reached as reached:
            found = reached.output
        finally:
            hook.remove()
        if not isinstance(found, Tensor) or len(found) != len(inputs):
            what = "take" if at_head else "give"
            raise ConfigError(f"{type(self.model).__name__}: {name} should {what} one tensor")
        return found

    def _logits(self, images: Tensor) -> Tensor:
        # Convolutions on a CPU are a third faster so, and their outputs stay so.
        images = images.contiguous(memory_format=torch.channels_last)
        output = self.model(images, **self.options)
        return cast(Tensor, output if isinstance(output, Tensor) else output.logits)


def from_transformers(
    model: "PreTrainedModel", pixels: Pixels | None, options: Mapping[str, Any]
) -> VisionClassifier:
    """Return an image classifier of transformers as one that strategies adapt.

    Raises:
        ConfigError: head and body cannot be told from the module tree.
    """
    body = body_name(model)
    head = head_names(model, body)
    blocks = block_names(model.get_submodule(body), body)
    return VisionClassifier(
        model,
        head=head,
        blocks=blocks,
        stem=stem_names(model.get_submodule(body), body, blocks),
        pixels=pixels,
        options=options,
        architecture=architecture(model),
        name_or_path=model.name_or_path,
    )


def body_name(model: "PreTrainedModel") -> str:
    """Return the name of the base model inside a classifier: what is called so, or the largest.

    Raises:
        ConfigError: it has no module with weights inside.
    """
    prefix = model.base_model_prefix
    if prefix and isinstance(getattr(model, prefix, None), nn.Module):
        return prefix
    sizes = {n: sum(p.numel() for p in m.parameters()) for n, m in model.named_children()}
    if not any(sizes.values()):
        raise ConfigError(f"{type(model).__name__} cannot be adapted: it has no base model inside")
    return max(sizes, key=lambda name: sizes[name])


def block_names(body: nn.Module, prefix: str) -> tuple[str, ...]:
    """Return the layers of a body: of its one outermost list of modules.

    Nothing where it has several: what is last of them cannot be told.
    """
    lists: dict[str, nn.Module] = {}
    for name, module in body.named_modules(prefix=prefix):
        nested = any(name.startswith(f"{outer}.") for outer in lists)
        if isinstance(module, nn.ModuleList) and len(module) and not nested:
            lists[name] = module
    if len(lists) != 1:
        return ()
    ((name, layers),) = lists.items()
    return tuple(f"{name}.{child}" for child, _ in layers.named_children())


def stem_names(body: nn.Module, prefix: str, blocks: Sequence[str]) -> tuple[str, ...]:
    """Return the body's own modules with weights ahead of the one that holds the blocks."""
    if not blocks:
        return ()
    holder = blocks[0].removeprefix(f"{prefix}." if prefix else "").partition(".")[0]
    found = []
    for name, module in body.named_children():
        if name == holder:
            break
        if any(True for _ in module.parameters()):
            found.append(f"{prefix}.{name}" if prefix else name)
    return tuple(found)


def target_aliases(model: nn.Module, heads: Sequence[str]) -> Aliases:
    """Return the names of layers outside the head by short name, those that match any."""
    kinds: dict[str, Callable[[str, nn.Module], bool]] = {
        "attention": lambda name, layer: _in(name, _ATTENTION) and _is_linear(layer),
        **{short: _part(ends) for short, ends in _PARTS.items()},
        "mlp": lambda name, layer: (
            _in(name, _MLP) and not _in(name, _ATTENTION) and _is_linear(layer)
        ),
        "conv": lambda name, layer: isinstance(layer, nn.Conv2d),
        "pointwise": lambda name, layer: (
            isinstance(layer, nn.Conv2d)
            and layer.groups == 1
            and tuple(layer.kernel_size) == (1, 1)
        ),
        "depthwise": lambda name, layer: isinstance(layer, nn.Conv2d) and layer.groups > 1,
    }
    body = {
        name: module for name, module in model.named_modules() if not within(name, tuple(heads))
    }
    found = {
        short: tuple(name for name, module in body.items() if belongs(name, module))
        for short, belongs in kinds.items()
    }
    return {short: names for short, names in found.items() if names}


def _in(name: str, parts: Sequence[str]) -> bool:
    return not set(parts).isdisjoint(name.split("."))


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) and not isinstance(layer, NonDynamicallyQuantizableLinear)


def _part(ends: Sequence[str]) -> Callable[[str, nn.Module], bool]:
    def belongs(name: str, layer: nn.Module) -> bool:
        inside = _in(name, _ATTENTION) and name.rpartition(".")[2] in ends
        return inside and _is_linear(layer)

    return belongs


def require_size(model: VisionClassifier, asked: int) -> None:
    """Refuse a size of images that a model cannot take, before anything is read.

    Args:
        model: on the meta device.
        asked: the option's value.

    Raises:
        ConfigError: it cannot.
    """
    pixels = model.pixels
    assert pixels is not None
    images = torch.empty(1, *pixels.shape((pixels.channels, asked, asked)), device="meta")
    try:
        with torch.no_grad():
            model.eval()(images)
    except Exception as error:  # whatever a model does with what it does not take
        said = str(error).partition("\n")[0]
        raise ConfigError(
            f"model.image_size={asked}: the model does not take it ({said})"
        ) from None
    finally:
        model.train()
