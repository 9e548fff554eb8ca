"""Prefixes whose text is counted on from them are PEFT's, in files too; all that PEFT has."""

from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_cases import perturb
from safetensors.torch import load_file
from transformer_cases import encoder, tokens

from adapterlab import adapters
from adapterlab.adapters import Prefix
from adapterlab.adapters.formats.peft import METHODS, load_peft, save_peft
from adapterlab.base.errors import ConfigError
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.packing.trial import try_out

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
peft: Any = pytest.importorskip("peft")


@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra"])
def test_prefixes_go_to_peft_and_come_back(architecture: str, tmp_path: Path) -> None:
    models = []
    for seed, length in enumerate((3, 1)):
        base = encoder(architecture, dtype=torch.float64)
        strategy = Prefix(num_virtual_tokens=length, offset_positions=True)
        models.append(strategy.apply(base, seed=seed).eval())
        perturb(models[-1], seed=seed)
    given = tokens(models[0])
    expected = [model(given) for model in models]
    save_peft(models[0], tmp_path)
    base = encoder(architecture, dtype=torch.float64).model
    theirs = peft.PeftModel.from_pretrained(base, tmp_path).double()
    peft.set_peft_model_state_dict(theirs, load_file(tmp_path / "adapter_model.safetensors"))
    torch.testing.assert_close(theirs.eval()(**given).logits, expected[0], **CLOSE)
    fresh = models[0].strategy.apply(encoder(architecture, dtype=torch.float64), seed=7).eval()
    load_peft(fresh, tmp_path)
    assert torch.equal(fresh(given), expected[0])
    share_frozen(models)
    assert try_out(models, given, torch.arange(6) % 3) == [0, 1]
    logits = PackedModel(models, [0, 0]).eval()(given, rows=6, together=True)
    for lane, own in enumerate(expected):
        torch.testing.assert_close(logits[lane], own, **CLOSE)


def test_why_others_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PEFT counts the positions of a text on from its pref"):
        save_peft(Prefix().apply(encoder("bert")), tmp_path)
    part = Prefix(layers="last 1", offset_positions=True)
    with pytest.raises(ConfigError, match="PEFT's prefixes are in all layers, not in layers=last"):
        save_peft(part.apply(encoder("bert")), tmp_path)
    with pytest.raises(ConfigError, match="needs embeddings of positions that count on"):
        Prefix(offset_positions=True).apply(encoder("distilbert"))


IN_PEFT: dict[str, tuple[str, ...]] = {
    "LORA": ("LoRA", "LoRAPlus", "LoRAFA", "DoRA", "Continued"),
    "ADALORA": ("AdaLoRA",),
    "VERA": ("VeRA",),
    "IA3": ("IA3",),
    "LN_TUNING": ("LNTuning",),
    "OFT": ("OFT",),
    "BOFT": ("BOFT",),
    "SHIRA": ("SHiRA",),
    "HIRA": ("HiRA",),
    "HRA": ("HRA",),
    "MISS": ("MiSS",),
    "DELORA": ("DeLoRA",),
    "FOURIERFT": ("FourierFT",),
    "LOHA": ("LoHa",),
    "LOKR": ("LoKr",),
    "PROMPT_TUNING": ("Prompt",),
    "PREFIX_TUNING": ("Prefix",),
}
"""PEFT's types that there is a strategy for."""


def test_every_strategy_that_peft_has_is_written_as_peft_does() -> None:
    assert set(IN_PEFT) <= {kind.value for kind in peft.PeftType}
    ours = {getattr(adapters, name) for names in IN_PEFT.values() for name in names}
    assert ours <= METHODS.keys()
