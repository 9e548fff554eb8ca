"""Any `nn.Module` as a model: a few lines in a package of one's own say what it is."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.models.protocol import Aliases, ClassifierModel
from adapterlab.models.seeded_init import drawing_from


class WrappedModel(ClassifierModel):
    """A classifier whose network is a module from elsewhere, `model`; made by `wrapped`."""

    peft_root = "model"

    def __init__(self, model: nn.Module, head: Sequence[str], blocks: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.head_modules, self.blocks = _inside(head), _inside(blocks)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        logits: Tensor = self.model(inputs)
        return logits


def wrapped(
    make: Callable[[], nn.Module],
    *,
    head: str | Sequence[str],
    blocks: Sequence[str],
    generator: torch.Generator | None,
    weights: Callable[[], Mapping[str, Tensor]] | None = None,
    target_aliases: Aliases | None = None,
    is_chain: bool = False,
    frozen_dropout: bool = False,
) -> ClassifierModel:
    """Return a module as a model that every strategy adapts.

    Modules are named as in `make().named_modules()`, and get the prefix ``model.`` here.

    Args:
        make: makes the module, from a batch of inputs to logits.
        head: the modules that map features to classes.
        blocks: the layers in the order of the forward pass.
        generator: CPU generator of every draw in `make`; torch's default one when None.
        weights: returns a state dict of pretrained weights. All but the head's are loaded, and
            nothing under `torch.device("meta")`, where a model has no weights.
        target_aliases: names of layers by short name.
        is_chain: see `Adaptable`.
        frozen_dropout: see `Adaptable`.

    Raises:
        ConfigError: there is no such module.
        CheckpointError: the weights are not this module's.
    """
    with drawing_from(generator):
        module = make()
    heads = (head,) if isinstance(head, str) else tuple(head)
    aliases = {short: tuple(names) for short, names in (target_aliases or {}).items()}
    for what, names in {"head": heads, "blocks": blocks, **aliases}.items():
        _require_modules(module, what, names)
    if not heads:
        raise ConfigError(f"{type(module).__name__}: head names no module")
    if weights is not None and not torch.empty(0).is_meta:
        _load(module, weights(), heads)
    model = WrappedModel(module, heads, blocks)
    model.target_aliases = {short: _inside(names) for short, names in aliases.items()}
    model.is_chain, model.frozen_dropout = is_chain, frozen_dropout
    return model.train()


def _inside(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"model.{name}" for name in names)


def _require_modules(module: nn.Module, what: str, names: Sequence[str]) -> None:
    known = [name for name, _ in module.named_modules() if name]
    for name in names:
        if name not in known:
            beside = [one for one in known if one.count(".") <= name.count(".")]
            raise ConfigError(
                f"{type(module).__name__}: {what} names {name!r}, and there is no such module; "
                f"modules: {', '.join(beside)}"
            )


def _load(module: nn.Module, weights: Mapping[str, Tensor], heads: tuple[str, ...]) -> None:
    own = module.state_dict()
    body = [name for name in own if not name.startswith(tuple(f"{head}." for head in heads))]
    for name in body:
        if name not in weights or weights[name].shape != own[name].shape:
            what = "of another shape" if name in weights else "missing"
            raise CheckpointError(f"{type(module).__name__}: {name} is {what} in its weights")
    module.load_state_dict({name: weights[name] for name in body}, strict=False)
