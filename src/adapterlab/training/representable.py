"""Options of optimizers that the precision of a run cannot hold, refused before it is trained.

Beyond the largest number torch raises in one of its kernels and gives infinity in another: a run
alone ended with a traceback where the same run in a pack diverged.
"""

from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Adam, Config, Optimizer, TrainedBase

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
    if isinstance(options, Adam):
        _require_at_most(f"{where}.eps", options.eps)
        if options.eps < _SMALLEST:
            raise ConfigError(
                f"{where}.eps={options.eps:g} is zero as a float32; "
                f"{_SMALLEST:.2g} or more is allowed, or hardware.precision=64-true"
            )
        first = options.lr / (1 - options.betas[0])
        if first > _LARGEST:
            raise ConfigError(
                f"{where}.lr={options.lr:g}: {options.name}'s first step, lr / (1 - betas[0]) = "
                f"{first:.2g}, is no float32; at most {_LARGEST:.2g} is allowed, or "
                "hardware.precision=64-true"
            )


def _require_at_most(option: str, value: float) -> None:
    if value > _LARGEST:
        raise ConfigError(
            f"{option}={value:g} is no float32; at most {_LARGEST:.2g} is allowed, or "
            "hardware.precision=64-true"
        )
