"""What lanes of several methods are said to have taken of a pack's time."""

from itertools import pairwise

import pytest
import torch
from adapter_cases import snapshot
from lanes_law import lane_models

from adapterlab.packing import share_frozen
from adapterlab.training.hardware import Device
from adapterlab.training.packed.shares import shares


class FewBatches:
    """Three batches of random rows."""

    def training_batches(self, epoch: int, device: torch.device) -> list[object]:
        rows = torch.randn(3, 8, 5, dtype=torch.float64)
        return [type("Batch", (), {"inputs": x, "labels": torch.zeros(8).long()}) for x in rows]


DEVICE = Device("cpu", torch.device("cpu"), "64-true")


def test_lanes_of_one_method_share_alike_and_models_stay_as_they_are() -> None:
    models = lane_models("mlp", ("lora", "lora-dropout", "dora", "dora", "full"))
    share_frozen(models)
    before = [snapshot(model) for model in models]
    found = shares(models, FewBatches(), DEVICE)  # type: ignore[arg-type]
    assert sum(found) == pytest.approx(1)
    assert all(share > 0 for share in found)
    assert found[2] == found[3]
    assert any(a != b for a, b in pairwise(found))
    for model, state in zip(models, before, strict=True):
        after = snapshot(model)
        assert all(torch.equal(after[name], tensor) for name, tensor in state.items())
        assert all(parameter.grad is None for parameter in model.parameters())


def test_one_method_needs_no_measurement() -> None:
    assert shares(lane_models("mlp", ["lora"] * 4), None, DEVICE) == [0.25] * 4  # type: ignore[arg-type]


def test_a_clock_that_has_not_moved_gives_equal_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.process_time", lambda: 1.0)
    models = lane_models("mlp", ("lora", "dora", "full", "full"))
    assert shares(models, FewBatches(), DEVICE) == [0.25] * 4  # type: ignore[arg-type]
