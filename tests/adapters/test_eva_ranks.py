"""EVA in whole: ranks given out by explained variance, first values and scales are PEFT's."""

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from adapterlab.adapters import LoRA
from adapterlab.adapters.formats.peft import save_peft
from adapterlab.adapters.inputs_of_layers import Scatter, watched
from adapterlab.adapters.rank_budget import Room, give_out, options_of_ranks
from adapterlab.adapters.strategy import AdapterLayer
from adapterlab.models import MLP

RHO, ALPHA = 2.0, 3.0


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    pytest.importorskip("adapterlab.base.torchvision_compat")
    return pytest.importorskip("peft")


def base() -> MLP:
    drawn = torch.Generator().manual_seed(1)
    return MLP((1, 1, 7), 3, widths=(7, 7, 7), generator=drawn)


@pytest.mark.parametrize(
    ("share", "rank", "expected_ranks"),
    [(0.5, 2, [2, 2, 2]), (0.1, 2, [1, 3, 2]), (0.1, 3, [2, 3, 4])],
)
def test_ranks_scales_and_first_values_are_pefts(
    peft: ModuleType, share: float, rank: int, expected_ranks: list[int], tmp_path: Path
) -> None:
    """Of inputs that vary in many directions, or in few."""
    x = torch.randn(40, 1, 1, 7, generator=torch.Generator().manual_seed(4))
    x = x * share ** torch.arange(7)
    targets = [f"layers.{i}" for i in range(3)]
    theirs = _of_peft(peft, base(), targets, x, rank)
    expected = theirs.peft_config["default"]

    strategy = LoRA(rank=rank, alpha=ALPHA, init="eva", init_batches=1)
    adapted = strategy.apply(base())
    layers: dict[str, Any] = {
        name: module
        for name, module in adapted.model.named_modules()
        if isinstance(module, AdapterLayer)
    }
    batch = SimpleNamespace(inputs=x, labels=torch.zeros(40).long())
    explained = {n: s.explained() for n, s in watched(adapted, layers, [batch], Scatter).items()}
    rooms = {name: Room(shares.tolist(), 1, 1) for name, shares in explained.items()}
    ranks = give_out(rooms, rank * len(layers), int(RHO * rank))
    assert sum(ranks.values()) == rank * len(layers)
    assert list(ranks.values()) == expected_ranks
    options = options_of_ranks(adapted, ranks, dict.fromkeys(ranks, ALPHA / rank), rank)

    assert {name: own for name, own in ranks.items() if own not in (0, rank)} == {
        name: own for name, own in expected.rank_pattern.items() if own
    }
    assert options["alpha_pattern"] == {n: a for n, a in expected.alpha_pattern.items() if a}
    chosen = LoRA(init="eva", init_batches=1, **options)
    ours = chosen.apply(base())
    ours.eval()
    values = chosen.first_values(ours, [batch], torch.Generator())
    for name, own in ranks.items():
        if not own:
            continue
        A = theirs.get_submodule(f"base_model.model.{name}").lora_A["default"].weight
        torch.testing.assert_close(values[f"{name}.lora_A"].abs(), A.abs(), atol=2e-3, rtol=0)

    save_peft(ours, tmp_path / "peft", base_name=None, classes=["a", "b", "c"])
    written = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    for pattern in ("rank_pattern", "alpha_pattern"):
        named = {key.lstrip("^").replace("\\", ""): one for key, one in written[pattern].items()}
        assert named == {n: one for n, one in getattr(expected, pattern).items() if one}


def _of_peft(
    peft: ModuleType, model: nn.Module, targets: list[str], x: torch.Tensor, rank: int
) -> Any:
    config = peft.LoraConfig(
        r=rank, lora_alpha=ALPHA, target_modules=targets, init_lora_weights="eva",
        eva_config=peft.EvaConfig(rho=RHO, tau=0.0),
    )  # fmt: skip
    theirs = peft.get_peft_model(model, config)
    peft.initialize_lora_eva_weights(
        theirs, [x], forward_fn=lambda model, x: model(x), prepare_model_inputs_fn=None,
        prepare_layer_inputs_fn=None, show_progress_bar=False,
    )  # fmt: skip
    return theirs
