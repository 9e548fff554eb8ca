"""Going on with an adapter of PEFT's own: what is computed, trained, kept and written again."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformer_cases import encoder, tokens

from adapterlab.adapters import AdaptedModel, Continued, LoRALinear, load_adapter, save_adapter
from adapterlab.adapters.formats.peft import load_peft, save_peft
from adapterlab.adapters.formats.peft_merged import merge_peft
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.packing.trial import try_out

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
NEAR = {"rtol": 1e-4, "atol": 1e-4}
DOUBLE = torch.float64
peft: Any = pytest.importorskip("peft")

KINDS: dict[str, dict[str, Any]] = {
    "ranks": {"rank_pattern": {"value": 5}, "alpha_pattern": {"query": 9}},
    "biases": {"bias": "lora_only"},
    "all biases": {"bias": "all"},
    "modules": {"modules_to_save": ["LayerNorm"], "use_rslora": True},
    "dora": {"use_dora": True, "lora_dropout": 0.25},
    "pissa": {"init_lora_weights": "pissa"},
}


def theirs(folder: Path, **options: Any) -> nn.Module:
    """Return PEFT's model with numbers of its own everywhere, and write it."""
    base = _base(options).model
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=3, lora_alpha=6, target_modules=["query", "value"], **options
    )
    model = peft.get_peft_model(base, config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, dtype=DOUBLE)
    model.save_pretrained(folder)
    return model


def _base(options: dict[str, Any]) -> Any:
    """Return the base in the precision that PEFT decomposes it in."""
    return encoder("bert", dtype=torch.float32 if "init_lora_weights" in options else DOUBLE)


def ours(folder: Path, **options: Any) -> AdaptedModel:
    """Return our model under the same adapter, with its head."""
    base = encoder("bert", dtype=DOUBLE)
    adapted = Continued(path=str(folder), **options).apply(base).eval()
    file = load_file(folder / "adapter_model.safetensors")
    with torch.no_grad():
        for name in ("weight", "bias"):
            head = adapted.model.get_parameter(f"model.classifier.{name}")
            head.copy_(file[f"base_model.model.classifier.{name}"])
    return adapted


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.filterwarnings("ignore")
def test_it_is_the_adapter_and_goes_on_as_peft_does(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = KINDS[kind] | {"lora_dropout": 0.0}
    model = theirs(tmp_path / "in", **options)
    adapted = ours(tmp_path / "in")
    given = tokens(adapted)
    close = NEAR if kind == "pissa" else CLOSE
    torch.testing.assert_close(adapted(given), model(**given).logits, **close)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert adapted.count().trainable == sum(p.numel() for p in trained)
    labels = torch.arange(6) % 3
    for parameters, logits in (
        (list(adapted.trainable().values()), lambda: adapted(given)),
        (trained, lambda: model(**given).logits),
    ):
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits(), labels).backward()
            optimizer.step()
    after = adapted(given)
    torch.testing.assert_close(after, model(**given).logits, **close)
    save_peft(adapted, tmp_path / "out")
    assert ("base_sha256" in _metadata(tmp_path / "out")) == (kind in ("ranks", "dora", "pissa"))
    again = peft.PeftModel.from_pretrained(_base(options).model, tmp_path / "out").double()
    peft.set_peft_model_state_dict(again, load_file(tmp_path / "out" / "adapter_model.safetensors"))
    torch.testing.assert_close(again.eval()(**given).logits, after, **NEAR)
    third = ours(tmp_path / "in")
    load_peft(third, tmp_path / "out")
    assert torch.equal(third(given), after)
    merged = encoder("bert", dtype=DOUBLE)
    merge_peft(merged, tmp_path / "out")
    torch.testing.assert_close(merged.eval()(given), after, **CLOSE)


def _metadata(folder: Path) -> dict[str, str]:
    from adapterlab.adapters.formats.peft_files import read_weights

    return read_weights(folder)[1]


@pytest.mark.filterwarnings("ignore")
def test_checkpoints_packs_and_dropout(kind: str, tmp_path: Path) -> None:
    theirs(tmp_path / "in", **KINDS[kind])
    models = [ours(tmp_path / "in") for _ in range(2)]
    for number, model in enumerate(models):
        for parameter in model.trainable().values():
            parameter.data += 0.01 * (number + 1)
    layers = [m for m in models[0].model.modules() if isinstance(m, LoRALinear)]
    assert {layer.dropout.p for layer in layers} == {KINDS[kind].get("lora_dropout", 0.0)}
    save_adapter(models[0], tmp_path / "a.safetensors")
    moved = (tmp_path / "in").rename(tmp_path / "moved")
    fresh = Continued(path=str(moved)).apply(encoder("bert", dtype=DOUBLE)).eval()
    load_adapter(fresh, tmp_path / "a.safetensors")
    given = tokens(fresh)
    assert torch.equal(fresh(given), models[0](given))
    expected = [model(given) for model in models]
    share_frozen(models)
    assert try_out(models, given, torch.arange(6) % 3) == [0, 1]
    pack = PackedModel(models, [0, 0]).eval()
    for lane, logits in enumerate(pack(given, rows=6, together=True)):
        torch.testing.assert_close(logits, expected[lane], **CLOSE)


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_gone_on_with_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="goes on from an adapter in PEFT's format; name it"):
        Continued()
    folder = tmp_path / "in"
    theirs(folder)
    with pytest.raises(ConfigError, match=r"adapter\.dropout=1 must be at least 0 and below 1"):
        Continued(path=str(folder), dropout=1.0)
    with pytest.raises(CheckpointError, match="which is no linear layer and no convolution"):
        Continued(path=str(folder)).apply(encoder("distilbert"))
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(CheckpointError, match="holds PEFT's IA3; allowed: LORA"):
        Continued(path=str(folder)).apply(encoder("bert"))


def test_a_layer_of_the_head_is_refused(tmp_path: Path) -> None:
    base = encoder("bert", dtype=DOUBLE).model
    config = peft.LoraConfig(r=2, target_modules=["query", "classifier"])
    peft.get_peft_model(copy.deepcopy(base), config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"adapts model\.classifier, a layer of the head"):
        Continued(path=str(tmp_path)).apply(encoder("bert", dtype=DOUBLE))
