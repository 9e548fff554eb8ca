"""LoRA+: LoRA, with B trained faster than A."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.hooks import ByRole
from adapterlab.adapters.methods.lora import LoRA
from adapterlab.base.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LoRAPlus(LoRA):
    """Train B of LoRA at a higher rate than A (Hayou et al. 2024, arXiv:2402.12354).

    The layers are LoRA's. The rate of B is `ratio` times the run's, which A and the head keep.
    The paper's 16 is for rates tuned with it: the best one is lower than LoRA's.

    Args:
        ratio: rate of B over the rate of A; 1 is LoRA.
        **lora: as for LoRA.

    Raises:
        ConfigError: an argument is outside its domain.
    """

    ratio: float = 16.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.ratio < math.inf:
            raise ConfigError(f"adapter.ratio={self.ratio} must be above 0 and finite")

    def by_role(self) -> Mapping[str, ByRole]:
        """Return the rate of B."""
        return {"B": ByRole(rate=self.ratio)}


METHODS[LoRAPlus] = METHODS[LoRA]
