"""Each of several devices has its part of a model, and of what comes from a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from adapterlab.adapters import Full, LoRA, Strategy
from adapterlab.base.errors import ConfigError
from adapterlab.models.mlp import MLP
from adapterlab.runs.check import check
from adapterlab.training.devices.sharded import part, shard, whole
from lab import tiny

DEVICES = 4


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """Devices of which this process is the first, and which hear nothing."""
    dist.init_process_group("fake", rank=0, world_size=DEVICES, store=FakeStore())
    yield init_device_mesh("cpu", (DEVICES,))
    dist.destroy_process_group()


@pytest.mark.parametrize("strategy", [Full(), LoRA(rank=4)], ids=["full", "lora"])
def test_a_device_holds_its_part_and_no_more(strategy: Strategy, mesh: DeviceMesh) -> None:
    model = MLP((1, 4, 4), 8, widths=(32, 16), generator=torch.Generator().manual_seed(0))
    adapted = strategy.apply(model, seed=1)
    before = {name: parameter.detach().clone() for name, parameter in adapted.named_parameters()}
    trained = set(adapted.trainable())
    shard(adapted, mesh)
    assert set(adapted.trainable()) == trained
    for name, parameter in adapted.named_parameters():
        assert isinstance(parameter, DTensor)
        own = parameter.to_local()
        assert own.numel() == before[name].numel() // DEVICES
        assert torch.equal(own, before[name].chunk(DEVICES)[0])
        taken = part(before[name], parameter)
        assert isinstance(taken, DTensor)
        assert torch.equal(taken.to_local(), own)


def test_what_is_whole_stays_as_it_is() -> None:
    tensor = torch.ones(3)
    assert whole(tensor) is tensor
    assert part(tensor, torch.zeros(3)) is tensor
    assert whole("adamw") == "adamw"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("adapter=adalora", "hardware.devices=2"), "adapter=adalora, which looks at whole"),
        (
            ("adapter=full", "adapter.towards_base=0.1", "hardware.devices=2"),
            "adapter=full, which looks at whole parameters in each step; allowed: ddp",
        ),
        (("adapter=lora",), r"and hardware\.devices=1; set it to 2 or more"),
        (
            ("adapter=lora", "hardware.devices=2", "hardware.compile=true"),
            r"hardware\.compile=true does not go with hardware\.devices=2",
        ),
    ],
)
def test_a_plan_refuses_what_a_run_does(
    options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        check(tiny(tmp_path, "hardware.strategy=fsdp", "hardware.accelerator=cpu", *options))
