"""What hangs on what a run learns: its outputs."""

from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config


def named_outputs(config: Config) -> tuple[str, ...] | None:
    """Return what a model's outputs stand for; None where only the data's files tell.

    Of a number there is one, whatever it is called.
    """
    if config.task == "regression":
        return ("number",)
    return None if config.dataset.classes is None else tuple(config.dataset.classes)


def require_task(config: Config, of_classes: str | None) -> None:
    """Refuse an option that takes gradients of a loss of classes where there are none.

    Args:
        config: of the run.
        of_classes: the option as it is written, see `Hooks.of_classes`; None for no such.

    Raises:
        ConfigError: the run learns something else.
    """
    if of_classes is None or config.task == "single_label":
        return
    option, _, _ = of_classes.partition("=")
    raise ConfigError(
        f"{of_classes} takes gradients of a loss of one class an example, and this is "
        f"task={config.task}; allowed: task=single_label, or another {option}"
    )
