"""Parts of a model on each of several devices: PyTorch's FSDP2, driven by Lightning's Trainer.

Each block of the model, and what is around the blocks, lies in shares on all devices, frozen base
and adapters alike, and is whole on each of them only while it is computed. Optimizer states lie as
their parameters do. Files are those of one device: they hold whole tensors.

Source: Zhao et al. (2023), "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel";
https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.models.protocol import adaptable
from adapterlab.training.devices.classifier import SharedClassifier
from adapterlab.training.devices.shares import shared
from adapterlab.training.lightning.imported import pl
from adapterlab.training.outcome import LabelledBatch


class ShardedClassifier(SharedClassifier):
    """A `SharedClassifier` of which every device has a part of each parameter."""

    def configure_model(self) -> None:
        """Leave each device its part of the model; Lightning calls this before all else."""
        mesh = self.device_mesh
        assert mesh is not None
        shard(self.model, mesh["data_parallel"])

    def validation_step(self, batch: LabelledBatch, batch_index: int) -> None:
        """Count this device's share of a batch: blocks are computed by all devices at once."""
        own = shared(batch, self.rank, self.devices)
        logits = self(own.inputs)
        if own.share.counts:
            self.val_tally.add(logits, own.labels, self._plain(logits, own.labels))

    def saved_state(self) -> dict[str, Tensor]:
        """Return what checkpoints keep, whole; all devices have to ask for it."""
        return {name: whole(tensor) for name, tensor in super().saved_state().items()}


class Sharding(pl.strategies.ModelParallelStrategy):
    """Lightning's way to drive such a module, with the files that one device writes.

    Lightning's own assembles the frozen base for every checkpoint, and names optimizer states by
    parameters where one device numbers them.

    Args:
        devices: how many.
    """

    def __init__(self, devices: int) -> None:
        super().__init__(
            data_parallel_size=devices, tensor_parallel_size=1, save_distributed_checkpoint=False
        )

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Whether `load_optimizer_state_dict` is called."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return nothing: the module says what it keeps (`Steps.on_save_checkpoint`)."""
        return {}

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return an optimizer's state, whole; all devices have to ask for it."""
        state: dict[str, Any] = tree_map(
            whole, getattr(optimizer, "_optimizer", optimizer).state_dict()
        )
        return state

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> Any:
        """Read a checkpoint, on each device."""
        return self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take each device's part of what was kept."""
        assert self.lightning_module is not None
        own = self.lightning_module.state_dict()
        with torch.no_grad():
            for name, tensor in checkpoint["state_dict"].items():
                own[name].copy_(part(tensor, own[name]))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take each device's part of the optimizers' states."""
        for optimizer, kept in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            states = {
                number: {
                    name: part(value, parameters[number])
                    if isinstance(value, Tensor) and value.shape == parameters[number].shape
                    else value
                    for name, value in state.items()
                }
                for number, state in kept["state"].items()
            }
            optimizer.load_state_dict({**kept, "state": states})


def shard(adapted: AdaptedModel, mesh: DeviceMesh) -> None:
    """Leave this device its part of each parameter of a model.

    Args:
        adapted: changed in place; blocks are gathered one at a time, and what is around them at
            once.
        mesh: of all devices.
    """
    for name in adaptable(adapted.model).blocks:
        fully_shard(adapted.model.get_submodule(name), mesh=mesh)
    fully_shard(adapted.model, mesh=mesh)


def whole(tensor: Any) -> Any:
    """Return a tensor that lies in parts as a plain one on the CPU; anything else as it is."""
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor


def part(tensor: Tensor, like: Tensor) -> Tensor:
    """Return this device's part of a tensor that all have, where another lies in parts."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(
        tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )
