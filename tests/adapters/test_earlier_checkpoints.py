"""Adapters that earlier versions have saved, with more in them or with less, are read."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from adapterlab.adapters import (
    AdaptedModel,
    BitFit,
    Combined,
    LNTuning,
    LoRA,
    Strategy,
    load_adapter,
    read_metadata,
    save_adapter,
)
from adapterlab.base.errors import CheckpointError
from adapterlab.models import MLP


class TimmsRmsNorm(nn.Module):
    """Its class has the name of timm's, which the first versions did not know."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))


TimmsRmsNorm.__name__ = "RmsNorm"


class Grown(MLP):
    """What earlier versions left as it was, or saved along: biases beside layers, tied weights."""

    def __init__(self) -> None:
        super().__init__((1, 2, 2), 3, widths=(4, 4), generator=torch.Generator().manual_seed(0))
        self.attention, self.norm = nn.MultiheadAttention(4, 2), nn.LayerNorm(4)
        self.rms, self.twin = TimmsRmsNorm(), nn.Linear(4, 4, bias=False)
        self.attention.requires_grad_(False)
        for weight in (self.attention.in_proj_weight, self.attention.out_proj.weight):
            weight.fill_(0.5)  # which would be drawn otherwise each time
        self.twin.weight = self.get_submodule("layers.1").weight  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("strategy", "lacks", "of_before"),
    [
        (LoRA(rank=2, targets=["layers.0"]), None, "layers.0.lora_A"),
        (BitFit(), "attention.in_proj_bias", "layers.0.bias"),
        (LNTuning(), "rms.weight", "norm.weight"),
        (
            Combined(parts={"b": BitFit(), "lora": LoRA(rank=2, targets=["layers.0"])}),
            *("attention.in_proj_bias", "attention.out_proj.bias"),
        ),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Strategy) else None,
)
def test_files_of_earlier_versions_are_read(
    strategy: Strategy, lacks: str | None, of_before: str, tmp_path: Path
) -> None:
    trained = strategy.apply(Grown())
    state = {name: t.detach() + 1.0 for name, t in trained.state().items() if name != lacks}
    save_adapter(trained, path := tmp_path / "adapter.safetensors")
    metadata = read_metadata(path)
    tied = {"twin.weight": trained.model.get_parameter("twin.weight").detach().clone()}

    def load(tensors: dict[str, Tensor]) -> AdaptedModel:
        save_file(tensors, path, metadata)
        load_adapter(fresh := strategy.apply(Grown()), path)
        return fresh

    loaded = load(state | tied).state()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    if lacks is not None:
        assert torch.equal(loaded[lacks], trained.state()[lacks])
    whole = dict(state)
    del whole[of_before]
    for odd, name in ((whole, of_before), (state | {"third.weight": torch.ones(1)}, "third")):
        with pytest.raises(CheckpointError, match=rf"{name}\S* is only in the"):
            load(odd)
