"""Fixtures of the adapter tests; the table behind them is in adapter_cases.py."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from adapterlab.training.plain.loop import default_type

# Under --import-mode=importlib a test folder is not importable by itself.
sys.path.insert(0, str(Path(__file__).parent))

from adapter_cases import MODELS, ROWS, Case


@pytest.fixture(
    scope="module",  # so that the laws of one case come together, and may share a training
    params=[Case(model, name) for model in MODELS for name, row in ROWS.items() if row.fits(model)],
    ids=lambda case: f"{case.model_name}-{case.strategy_name}",
)
def case(request: pytest.FixtureRequest) -> Case:
    """One strategy of the table on one model: a law takes this and holds for all."""
    return request.param


@pytest.fixture
def mergeable(case: Case) -> Case:
    """Likewise, of the strategies that can be merged."""
    if not case.strategy.mergeable:
        pytest.skip("it cannot be merged")
    return case


@pytest.fixture
def peft_in_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Some of PEFT's methods compute in float32 whatever the weights are: let them not."""
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor.double())
    with default_type(torch.float64):
        yield


@pytest.fixture
def butterflies_in_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT's BOFT has one factor only where its CUDA extension is not built: stand in for that."""
    layer = pytest.importorskip("peft.tuners.boft.layer")

    def block_diagonals(blocks: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.block_diag(*own) for own in blocks])

    monkeypatch.setattr(layer, "get_fbd_cuda", lambda: True)
    monkeypatch.setattr(layer, "FastBlockDiag", SimpleNamespace(apply=block_diagonals))
