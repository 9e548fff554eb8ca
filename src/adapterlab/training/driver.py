"""Who drives a training alone: Lightning's Trainer, or a loop of our own that gives the same."""

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
        ConfigError: it does.
    """
    needs = _needs(options, accelerator)
    if options.trainer == "plain" and needs is not None:
        raise ConfigError(
            f"hardware.trainer=plain drives no run with {needs}; allowed: auto, lightning"
        )


def _needs(options: Hardware, accelerator: str) -> str | None:
    if accelerator != "cpu":
        return "a GPU"
    if options.compile:
        return "hardware.compile=true"
    if options.workers:
        return f"hardware.workers={options.workers}"
    return None
