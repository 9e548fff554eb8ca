"""Options of optimizers that the precision of a run cannot hold, refused before it is trained.

Beyond the largest number torch raises in one of its kernels and gives infinity in another: a run
alone ended with a traceback where the same run in a pack diverged.
"""

from collections.abc import Sequence

from adapterlab.base.errors import ConfigError
from adapterlab.config.optimizers import Optimizer
from adapterlab.config.schema import Config, TrainedBase

_LARGEST, _SMALLEST = (2 - 2**-23) * 2.0**127, 2.0**-126
"""Of float32; float64 holds whatever a configuration can say."""


def require_representable(config: Config) -> None:
    """Refuse rates, decays and limits that float32 cannot hold, where a run computes in it.

    Raises:
        ConfigError: an option is too large, or too small where something is divided by it.
    """
    if config.hardware.precision == "64-true":
        return
    _check(config.optimizer, "optimizer")
    if isinstance(config.base, TrainedBase):
        _check(config.base.optimizer, "base.optimizer")


def _check(options: Optimizer, where: str) -> None:
    for name in ("lr", "weight_decay", "clip_norm"):
        _require_at_most(f"{where}.{name}", getattr(options, name) or 0.0)
    for role, of_role in options.roles.items():
        for name in ("lr", "weight_decay"):
            _require_at_most(f"{where}.roles.{role}.{name}", getattr(of_role, name) or 0.0)
    eps, betas = options.own.get("eps"), options.own.get("betas")
    if isinstance(eps, int | float):
        _require_at_most(f"{where}.eps", eps)
        if eps < _SMALLEST:
            raise ConfigError(
                f"{where}.eps={eps:g} is zero as a float32; "
                f"{_SMALLEST:.2g} or more is allowed, or hardware.precision=64-true"
            )
    if isinstance(betas, Sequence) and betas:
        rates = {f"{where}.lr": options.lr}
        rates |= {f"{where}.roles.{r}.lr": of.lr for r, of in options.roles.items() if of.lr}
        for option, lr in rates.items():
            _require_first_step(option, lr, options.name, betas[0])


def _require_first_step(option: str, lr: float, name: str, beta: float) -> None:
    """Refuse a rate whose first step, as Adam and its kin take it, is too large."""
    first = lr / (1 - beta)
    if first > _LARGEST:
        raise ConfigError(
            f"{option}={lr:g}: {name}'s first step, lr / (1 - betas[0]) = {first:.2g}, is no "
            f"float32; at most {_LARGEST:.2g} is allowed, or hardware.precision=64-true"
        )


def _require_at_most(option: str, value: float) -> None:
    if value > _LARGEST:
        raise ConfigError(
            f"{option}={value:g} is no float32; at most {_LARGEST:.2g} is allowed, or "
            "hardware.precision=64-true"
        )
