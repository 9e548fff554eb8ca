"""Lightning's Trainer on one device of several, in a process that it has not started."""

from typing import Any

from adapterlab.training.hardware import Device
from adapterlab.training.lightning.drive import make_trainer
from adapterlab.training.lightning.imported import LightningEnvironment, pl


class OurProcesses(LightningEnvironment):
    """Says that the processes are there: Lightning would start the command line once more in each.

    Args:
        rank: of this process, from 0.
        devices: how many there are.
    """

    def __init__(self, rank: int, devices: int) -> None:
        super().__init__()
        self.rank, self.devices = rank, devices

    @property
    def creates_processes_externally(self) -> bool:
        """Whether Lightning is to start none."""
        return True

    def world_size(self) -> int:
        """Return how many processes there are."""
        return self.devices

    def global_rank(self) -> int:
        """Return the number of this one."""
        return self.rank

    def local_rank(self) -> int:
        """Return the number of this one, which are all on one machine."""
        return self.rank

    def set_world_size(self, size: int) -> None:
        """Do nothing: it is known."""

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: it is known."""


def make_shared_trainer(
    device: Device, rank: int, devices: int, *, unused: bool, **options: Any
) -> pl.Trainer:
    """Return a Trainer on a device that takes the mean of gradients with the others.

    Each device has the whole model, or its part of it (`devices.sharded`).

    Args:
        device: the first of them.
        rank: of this one.
        devices: how many there are.
        unused: whether something is trained that a batch does not reach.
        **options: the Trainer's own.
    """
    strategy: pl.strategies.ParallelStrategy
    if device.in_parts:
        from adapterlab.training.devices.sharded import Sharding

        strategy = Sharding(devices)
    else:
        # No buffer changes (`devices.trial`), and the frozen ones are large.
        strategy = pl.strategies.DDPStrategy(find_unused_parameters=unused, broadcast_buffers=False)
    first = device.torch.index or 0
    on_gpus = device.torch.type == "cuda"
    return make_trainer(
        device,
        environment=OurProcesses(rank, devices),
        devices=list(range(first, first + devices)) if on_gpus else devices,
        strategy=strategy,
        **options,
    )
