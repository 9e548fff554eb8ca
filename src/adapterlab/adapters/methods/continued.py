"""Going on with an adapter of PEFT's: its own A and B are trained further."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.formats.low_rank import LowRank
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.peft_files import CONFIG, WEIGHTS, read_config
from adapterlab.adapters.formats.peft_merged import (
    parts_of_peft,
    require_mergeable_peft,
    take_whole,
)
from adapterlab.adapters.formats.peft_names import relative
from adapterlab.adapters.methods.dora import DoRA
from adapterlab.adapters.methods.lora import LoRALinear
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import AdaptedModel, Strategy, replace_module
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.base.files import file_hash
from adapterlab.models.protocol import adaptable


@dataclass(frozen=True, kw_only=True)
class Continued(Strategy):
    """Go on training a LoRA or DoRA in PEFT's format, with all that its file has.

    Layers, ranks, scales and first values are the file's: of any ranks, on any layers. What it
    saves whole, such as biases (`bias=lora_only`) and `modules_to_save`, is trained as well.

    Args:
        path: the adapter's folder.
        dropout: on the input of A; None for what its configuration says.
    """

    path: str | None = None
    dropout: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None:
            raise ConfigError(
                "adapter=continued goes on from an adapter in PEFT's format; name it: base=peft "
                "base.path=FOLDER"
            )
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigError(f"adapter.dropout={self.dropout:g} must be at least 0 and below 1")

    @property
    def folder(self) -> Path:
        """The adapter's folder."""
        return Path(str(self.path)).expanduser()

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Put the updates around their layers, and unfreeze what the file has whole."""
        heads = adaptable(model).head_modules
        layers, whole = parts_of_peft(model, self.folder)
        for name in layers:
            if within(name, heads):
                raise CheckpointError(
                    f"{self.folder} adapts {name}, a layer of the head, which adapter=continued "
                    "trains or freezes as it is; base=peft with another adapter merges it"
                )
        dropout = self.dropout
        if dropout is None:
            dropout = read_config(self.folder).get("lora_dropout") or 0.0
        body = {name: tensor for name, tensor in whole.items() if not within(name, heads)}
        take_whole(model, body)
        for name in body:
            model.get_parameter(name).requires_grad_(True)
        for name, layer in layers.items():
            trained = {own: p.requires_grad for own, p in layer.base.named_parameters()}
            layer.dropout = SeededDropout(dropout)
            replace_module(model, name, layer)
            for own in ("lora_A", "lora_B", "magnitude"):
                if isinstance(parameter := getattr(layer, own, None), nn.Parameter):
                    parameter.requires_grad_(True)
            for own, parameter in layer.base.named_parameters():
                parameter.requires_grad_(trained[own])

    def options(self) -> dict[str, Any]:
        """Return the content of the adapter in the place of its path."""
        files = [file_hash(self.folder / name) for name in (CONFIG, WEIGHTS)]
        return {"adapter": files, "dropout": self.dropout, "head": self.head}


@dataclass(frozen=True)
class _Format(LowRank):
    """PEFT's LORA as it was read, with what has been trained beside the updates."""

    def lacking(self, strategy: Any) -> str | None:
        """PEFT has all of it, for it comes from there."""
        return None

    def config(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of the file that was read, and the head among what is whole."""
        strategy: Any = adapted.strategy
        read = read_config(strategy.folder)
        ours = ("task_type", "base_model_name_or_path", "inference_mode")
        heads = [relative(adapted, name) for name in adapted.head_modules]
        whole = dict.fromkeys([*(read.get("modules_to_save") or ()), *heads])
        kept = {name: value for name, value in read.items() if name not in ours}
        return {**kept, "modules_to_save": list(whole)}

    def written(self, layer: Any, name: str, tensor: Tensor) -> Tensor:
        """Return the factors alone: a first update that PEFT takes out, it takes out again."""
        return tensor

    def taken(self, layer: Any, name: str, tensor: Tensor) -> dict[str, Tensor]:
        """Return the factors, likewise."""
        return {name: tensor}

    def require_fit(self, layer: Any, tensors: Mapping[str, Tensor], what: str) -> None:
        """Refuse nothing more."""

    def beside_layers(self, name: str) -> str | None:
        """Return the name of what is trained whole."""
        return name.replace(".base.", ".base_layer.")

    def over(self, adapted: AdaptedModel) -> dict[str, str]:
        """Return nothing where the base's own weights are trained, as biases are."""
        layers = self.layers_of(adapted)
        own = (name for name in adapted.trainable() if name.rpartition(".")[0] not in layers)
        return super().over(adapted) if all(map(adapted.in_head, own)) else {}

    def understood(self, config: dict[str, Any], path: Path) -> dict[str, Any]:
        """Refuse what there is no counterpart for."""
        return require_mergeable_peft(path.parent)

    def require_same(
        self, adapted: AdaptedModel, layers: Mapping[str, Any], config: dict[str, Any], folder: Path
    ) -> None:
        """Refuse another adapter's options."""
        read = read_config(cast(Continued, adapted.strategy).folder)
        for option in ("lora_alpha", "alpha_pattern", "use_rslora", "use_dora"):
            if (read.get(option) or None) != (config.get(option) or None):
                raise CheckpointError(
                    f"{folder}: {option} is {config.get(option)} in the file and "
                    f"{read.get(option)} in the model"
                )


METHODS[Continued] = _Format(
    LoRALinear, METHODS[DoRA].names, dora=True, frozen=METHODS[DoRA].frozen
)
