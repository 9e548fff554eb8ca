"""Who drives a training alone: Lightning's Trainer, or a loop of our own that gives the same."""

from adapterlab.adapters.strategy import Strategy
from adapterlab.base.errors import ConfigError
from adapterlab.config.hardware import Hardware


def why_lightning(options: Hardware, accelerator: str) -> str | None:
    """Say why Lightning's Trainer drives a run; None where our loop does.

    Both give the same, bit for bit, and a run may go on in the other; our loop has neither
    Lightning to load nor what its Trainer does around a step.

    Args:
        options: where the run computes.
        accelerator: ``cpu`` or ``gpu``, resolved.
    """
    if options.trainer == "lightning":
        return "hardware.trainer=lightning"
    return _needs(options, accelerator)


def require_driver(options: Hardware, accelerator: str) -> None:
    """Refuse our loop where a run needs what only Lightning's Trainer has.

    Raises:
        ConfigError: it does, or several devices do not do together what is asked for.
    """
    needs = _needs(options, accelerator)
    if options.trainer == "plain" and needs is not None:
        raise ConfigError(
            f"hardware.trainer=plain drives no run with {needs}; allowed: auto, lightning"
        )
    _require_together(options)


def require_one_device(options: Hardware) -> None:
    """Refuse several devices where nothing is trained, or in another way.

    Raises:
        ConfigError: they are asked for.
    """
    if options.devices > 1:
        raise ConfigError(
            f"hardware.devices={options.devices}: several train a run alone, and do nothing else; "
            "allowed here: 1"
        )


def require_whole_tensors(options: Hardware, strategy: Strategy, name: str) -> None:
    """Refuse parts of a model on several devices where a method looks at whole tensors.

    Args:
        options: where the run computes.
        strategy: the method.
        name: of the method.

    Raises:
        ConfigError: both are asked for.
    """
    looks = any(map(strategy.uses, ("extra_loss", "after_backward", "after_step")))
    if options.strategy == "fsdp" and looks:
        raise ConfigError(
            f"hardware.strategy=fsdp does not go with adapter={name}, which looks at whole "
            "parameters in each step; allowed: ddp"
        )


def _require_together(options: Hardware) -> None:
    """Refuse what several devices do not do together.

    Raises:
        ConfigError: it is asked for.
    """
    if options.strategy == "fsdp":
        if options.devices == 1:
            raise ConfigError(
                "hardware.strategy=fsdp leaves each device a part of the model, and "
                "hardware.devices=1; set it to 2 or more"
            )
        if options.precision == "16-mixed":
            raise ConfigError(
                "hardware.precision=16-mixed does not go with hardware.strategy=fsdp; allowed: "
                "auto, 32-true, 64-true, bf16-mixed"
            )
    for option in ("compile", "recompute"):
        if options.devices > 1 and getattr(options, option):
            raise ConfigError(
                f"hardware.{option}=true does not go with hardware.devices={options.devices}; "
                "allowed: 1 device"
            )


def _needs(options: Hardware, accelerator: str) -> str | None:
    if options.devices > 1:
        return f"hardware.devices={options.devices}"
    if accelerator != "cpu":
        return "a GPU"
    if options.compile:
        return "hardware.compile=true"
    if options.workers:
        return f"hardware.workers={options.workers}"
    return None
