"""A PEFT adapter as part of a base: merged into the weights that it was trained over."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adapterlab.adapters.factors import Init
from adapterlab.adapters.formats.low_rank import by_regex, not_peft
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.peft_files import CONFIG, read_config, read_weights
from adapterlab.adapters.methods.dora import DoRA, DoRAConv, DoRALinear
from adapterlab.adapters.methods.lora import LoRA, LoRAConv, LoRALinear
from adapterlab.adapters.strategy import hash_weights
from adapterlab.adapters.weights import is_convolution, is_linear, sizes
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import CheckpointError
from adapterlab.base.reading import UnreadableError, parse_json
from adapterlab.models.protocol import adaptable

_PREFIX = "base_model.model."
_FACTOR = re.compile(r"(.+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.weight)?")
_MADE_AGAIN: dict[str, Init] = {"pissa": "pissa", "olora": "olora"}
"""First updates that PEFT takes out of the base, and that are made here again from that."""


def require_mergeable_peft(folder: Path) -> dict[str, Any]:
    """Return PEFT's options of an adapter that `merge_peft` takes.

    Raises:
        CheckpointError: the folder holds none, or one that computes what there is no counterpart
            for here.
    """
    config = read_config(folder)
    first = config.get("init_lora_weights")
    taken = {**config, "bias": "none"}  # trained biases are tensors like any other
    if isinstance(first, str) and first in _MADE_AGAIN:
        taken["init_lora_weights"] = True
    method = METHODS[DoRA if config.get("use_dora") else LoRA]
    return method.understood(taken, folder / CONFIG) | {"init_lora_weights": first}


def classes_of_peft(folder: Path) -> tuple[str, ...] | None:
    """Return the classes of an adapter's head; None where the file does not say, or has no head."""
    _, metadata = read_weights(folder)
    try:
        names = parse_json(metadata.get("classes", "null"))
    except UnreadableError:
        return None
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list else None


def head_outputs(model: nn.Module, folder: Path) -> int | None:
    """Return of how many classes the head in an adapter's file is; None if it has no whole one."""
    found = _whole(model, read_weights(folder)[0])
    heads = adaptable(model).head_modules
    own = [name for name in model.state_dict() if within(name, heads)]
    if not own or not set(own) <= found.keys():
        return None
    return len(found[own[-1]])


@torch.no_grad()
def merge_peft(model: nn.Module, folder: Path) -> None:
    """Merge a PEFT adapter into a model in place: LoRA or DoRA, of any ranks, on any layers.

    With it go what PEFT saves whole (`modules_to_save`, such as a head) and trained biases. PiSSA
    and OLoRA that PEFT has not converted are taken too: their first update is made again.

    Args:
        model: with the weights that the adapter was trained over, and as many classes as its head.
        folder: of the adapter.

    Raises:
        CheckpointError: a file is missing or damaged, belongs to another model or to other
            weights, or computes what there is no counterpart for here.
    """
    config = require_mergeable_peft(folder)
    tensors, metadata = read_weights(folder)
    whole, factors = _whole(model, tensors), _factors(model, tensors)
    _require_same_base(model, whole, metadata, folder)
    _require_shapes(model, whole, folder)
    made = {name: _layer(model, name, of, config, folder) for name, of in factors.items()}
    for name, layer in made.items():
        model.get_submodule(name).load_state_dict(layer.merged().state_dict())
    take_whole(model, whole)


def take_whole(model: nn.Module, whole: Mapping[str, Tensor]) -> None:
    """Put what an adapter's file has as it is into a model, by our names."""
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in whole.items():
            own[name].copy_(tensor)


@torch.no_grad()
def parts_of_peft(
    model: nn.Module, folder: Path
) -> tuple[dict[str, LoRALinear], dict[str, Tensor]]:
    """Return an adapter's updates as layers around those of a model, and what it saves whole.

    Args:
        model: of the adapter's architecture; it may be on the meta device. It is left as it is.
        folder: of the adapter.

    Raises:
        CheckpointError: as of `merge_peft`, but for its base, which is not looked at.
    """
    config = require_mergeable_peft(folder)
    tensors, _ = read_weights(folder)
    whole, factors = _whole(model, tensors), _factors(model, tensors)
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    heads = adaptable(model).head_modules
    body = {name: tensor for name, tensor in whole.items() if not within(name, heads)}
    _require_shapes(model, body, folder)  # a head may be of other classes
    found = {name: _layer(model, name, of, config, folder) for name, of in factors.items()}
    return {name: found[name] for name in sorted(found, key=order.__getitem__)}, whole


def _require_shapes(model: nn.Module, whole: Mapping[str, Tensor], folder: Path) -> None:
    """Refuse tensors that are not a model's.

    Raises:
        CheckpointError: there are such.
    """
    own = model.state_dict()
    for name, tensor in whole.items():
        if name not in own or own[name].shape != tensor.shape:
            there = list(own[name].shape) if name in own else "nothing"
            raise CheckpointError(
                f"{folder} does not fit {type(model).__name__}: {name} is {list(tensor.shape)} in "
                f"the file and {there} in the model"
            )


def whole_of_peft(model: nn.Module, folder: Path) -> dict[str, Tensor]:
    """Return what an adapter's file has as it is, by our names.

    Raises:
        CheckpointError: a file is damaged, or belongs to other weights than the model's.
    """
    tensors, metadata = read_weights(folder)
    whole = _whole(model, tensors)
    _require_same_base(model, whole, metadata, folder)
    _require_shapes(model, whole, folder)
    return whole


def _ours(model: nn.Module, theirs: str) -> str:
    """Return our name of what PEFT has under a name."""
    root = adaptable(model).peft_root
    name = theirs.removeprefix(_PREFIX)
    for inside in (".base_layer.", ".modules_to_save."):
        name = name.replace(inside, ".")
    return f"{root}.{name}" if root else name


def _whole(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what is saved as it is, by our names."""
    others = {
        name: tensor
        for name, tensor in tensors.items()
        # With bias=all, PEFT saves those as well that the modules saved whole have replaced.
        if not _FACTOR.fullmatch(name) and ".original_module." not in name
    }
    return {_ours(model, name): tensor for name, tensor in others.items()}


def _factors(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the parts of updates by layer."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if part := _FACTOR.fullmatch(name):
            found.setdefault(_ours(model, part[1]), {})[part[2]] = tensor
    return found


def _layer(
    model: nn.Module, name: str, factors: dict[str, Tensor], config: dict[str, Any], folder: Path
) -> LoRALinear:
    """Return a layer of the model under the update that the file has for it."""
    modules = dict(model.named_modules())
    base = modules.get(name)
    if base is None or not (is_linear(base) or is_convolution(base)):
        raise CheckpointError(
            f"{folder} does not fit {type(model).__name__}: it adapts {name}, which is no linear "
            "layer and no convolution of this model"
        )
    if other := not_peft(base):
        raise CheckpointError(
            f"{folder}: PEFT's update of {name}, a convolution with {other}, is not ours"
        )
    dora = bool(config.get("use_dora"))
    wanted = {"lora_A", "lora_B", *(("lora_magnitude_vector",) if dora else ())}
    if factors.keys() != wanted:
        odd = sorted(factors.keys() ^ wanted)[0]
        raise CheckpointError(f"{folder}: of {name} the file has {odd} alone, or lacks it")
    A, B = factors["lora_A"], factors["lora_B"]
    (d_in, d_out), rank = sizes(base), len(A)
    if not rank or A.flatten(1).shape[1] != d_in or B.flatten(1).shape != (d_out, rank):
        raise CheckpointError(
            f"{folder} does not fit {type(model).__name__}: the update of {name} is "
            f"{list(B.shape)} times {list(A.shape)}, its weight [{d_out}, {d_in}]"
        )
    root = math.sqrt(rank) if config.get("use_rslora") else rank
    relative = name.removeprefix(f"{adaptable(model).peft_root}.")
    alpha = by_regex(config["lora_alpha"], config.get("alpha_pattern"), relative)
    if not 0 < alpha < math.inf:
        raise CheckpointError(f"{folder}: lora_alpha={alpha:g} of {name} should be above 0")
    kinds = (DoRALinear, DoRAConv) if dora else (LoRALinear, LoRAConv)
    layer = kinds[is_convolution(base)](
        base,
        rank=rank,
        alpha=alpha / root,
        scaling="alpha",
        init=_MADE_AGAIN.get(str(config.get("init_lora_weights")), "kaiming"),
    )
    layer.lora_A.copy_(A.view_as(layer.lora_A))
    layer.lora_B.copy_(B.view_as(layer.lora_B))
    if isinstance(layer, DoRALinear):
        layer.magnitude.copy_(factors["lora_magnitude_vector"].view_as(layer.magnitude))
    return layer


def _require_same_base(
    model: nn.Module, whole: Mapping[str, Tensor], metadata: Mapping[str, str], folder: Path
) -> None:
    """Refuse an adapter that this program has written over other weights."""
    theirs = metadata.get("base_sha256")
    heads = adaptable(model).head_modules
    brings_head = any(within(name, heads) for name in whole)
    own = hash_weights(model, without=heads if brings_head else ())
    if theirs and theirs not in (own, hash_weights(model)):
        raise CheckpointError(
            f"{folder} belongs to other base weights: it was trained over {theirs[:12]}, this "
            f"model has {own[:12]}"
        )
