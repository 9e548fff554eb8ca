"""The configuration of a run that was planned for another place than this machine."""

from dataclasses import replace
from pathlib import Path

from adapterlab.base.planned_place import Place
from adapterlab.config.schema import Config
from adapterlab.training.hardware import resolve_accelerator, resolve_precision


def for_place(config: Config, place: Place) -> Config:
    """Return the configuration of a run that was planned for another place.

    It says what was planned, so that no node decides otherwise: device and precision, which the
    run's hash hangs on. Threads are the task's cores, unless they are said. Paths are absolute.
    """
    hardware = config.hardware
    accelerator = resolve_accelerator(hardware.accelerator)
    hardware = replace(
        hardware,
        accelerator="gpu" if accelerator == "gpu" else "cpu",
        precision=resolve_precision(hardware.precision, accelerator),
        threads=hardware.threads or (place.cores if accelerator == "cpu" else None),
    )
    data_dir = config.data_dir
    if data_dir is not None and not Path(data_dir).expanduser().is_absolute():
        data_dir = str(Path(data_dir).expanduser().absolute())
    root = str(Path(config.root).expanduser().absolute())
    return replace(config, hardware=hardware, root=root, data_dir=data_dir)
