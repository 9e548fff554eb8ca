"""What hangs on what a run learns: its outputs, and what is made for one label only."""

from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config


def named_outputs(config: Config) -> tuple[str, ...] | None:
    """Return what a model's outputs stand for; None where only the data's files tell.

    Of a number there is one, whatever it is called.
    """
    if config.task == "regression":
        return ("number",)
    return None if config.dataset.classes is None else tuple(config.dataset.classes)


def require_one_label(config: Config, otherwise: str) -> None:
    """Refuse what is made for classes that exclude each other.

    Args:
        config: of a run.
        otherwise: what a run of another task has or does.

    Raises:
        ConfigError: the run learns something else than one label.
    """
    if config.task != "single_label":
        raise ConfigError(f"task={config.task}: a run of it {otherwise}")
