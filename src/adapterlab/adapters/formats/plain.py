"""How PEFT writes methods whose few options are the same for all layers."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from adapterlab.adapters.formats.peft import PeftMethod
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.adapters.weights import is_transposed
from adapterlab.base.errors import CheckpointError, ConfigError

_PASSED_OVER = {
    # What they choose shows in the names of the tensors.
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("modules_to_save", "task_type"),
    # Without effect on the logits.
    *("peft_type", "auto_mapping", "base_model_name_or_path", "revision", "peft_version"),
    *("inference_mode", "runtime_config", "fan_in_fan_out"),
}


@dataclass(frozen=True)
class PlainMethod(PeftMethod):
    """One of PEFT's methods.

    Attributes:
        peft_type: its name there.
        counting: options that the logits depend on, and PEFT's defaults of them. A file is taken
            where it has what a model of ours is written with.
        further: options besides, which show in the tensors or have no effect on them.
        transposed: whether it is of transformers' Conv1D as well.
    """

    peft_type: ClassVar[str]
    counting: ClassVar[Mapping[str, Any]] = {}
    further: ClassVar[tuple[str, ...]] = ()
    transposed: ClassVar[bool] = True

    def lacking(self, strategy: Any) -> str | None:
        """Nothing, unless the method says more."""
        return None

    @abstractmethod
    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the method's options."""

    def config(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the method's part of `adapter_config.json`.

        Raises:
            ConfigError: PEFT has none of transposed layers.
        """
        for name, layer in ({} if self.transposed else layers).items():
            if is_transposed(layer.base):
                raise ConfigError(
                    f"PEFT's {type(adapted.strategy).__name__} is of nn.Linear, and {name} is a "
                    "Conv1D; export the merged model instead"
                )
        return {"peft_type": self.peft_type, **self.own(adapted, layers)}

    def understood(self, config: dict[str, Any], path: Path) -> dict[str, Any]:
        """Refuse other methods, and options that are not known here."""
        if config.get("peft_type") != self.peft_type:
            raise CheckpointError(
                f"{path.parent} holds PEFT's {config.get('peft_type')}; allowed: {self.peft_type}"
            )
        known = {*_PASSED_OVER, *self.counting, *self.further}
        for option in sorted(config.keys() - known):
            if config[option] not in (None, False, "none", [], {}):
                raise CheckpointError(
                    f"{path.parent} uses an option of PEFT that has no counterpart here: "
                    f"{option}={config[option]}"
                )
        return {**self.counting, **config}

    def require_same(
        self, adapted: AdaptedModel, layers: Mapping[str, Any], config: dict[str, Any], folder: Path
    ) -> None:
        """Refuse options that compute something else than this model's."""
        ours = self.own(adapted, layers)
        for option in self.counting:
            if config[option] != ours[option]:
                raise CheckpointError(
                    f"{folder}: {option} is {config[option]} in the file and {ours[option]} in the "
                    "model"
                )
