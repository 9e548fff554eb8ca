"""LoRA-FA: LoRA with A frozen where it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from adapterlab.adapters.formats.low_rank import LowRank
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.methods.lora import LoRA, LoRAConv, LoRALinear
from adapterlab.base.errors import ConfigError, allowed

FROZEN_INITS = ("kaiming", "gaussian")
"""First values of A that a seed makes again; checkpoints hold their fingerprint."""


class LoRAFALinear(LoRALinear):
    """LoRA-FA (Zhang et al. 2023, https://arxiv.org/abs/2308.03303).

    y = W x + b + s · B A dropout(x), with W, b and A frozen.

    A is frozen state: it is made again from the seed, and checkpoints hold its fingerprint.

    Shapes and arguments: as LoRALinear.
    """

    lora_A: Tensor  # type: ignore[assignment]  # noqa: N815  # which is trained in LoRALinear

    roles: ClassVar[Mapping[str, str]] = {"lora_B": "B"}

    def __init__(self, base: nn.Module, **lora: Any) -> None:
        super().__init__(base, **lora)
        freeze_A(self)

    def describe(self) -> str:
        """Say rank and scale."""
        return f"LoRA-FA rank {self.rank}, scale {self.scale:g}"


class LoRAFAConv(LoRAConv):
    """LoRA-FA on a convolution, as `LoRAConv` is LoRA."""

    lora_A: Tensor  # type: ignore[assignment]  # noqa: N815

    roles: ClassVar[Mapping[str, str]] = LoRAFALinear.roles

    def __init__(self, base: nn.Module, **lora: Any) -> None:
        super().__init__(base, **lora)
        freeze_A(self)

    def describe(self) -> str:
        """Say rank and scale."""
        return f"LoRA-FA rank {self.rank}, scale {self.scale:g}"


def freeze_A(layer: LoRALinear) -> None:  # noqa: N802
    """Make A frozen state rather than a parameter."""
    A = layer.lora_A.detach()
    del layer.lora_A
    layer.keep_frozen("lora_A", A)


@dataclass(frozen=True, kw_only=True)
class LoRAFA(LoRA):
    """Train B of LoRA alone, over A as it was drawn (Zhang et al. 2023, arXiv:2308.03303).

    Half of LoRA's parameters, and of A's inputs nothing is kept for the backward pass. Plain
    gradients of B, as in the paper; PEFT's own optimizer for it scales them by (A Aᵀ)⁻¹ / s².

    Args:
        **lora: as for LoRA.

    Raises:
        ConfigError: an argument is outside its domain.
    """

    kinds: ClassVar[tuple[type[LoRALinear], type[LoRALinear]]] = (LoRAFALinear, LoRAFAConv)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init not in FROZEN_INITS:
            raise ConfigError(
                f"adapter.init={self.init} does not go with LoRAFA; "
                f"{allowed(self.init, FROZEN_INITS)}"
            )


METHODS[LoRAFA] = LowRank(LoRALinear, METHODS[LoRA].names)
