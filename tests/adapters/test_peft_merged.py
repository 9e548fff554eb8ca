"""A PEFT adapter merged into its base computes what PEFT does, whatever PEFT trained of it."""

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from adapter_cases import assert_same, perturb, snapshot
from safetensors.torch import load_file, save_file
from torch import nn
from transformer_cases import encoder, tokens

from adapterlab.adapters import DoRA, LoRA
from adapterlab.adapters.formats.peft import save_peft
from adapterlab.adapters.formats.peft_merged import classes_of_peft, head_outputs, merge_peft
from adapterlab.base.errors import CheckpointError

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
PLAIN = {"task_type": "SEQ_CLS", "r": 2, "lora_alpha": 3, "target_modules": ["query", "value"]}

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")

OF_PEFT: dict[str, dict[str, Any]] = {
    "a usual one": {},
    "trained biases of its layers": {"bias": "lora_only"},
    "all biases": {"bias": "all"},
    "modules saved whole": {"modules_to_save": ["classifier", "intermediate.dense"]},
    "patterns": {"rank_pattern": {"layer.1.*query": 4}, "alpha_pattern": {"value": 7}},
    "dora": {"use_dora": True, "bias": "lora_only", "use_rslora": True},
    "pissa, not converted": {"init_lora_weights": "pissa"},
    "olora, not converted": {"init_lora_weights": "olora"},
}


@pytest.fixture(scope="module")
def peft() -> ModuleType:
    return pytest.importorskip("peft")


def trained_by_peft(peft: ModuleType, folder: Path, **options: Any) -> nn.Module:
    theirs = peft.get_peft_model(encoder("bert").model, peft.LoraConfig(**PLAIN | options))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    theirs.save_pretrained(folder)
    return theirs.eval()


@pytest.mark.parametrize("name", OF_PEFT)
def test_it_computes_what_peft_does(peft: ModuleType, tmp_path: Path, name: str) -> None:
    theirs = trained_by_peft(peft, tmp_path, **OF_PEFT[name])
    model = encoder("bert").eval()
    batch, names = tokens(model), list(model.state_dict())
    before = model(batch)
    assert head_outputs(model, tmp_path) == 3
    assert classes_of_peft(tmp_path) is None
    merge_peft(model, tmp_path)
    assert list(model.state_dict()) == names
    assert (model(batch) - before).abs().max() > 1e-2
    torch.testing.assert_close(model(batch), theirs(**batch).logits, **CLOSE)


@pytest.mark.parametrize("kind", [LoRA, DoRA])
@pytest.mark.parametrize("architecture", ["roberta", "distilbert"])
def test_what_we_wrote_is_merged_as_we_merge(
    tmp_path: Path, kind: type[LoRA], architecture: str
) -> None:
    ours = kind(rank=2, alpha=3, init="pissa", rank_pattern={"query": 3}).apply(
        encoder(architecture)
    )
    perturb(ours)
    save_peft(ours, tmp_path, classes=("a", "b", "c"))
    model = encoder(architecture).eval()
    merge_peft(model, tmp_path)
    assert classes_of_peft(tmp_path) == ("a", "b", "c")
    batch = tokens(model)
    torch.testing.assert_close(model(batch), ours.eval()(batch), **CLOSE)


def refused(folder: Path, message: str, model: nn.Module | None = None) -> None:
    model = encoder("bert") if model is None else model
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=message) as caught:
        merge_peft(model, folder)
    assert "\n" not in str(caught.value)
    assert_same(snapshot(model), before)


def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    refused(tmp_path, "adapter_config.json: no such file")
    ours = LoRA(rank=2, alpha=3, targets="query").apply(encoder("bert"))
    save_peft(ours, tmp_path)
    refused(tmp_path, "belongs to other base weights", encoder("bert", seed=1))
    refused(tmp_path, "belongs to other base weights", encoder("distilbert"))
    path, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    config, tensors = json.loads(path.read_text()), dict(load_file(weights))
    for change, message in (
        ({"peft_type": "IA3"}, "holds PEFT's IA3; allowed: LORA"),
        ({"init_lora_weights": "corda"}, "initialised by corda, which changes the base"),
        ({"layer_replication": [[0, 1]]}, "no counterpart here: layer_replication"),
        ({"lora_alpha": -1}, "lora_alpha=-1 of .* should be above 0"),
    ):
        path.write_text(json.dumps(config | change))
        refused(tmp_path, message)
    path.write_text(json.dumps(config))
    first = "base_model.model.bert.encoder.layer.0.attention.self.query"
    save_file(tensors, weights)  # without the hash of the base
    refused(tmp_path, "does not fit TransformerClassifier: ", encoder("distilbert"))
    for changed, message in (
        ({f"{first}.lora_A.weight": torch.ones(2, 5)}, r"\[32, 2\] times \[2, 5\], its weight \[3"),
        ({f"{first}.lora_A.weight": None}, "has lora_A alone, or lacks it"),
        ({"base_model.model.bert.nothing": torch.ones(3)}, r"bert.nothing is \[3\] in the file"),
        ({"base_model.model.classifier.bias": torch.ones(5)}, r"\[5\] in the file and \[3\] in"),
        ({f"{first}.lora_embedding_A": torch.ones(2, 5)}, "lora_embedding_A is"),
    ):
        kept = {n: t for n, t in (copy.copy(tensors) | changed).items() if t is not None}
        save_file(kept, weights)
        refused(tmp_path, message)
