"""The two factors of a low-rank update: their first values, the scale, and what is allowed."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from adapterlab.base.errors import ConfigError, allowed

Scaling = Literal["alpha_over_rank", "alpha_over_sqrt_rank", "alpha"]
"""The factor s of the update: LoRA's, rsLoRA's (Kalajdzievski 2023), or alpha as it is."""

Init = Literal[
    "kaiming",
    "gaussian",
    "both_normal",
    "pissa",
    "milora",
    "olora",
    "lora_ga",
    "eva",
    "corda",
    "gora",
]
"""First values.

Drawn: A Kaiming-uniform and B zero; A ~ N(0, 1/rank²) and B zero; both N(0, std²). The others come
from the weight, see `first_updates`, or from data, see `from_data`.
"""

SUBTRACTED: tuple[Init, ...] = ("pissa", "milora", "olora", "lora_ga", "corda")
"""Those that are not zero, and of which a frozen copy is subtracted."""


def scale_factor(scaling: Scaling, alpha: float, rank: int) -> float:
    """Return the factor s that the low-rank update is multiplied with."""
    match scaling:
        case "alpha_over_rank":
            return alpha / rank
        case "alpha_over_sqrt_rank":
            return alpha / math.sqrt(rank)
        case "alpha":
            return alpha
    raise ConfigError(f"adapter.scaling={scaling}; {allowed(scaling, get_args(Scaling))}")


def alpha_kept(alpha: float, times: float, over: float) -> float:
    """Return alpha times `times` over `over`, as a person would write it: that keeps a scale."""
    return float(f"{alpha * times / over:.12g}")


def check_low_rank(rank: int, alpha: float, dropout: float) -> None:
    """Refuse a rank, alpha or dropout outside its domain.

    Raises:
        ConfigError: rank below 1, alpha not above 0, or dropout outside [0, 1).
    """
    if rank < 1:
        raise ConfigError(
            f"adapter.rank={rank} must be 1 or more; to train without an adapter: adapter=head"
        )
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ConfigError(f"adapter.alpha={alpha:g} must be above 0 and finite")
    if not 0 <= dropout < 1:
        raise ConfigError(f"adapter.dropout={dropout:g} must be at least 0 and below 1")


def initial_factors(
    init: Init,
    rank: int,
    d_in: int,
    d_out: int,
    std: float,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Return the first A [rank, d_in] and B [d_out, rank], float32 on the CPU.

    What comes from elsewhere begins as `kaiming`.

    Raises:
        ConfigError: `init` names no rule.
    """
    A, B = torch.empty(rank, d_in), torch.zeros(d_out, rank)
    match init:
        case "gaussian":
            nn.init.normal_(A, std=1 / rank, generator=generator)
        case "both_normal":
            nn.init.normal_(A, std=std, generator=generator)
            nn.init.normal_(B, std=std, generator=generator)
        case _ if init in get_args(Init):
            nn.init.kaiming_uniform_(A, a=math.sqrt(5), generator=generator)
        case _:
            raise ConfigError(f"adapter.init={init}; {allowed(init, get_args(Init))}")
    return A, B


def kaiming(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return first values as `nn.Linear` draws its weight's: uniform within 1/√(last dimension).

    Args:
        shape: of the values.
        like: a tensor of their type and device; on the meta device nothing is drawn.
        generator: CPU generator; torch's default one when None.
    """
    if like.is_meta:
        return like.new_empty(*shape)
    drawn = torch.empty(*shape)
    nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
    return drawn.to(like)


def plain_number(value: float) -> float:
    """Return a whole number as an integer, as PEFT's configurations have it."""
    return int(value) if float(value).is_integer() else value
