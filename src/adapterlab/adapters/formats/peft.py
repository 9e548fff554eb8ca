"""PEFT's adapter format: what is trained here loads there, and the other way round.

PEFT (https://github.com/huggingface/peft) keeps a folder of two files: `adapter_config.json`, and
`adapter_model.safetensors`, where a layer `encoder.query` under LoRA or DoRA and a head
`classifier` that is trained in full are

    base_model.model.encoder.query.lora_A.weight             [rank, d_in]     ours: lora_A
    base_model.model.encoder.query.lora_B.weight             [d_out, rank]    ours: lora_B
    base_model.model.encoder.query.lora_magnitude_vector     [d_out]          ours: magnitude
    base_model.model.classifier.weight                                        ours: the same

Names are relative to the model that PEFT is given. A model that wraps it says where it is by an
`peft_root`, see `adapterlab.models.protocol`. How a method is written is said in the method's own
file, by its entry in `METHODS`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from adapterlab.adapters.formats.peft_card import peft_card
from adapterlab.adapters.formats.peft_files import CONFIG, WEIGHTS, read_config, read_weights
from adapterlab.adapters.formats.peft_names import relative, require_one_name, require_unmistakable
from adapterlab.adapters.strategy import AdaptedModel, Strategy
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.base.files import write_json, write_tensors, write_text
from adapterlab.models.protocol import adaptable

CARD = "README.md"


@dataclass(frozen=True)
class PeftMethod(ABC):
    """How PEFT writes a strategy.

    Attributes:
        layer: the strategy's adapter layers, or what `layers_of` finds instead.
        names: PEFT's names of a layer's parameters, by ours.
        frozen: names of a layer's frozen state that the file has otherwise, or does without.
        root: of the names in a file.
    """

    root: ClassVar[str] = "base_model.model."
    layer: type[nn.Module]
    names: Mapping[str, str]
    frozen: tuple[str, ...] = field(default=(), kw_only=True)

    def layers_of(self, adapted: AdaptedModel) -> dict[str, nn.Module]:
        """Return the layers of the strategy by their name in the model."""
        modules = adapted.model.named_modules()
        return {name: module for name, module in modules if isinstance(module, self.layer)}

    @abstractmethod
    def lacking(self, strategy: Any) -> str | None:
        """Say in words what PEFT lacks of a strategy of this kind; None if nothing."""

    @abstractmethod
    def config(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the method's own part of `adapter_config.json`, for adapted layers by name."""

    def written(self, layer: nn.Module, name: str, tensor: Tensor) -> Tensor:
        """Return what a file has of a layer's tensor, as it is or with frozen state."""
        return tensor

    def taken(self, layer: nn.Module, name: str, tensor: Tensor) -> dict[str, Tensor]:
        """Return what a layer takes, by our names, of what `written` gave for one."""
        return {name: tensor}

    def require_fit(  # noqa: B027  # most have nothing to refuse
        self, layer: nn.Module, tensors: Mapping[str, Tensor], what: str
    ) -> None:
        """Refuse tensors beside which a layer computes something else than PEFT.

        Args:
            layer: of the model.
            tensors: of the file, for the layer, by our names.
            what: the file and the layer, for people.

        Raises:
            CheckpointError: they are such.
        """

    def beside(self, layers: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Tensor]:
        """Return what a file of this `config` has of frozen state, by PEFT's names."""
        return {}

    def in_full(self, tensors: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
        """Return a file's tensors with what PEFT left out as it could be made again."""
        return tensors

    def joined(self, adapted: AdaptedModel, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what the file has, of the tensors that layers have, both by PEFT's names."""
        return found

    def apart(
        self, adapted: AdaptedModel, tensors: dict[str, Tensor], folder: Path
    ) -> dict[str, Tensor]:
        """Return what `joined` was given, of what a file has."""
        return tensors

    def beside_layers(self, name: str) -> str | None:
        """Return where a tensor that is trained outside of the layers is; None if nowhere."""
        return None

    def over(self, adapted: AdaptedModel) -> dict[str, str]:
        """Return by which hash the base is known that the adapter belongs to."""
        return {"base_sha256": adapted.base_hash}

    def places(self, targets: list[str]) -> dict[str, Any]:
        """Return how the configuration names the adapted layers."""
        return {"target_modules": targets}

    @abstractmethod
    def understood(self, config: dict[str, Any], path: Path) -> dict[str, Any]:
        """Return PEFT's options with its defaults for those that are missing.

        Args:
            config: content of `adapter_config.json`.
            path: of that file.

        Raises:
            CheckpointError: it is damaged, of another method, or asks for what there is no
                counterpart for here.
        """

    @abstractmethod
    def require_same(
        self, adapted: AdaptedModel, layers: Mapping[str, Any], config: dict[str, Any], folder: Path
    ) -> None:
        """Refuse options with which equal tensors compute something else here.

        Raises:
            CheckpointError: there are such.
        """


METHODS: dict[type[Strategy], PeftMethod] = {}
"""How each strategy is written that PEFT has; a subclass needs an entry of its own."""


def save_peft(
    adapted: AdaptedModel,
    folder: Path,
    *,
    base_name: str | None = None,
    base_revision: str | None = None,
    classes: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> None:
    """Write an adapter as `PeftModel.from_pretrained(base, folder)` reads it.

    A head that is trained or frozen goes along whole, for the base that it is loaded over may
    have another. One that is adapted cannot: it needs a base with this model's head.

    Args:
        adapted: under a strategy that PEFT has.
        folder: created if need be; files of the same names in it are replaced.
        base_name: name or folder of the base model, for PEFT to record.
        base_revision: which version of it, on the hub; None for the newest.
        classes: names in the order of the outputs: they are kept with the weights, and told by a
            README.md where PEFT loads the model by its task.
        more: to say in the file of the weights, by name.

    Raises:
        ConfigError: PEFT cannot express the strategy.
    """
    method = method_of(adapted.strategy)
    config = _config(adapted, method, base_name)
    if base_revision is not None:
        config["revision"] = base_revision
    found = method.joined(adapted, _written(adapted, method))
    found |= method.beside(method.layers_of(adapted), config)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt"} | method.over(adapted) | dict(more or {})
    if classes:
        metadata["classes"] = json.dumps(list(classes))
    write_tensors(folder / WEIGHTS, tensors, metadata)
    write_json(folder / CONFIG, config, sort_keys=True)
    if classes and config["task_type"]:
        write_text(folder / CARD, peft_card(base_name, classes))


def load_peft(adapted: AdaptedModel, folder: Path) -> None:
    """Load PEFT's adapter into a model under the same strategy over the same base weights.

    Frozen state that the file has, such as the A of LoRA-FA, is taken over with the rest.

    Raises:
        CheckpointError: a file is missing or damaged, or the adapter is of another kind, scale or
            shape, for other layers, or over another base; nothing has been loaded then.
        ConfigError: PEFT cannot express the model's strategy.
    """
    method = method_of(adapted.strategy)
    config = method.understood(read_config(folder), folder / CONFIG)
    tensors, metadata = read_weights(folder)
    base_hash = metadata.get("base_sha256")
    if base_hash not in (None, adapted.base_hash):
        raise CheckpointError(
            f"{folder} belongs to other base weights: it was trained over {base_hash[:12]}, this "
            f"model has {adapted.base_hash[:12]}"
        )
    tensors = method.apart(adapted, method.in_full(tensors, config), folder)
    names, own, written = _names(adapted), _tensors(adapted), _written(adapted, method)
    layers = method.layers_of(adapted)
    beside = method.beside(layers, config)
    odd = sorted(tensors.keys() ^ (names.keys() | beside.keys()))
    if odd:
        raise CheckpointError(
            f"{folder} does not fit {type(adapted.model).__name__}: {odd[0]} is only in the "
            f"{'file' if odd[0] in tensors else 'model'}"
        )
    frozen = adapted.model.state_dict().keys() - adapted.state().keys()
    for theirs, ours in names.items():
        if written[theirs].shape != tensors[theirs].shape:
            raise CheckpointError(
                f"{folder}: {theirs} is {list(tensors[theirs].shape)} in the file and "
                f"{list(written[theirs].shape)} in the model"
            )
        if ours in frozen and not torch.equal(own[ours], tensors[theirs].to(own[ours])):
            raise CheckpointError(
                f"{folder} has a head of its own ({theirs} differs), and this model's is frozen; "
                "to take it over: adapter.head=train"
            )
    for theirs, tensor in beside.items():
        _require_close(tensor, tensors[theirs], f"{folder}: {theirs}")
    method.require_same(adapted, layers, config, folder)
    of_layers: dict[str, dict[str, Tensor]] = {name: {} for name in layers}
    values: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        place, _, name = ours.rpartition(".")
        if place not in layers:
            values[ours] = tensors[theirs]
            continue
        of_layers[place][name] = tensors[theirs]
        of_layer = method.taken(layers[place], name, tensors[theirs])
        values |= {f"{place}.{own_name}": tensor for own_name, tensor in of_layer.items()}
    for name, of_layer in of_layers.items():
        method.require_fit(layers[name], of_layer, f"{folder}: {relative(adapted, name)}")
    with torch.no_grad():
        for ours, tensor in values.items():
            own[ours].copy_(tensor)


def method_of(strategy: Strategy) -> PeftMethod:
    """Return how PEFT writes a strategy.

    Raises:
        ConfigError: it cannot.
    """
    method = METHODS.get(type(strategy))
    lacking = f"PEFT's format has no {type(strategy).__name__}"
    if method is not None:
        lacking = method.lacking(strategy) or ""
        if not lacking:
            return method
    instead = "; export the merged model instead" if strategy.mergeable else ""
    raise ConfigError(f"{lacking}{instead}")


def _tensors(adapted: AdaptedModel) -> dict[str, Tensor]:
    """Return a model's tensors by name, with the frozen state that its own files leave out."""
    return {**adapted.model.state_dict(), **adapted.frozen_state(saved=False)}


def _written(adapted: AdaptedModel, method: PeftMethod) -> dict[str, Tensor]:
    """Return the tensors of PEFT's file, without those beside the layers, by its names."""
    own, layers = _tensors(adapted), method.layers_of(adapted)
    found = {}
    for theirs, ours in _names(adapted).items():
        place, _, name = ours.rpartition(".")
        tensor = own[ours].detach()
        found[theirs] = method.written(layers[place], name, tensor) if place in layers else tensor
    return found


def _names(adapted: AdaptedModel) -> dict[str, str]:
    """Return our name of every tensor that PEFT's file has, by PEFT's.

    Raises:
        ConfigError: something is trained, or kept frozen, that has no place in the file.
    """
    if adaptable(adapted.model).peft_root is None:
        raise ConfigError("PEFT's format has no place for a head that is not the architecture's")
    method = method_of(adapted.strategy)
    layers = method.layers_of(adapted)
    require_one_name(adapted, layers)
    head = set[str]()
    if adapted.strategy.head != "adapt":
        head = {name for name in adapted.model.state_dict() if adapted.in_head(name)}
    names, placeless = {}, []
    frozen = adapted.frozen_state(saved=False)
    for ours in sorted(adapted.state().keys() | head | frozen.keys()):
        module, _, parameter = ours.rpartition(".")
        if module in layers and parameter in method.names:
            theirs = f"{module}.{method.names[parameter]}"
        elif module in layers and parameter in method.frozen:
            continue
        elif ours in head:
            theirs = ours
        elif (theirs := method.beside_layers(ours) or "") == "":
            placeless.append(ours)
            continue
        names[f"{method.root}{relative(adapted, theirs)}"] = ours
    if placeless:
        raise ConfigError(f"PEFT's format has no place for {placeless[0]}, which the model needs")
    return names


def _require_close(ours: Tensor, theirs: Tensor, what: str) -> None:
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs.to(ours), atol=1e-6):
        raise CheckpointError(
            f"{what} differs from what the model computes with and never trains; it is made from "
            "the base, or from a seed among the options"
        )


def _config(adapted: AdaptedModel, method: PeftMethod, base_name: str | None) -> dict[str, Any]:
    """Return the content of `adapter_config.json`."""
    layers = method.layers_of(adapted)
    targets = [relative(adapted, name) for name in layers]
    whole_head = adapted.strategy.head != "adapt"
    heads = [relative(adapted, name) for name in adapted.head_modules if whole_head]
    if method.places(targets):
        require_unmistakable(adapted, layers, targets, heads)
    return {
        # For PEFT, a classifier of sequences is one of transformers whose head is saved whole.
        "task_type": "SEQ_CLS" if whole_head and adaptable(adapted.model).input_names else None,
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        **method.places(targets),
        "modules_to_save": heads or None,
        **method.config(adapted, layers),
    }
