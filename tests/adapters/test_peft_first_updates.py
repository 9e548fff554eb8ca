"""First updates in PEFT's files: as LoRA of twice the rank, which is what PEFT converts its to."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from adapter_cases import assert_same, perturb
from safetensors.torch import load_file
from transformer_cases import encoder, tokens

from adapterlab.adapters import DoRA, LoRA
from adapterlab.adapters.factors import Init
from adapterlab.adapters.formats.peft import load_peft, save_peft
from adapterlab.base.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`", "ignore:rank 4 on")

DOUBLE = torch.float64
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
TARGETS = ["query", "value"]

STRATEGIES = {
    "pissa": LoRA(rank=2, alpha=3, targets=TARGETS, init="pissa", alpha_pattern={"value": 5}),
    "olora, rslora": LoRA(
        rank=2, alpha=3, targets=TARGETS, init="olora", scaling="alpha_over_sqrt_rank"
    ),
    "milora, plain alpha": LoRA(rank=2, alpha=3, targets=TARGETS, init="milora", scaling="alpha"),
    "dora pissa": DoRA(rank=2, alpha=3, targets=TARGETS, init="pissa", rank_pattern={"value": 3}),
    "lora_ga": LoRA(rank=2, alpha=3, targets=TARGETS, init="lora_ga"),
}


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    return pytest.importorskip("peft")


@pytest.mark.parametrize("name", STRATEGIES)
def test_they_load_in_peft_and_come_back(peft: ModuleType, tmp_path: Path, name: str) -> None:
    strategy = STRATEGIES[name]
    ours = strategy.apply(encoder("bert", dtype=DOUBLE))
    perturb(ours)
    save_peft(ours, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["init_lora_weights"]) == (4, True)
    theirs = peft.PeftModel.from_pretrained(encoder("bert", dtype=DOUBLE).model, tmp_path)
    theirs = theirs.double().eval()  # it makes its own in float32, and reads them once more
    peft.set_peft_model_state_dict(theirs, load_file(tmp_path / "adapter_model.safetensors"))
    batch = tokens(ours)
    torch.testing.assert_close(theirs(**batch).logits, ours.eval()(batch), **CLOSE)
    fresh = strategy.apply(encoder("bert", dtype=DOUBLE), seed=5)
    load_peft(fresh, tmp_path)
    assert_same(fresh.state(), ours.state())
    doubled = {pattern: 2 * rank for pattern, rank in strategy.rank_pattern.items()}
    times = 2**0.5 if strategy.scaling == "alpha_over_sqrt_rank" else 2
    if strategy.scaling == "alpha":
        times = 1
    plain = replace(
        strategy, rank=4, init="kaiming", rank_pattern=doubled, alpha=times * strategy.alpha,
        alpha_pattern={p: times * alpha for p, alpha in strategy.alpha_pattern.items()},
    ).apply(encoder("bert", dtype=DOUBLE))  # fmt: skip
    load_peft(plain, tmp_path)
    torch.testing.assert_close(plain.eval()(batch), ours(batch), **CLOSE)


def test_another_first_update_is_refused(tmp_path: Path) -> None:
    strategy = STRATEGIES["pissa"]
    ours = strategy.apply(encoder("bert", dtype=DOUBLE))
    save_peft(ours, tmp_path)
    other = replace(strategy, init="milora").apply(encoder("bert", dtype=DOUBLE))
    with pytest.raises(CheckpointError, match="is less another first update than this model's is"):
        load_peft(other, tmp_path)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_what_peft_has_converted_loads(peft: ModuleType, tmp_path: Path, init: Init) -> None:
    """PEFT's conversion loses a head that is saved whole, so the head is adapted here."""
    base = encoder("bert")
    batch = tokens(base)
    config = peft.LoraConfig(
        r=2, lora_alpha=3, target_modules=[*TARGETS, "classifier"], init_lora_weights=init
    )
    theirs = peft.get_peft_model(encoder("bert").model, config)
    first = tmp_path / "first"
    theirs.peft_config["default"].init_lora_weights = True
    theirs.save_pretrained(first)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter += 0.1
    theirs.peft_config["default"].init_lora_weights = init
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save_pretrained(tmp_path, path_initial_model_for_weight_conversion=str(first))
    for strategy in (
        LoRA(rank=4, alpha=6, targets=TARGETS, head="adapt"),
        LoRA(rank=2, alpha=3, targets=TARGETS, head="adapt", init=init),
    ):
        ours = strategy.apply(encoder("bert"))
        load_peft(ours, tmp_path)
        torch.testing.assert_close(
            ours.eval()(batch), theirs.eval()(**batch).logits, rtol=1e-4, atol=1e-4
        )
        gap = ours(batch) - base.eval()(batch)
        assert gap.abs().max() > 1e-2
