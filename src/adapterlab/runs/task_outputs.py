"""What hangs on what a run learns: its outputs."""

from adapterlab.config.schema import Config


def named_outputs(config: Config) -> tuple[str, ...] | None:
    """Return what a model's outputs stand for; None where only the data's files tell.

    Of a number there is one, whatever it is called.
    """
    if config.task == "regression":
        return ("number",)
    return None if config.dataset.classes is None else tuple(config.dataset.classes)
