"""Which options go with which task: what does not is refused in one line."""

from dataclasses import replace

from adapterlab.base.errors import ConfigError
from adapterlab.config.losses import Loss
from adapterlab.config.schema import CheckpointBase, Config, TrainedBase
from adapterlab.config.tasks import F1, TASKS, selected_on


def settled_task(config: Config) -> Config:
    """Return a configuration with the metric to select on that is usual for its task.

    Raises:
        ConfigError: an option means nothing for the task.
    """
    kind = TASKS[config.task]
    config = replace(config, select_on=selected_on(config.task, config.select_on))
    of_class = config.task == "single_label" and config.select_on.startswith(F1)
    if config.select_on not in kind.selectable and not of_class:
        raise ConfigError(
            f"select_on={config.select_on} is no metric of task={config.task}; "
            f"allowed: {', '.join(kind.selectable)}"
        )
    if config.task == "single_label":
        return replace(config, loss=replace(config.loss, standardize=True))
    for option, value, usual in (
        ("loss.class_weights", config.loss.class_weights, None),
        ("loss.focal_gamma", config.loss.focal_gamma, Loss().focal_gamma),
        ("sampling", config.sampling, "natural"),
        ("label_smoothing", config.label_smoothing, 0.0),
    ):
        if value != usual:
            raise ConfigError(
                f"{option}={value} is of classes that exclude each other; task={config.task} has "
                f"none: {kind.noun} for each example"
            )
    if isinstance(config.base, TrainedBase | CheckpointBase) and config.base.head == "auto":
        # A head that tells classes apart is another's, though its outputs have the same names.
        config = replace(config, base=replace(config.base, head="new"))
    if isinstance(config.base, TrainedBase) and config.base.head == "keep":
        raise ConfigError(
            f"base.head=keep: a base that is trained here tells classes apart, which "
            f"task={config.task} does not; allowed: new"
        )
    if config.task == "multi_label":
        return replace(config, loss=replace(config.loss, standardize=True))
    if config.dataset.classes is not None:
        raise ConfigError(
            f"dataset.classes=[{','.join(config.dataset.classes)}] are of no use for "
            "task=regression, which learns a number; set dataset.classes=null"
        )
    return config
