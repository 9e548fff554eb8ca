"""How PEFT writes what it calls prompt learning: one table of vectors, and no layers by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from adapterlab.adapters.formats.peft_names import relative
from adapterlab.adapters.formats.plain import PlainMethod
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.errors import CheckpointError

TABLE = "prompt_embeddings"


@dataclass(frozen=True)
class PromptLearning(PlainMethod):
    """One of these methods: side by side, the table has what `names` lists, layer by layer."""

    root: ClassVar[str] = "base_model."
    counting: ClassVar[Mapping[str, Any]] = {"num_virtual_tokens": None}
    further: ClassVar[tuple[str, ...]] = (
        # They show in the table's size, or are of the base.
        *("token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers"),
        # First values, and the width of a network that is off or has done its work.
        *("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path"),
        *("tokenizer_kwargs", "init_weights", "encoder_hidden_size"),
    )

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return how many vectors there are, and of what kind of base."""
        model: Any = adapted.model
        config = model.model.config
        return {
            "num_virtual_tokens": adapted.strategy.options()["num_virtual_tokens"],
            "num_transformer_submodules": 1,
            "num_attention_heads": config.num_attention_heads,
            "num_layers": config.num_hidden_layers,
        }

    def places(self, targets: list[str]) -> dict[str, Any]:
        """Name none: they are said by the method."""
        return {}

    def joined(self, adapted: AdaptedModel, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the vectors of all layers in one table, [length, numbers]."""
        names = self._in_order(adapted)
        others = {name: tensor for name, tensor in found.items() if name not in names}
        return {TABLE: torch.cat([found[name] for name in names], 1), **others}

    def apart(
        self, adapted: AdaptedModel, tensors: dict[str, Tensor], folder: Path
    ) -> dict[str, Tensor]:
        """Return the vectors of each layer.

        Raises:
            CheckpointError: the table is of another size.
        """
        names = self._in_order(adapted)
        others = {name: tensor for name, tensor in tensors.items() if name != TABLE}
        table = tensors.get(TABLE)
        if table is None:
            return others
        own = [getattr(layer, name) for layer in self._layers(adapted) for name in self.names]
        widths = [tensor.shape[1] for tensor in own]
        if table.shape != (len(own[0]), sum(widths)):
            raise CheckpointError(
                f"{folder}: {TABLE} is {list(table.shape)} in the file and "
                f"[{len(own[0])}, {sum(widths)}] in the model"
            )
        return {**others, **dict(zip(names, torch.split(table, widths, 1), strict=True))}

    def _layers(self, adapted: AdaptedModel) -> list[Any]:
        return list(self.layers_of(adapted).values())

    def _in_order(self, adapted: AdaptedModel) -> list[str]:
        """Return the names of what makes up the table, from the left."""
        return [
            f"{self.root}{relative(adapted, place)}.{name}"
            for place in self.layers_of(adapted)
            for name in self.names.values()
        ]
