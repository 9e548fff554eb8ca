"""UniPELT's parts: gates by hand, padding, packs, the preset, and what is refused."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from adapter_cases import MODELS, build, perturb
from company import assert_the_same_in_company
from torch import Tensor, nn
from transformer_cases import encoder

from adapterlab.adapters import Combined, GatedBottleneck, GatedLoRA, GatedPrefix, plan
from adapterlab.adapters.methods.gated import (
    GatedBottleneckLinear,
    GatedLoRALinear,
    GatedPrefixAttention,
    opened,
)
from adapterlab.base.errors import ConfigError
from adapterlab.models.forward_passes import Passed
from adapterlab.packing import share_frozen
from adapterlab.packing.trial import try_out
from adapterlab.runs.check import check
from adapterlab.runs.plan_checks import plan_on_data
from lab import tiny

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
DOUBLE = torch.float64
LN3 = torch.log(torch.tensor(3.0, dtype=DOUBLE))
"""Where a gate is open to 3/4."""


def filled(layer: nn.Module, **values: float | Tensor) -> None:
    with torch.no_grad():
        for name, value in values.items():
            getattr(layer, name).copy_(torch.as_tensor(value, dtype=DOUBLE))


def test_a_gate_is_the_mean_over_the_tokens_of_a_text() -> None:
    score = torch.stack((LN3, -LN3, LN3)).view(1, 3, 1)  # 3/4, 1/4 and 3/4 open
    assert opened(score, None).item() == pytest.approx(7 / 12)
    mask = Passed()
    mask.give(torch.tensor([[1, 1, 0]]))
    assert opened(score, mask).item() == pytest.approx(1 / 2)
    assert opened(score[:, 0], mask).item() == pytest.approx(3 / 4)


def test_golden_numbers_of_updates_and_bottlenecks() -> None:
    base = nn.Linear(1, 1).double()
    filled(base, weight=[[2.0]], bias=[1.0])
    x = torch.tensor([[[1.0], [3.0]]], dtype=DOUBLE)
    lora = GatedLoRALinear(base, rank=1)
    filled(lora, lora_A=[[5.0]], lora_B=[[4.0]], gate_weight=[[0.0]], gate_bias=LN3)
    expected = 2 * x + 1 + 3 / 4 * 20 * x
    torch.testing.assert_close(lora(x), expected, **CLOSE)
    neck = GatedBottleneckLinear(base, token_mask=None, size=1, width=1, scale=2.0)
    filled(neck, down=[[1.0]], down_bias=[-4.0], up=[[3.0]], up_bias=[1.0], gate_bias=-LN3)
    filled(neck, gate_weight=[[0.0]])
    h = 2 * x + 1  # 3 and 7
    torch.testing.assert_close(neck(x), h + 1 / 4 * 2 * (3 * (h - 4).relu() + 1), **CLOSE)


def test_golden_numbers_of_a_prefix() -> None:
    """Keys and values of the prefix are 3/4 of their own: scores ln 3, 0; weights 3/4, 1/4."""

    class Attention(nn.Module):
        def forward(self, hidden_states: Tensor) -> Tensor:
            one = torch.ones_like(hidden_states)[None]
            return F.scaled_dot_product_attention(one, 0 * one, 0 * one, scale=1.0)

    like = torch.zeros(1, dtype=DOUBLE)
    layer = GatedPrefixAttention(
        Attention(), opens=1, token_mask=None, length=1, width=1, std=1.0, like=like
    )
    filled(layer, prefix_key=LN3 * 4 / 3, prefix_value=8.0, gate_weight=[[0.0]], gate_bias=LN3)
    y = layer(torch.ones(1, 1, 1, dtype=DOUBLE))
    torch.testing.assert_close(y, torch.full_like(y, 3 / 4 * (8 * 3 / 4)), **CLOSE)


def unipelt(rank: int, length: int, size: int) -> Combined:
    lora = GatedLoRA(rank=rank)
    prefix = GatedPrefix(num_virtual_tokens=length)
    return Combined(
        parts={"bottleneck": GatedBottleneck(size=size), "lora": lora, "prefix": prefix}
    )


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_padding_and_company(architecture: str) -> None:
    models = []
    for seed, sizes in enumerate([(2, 3, 4), (1, 2, 3), (3, 3, 2)]):
        model = unipelt(*sizes).apply(encoder(architecture, dtype=DOUBLE), seed=seed).eval()
        perturb(model, seed=seed)
        models.append(model)
    assert_the_same_in_company(models, padding=4)


def test_an_update_alone_has_a_gate_on_an_mlp_too() -> None:
    models = [
        GatedLoRA(rank=2 + i, targets="all-linear").apply(build(MODELS["mlp"], dtype=DOUBLE))
        for i in (0, 1)
    ]
    for model in models:
        perturb(model.eval())
    assert {layer.method for layer in plan(models[1]).layers} == {"gated LoRA rank 3", "in full"}
    share_frozen(models)
    x = torch.randn(4, 5, dtype=DOUBLE)
    assert try_out(models, x, torch.arange(4) % 3) == [0, 1]


def test_the_presets_are_planned_and_refused(tmp_path: Path) -> None:
    text: tuple[str, ...] = (
        *("model=bert_tiny", "dataset=emotion", "base=scratch", "dataset.max_length=20"),
        *("model.hidden_size=32", "model.num_layers=2"),
    )
    try:
        planned = check(tiny(tmp_path, *text, "adapter=unipelt"))
    except ConfigError as error:
        pytest.fail(str(error))
    assert planned is not None
    methods = {layer.method for layer in planned.layers}
    assert methods >= {"gated LoRA rank 8", "gated prefix of 10", "gated bottleneck 2 after, relu"}
    refusals: dict[str, str] = {
        "unipelt": r"targets=auto needs layers that make queries.*bert_base",
        "prompt": "an encoder of texts.*minilm",
        "lora_prompt": "an encoder of texts.*minilm",
    }
    for preset, message in refusals.items():
        with pytest.raises(ConfigError, match=message) as caught:
            plan_on_data(tiny(tmp_path, f"adapter={preset}"))
        assert "\n" not in str(caught.value)
