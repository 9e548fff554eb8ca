"""Activation checkpointing gives the gradients that training without it gives."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import AutoModelForSequenceClassification, GPT2Config

from adapterlab.adapters import AdaptedModel, Full, LastLayers, LoRA, Strategy
from adapterlab.models.transformer import TransformerClassifier
from adapterlab.runs.identity import config_hash
from adapterlab.training import recomputing as module
from adapterlab.training.recomputing import recomputing
from lab import tiny
from small_texts import CLASSES, data, encoder

STRATEGIES = {
    "full": Full(),
    "last_layers": LastLayers(n=1),
    "lora": LoRA(rank=2, targets="ffn", dropout=0.4, init="both_normal"),
}


def gpt2(dropout: float) -> TransformerClassifier:
    config = GPT2Config(
        vocab_size=40,
        n_embd=16,
        n_layer=3,
        n_head=2,
        n_positions=20,
        resid_pdrop=dropout,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config.num_labels = CLASSES
    torch.manual_seed(0)
    return TransformerClassifier(AutoModelForSequenceClassification.from_config(config))


def gradients(adapted: AdaptedModel, *, on: bool) -> list[Tensor]:
    """Return those of two batches, one after the other, dropout and all."""
    adapted.train()
    adapted.reseed(3)
    torch.manual_seed(4)
    adapted.zero_grad()
    with recomputing(adapted, on=on):
        for batch in list(data(adapted.model).training_batches(0))[:2]:
            adapted(batch.inputs).square().sum().backward()
    return [p.grad.clone() for p in adapted.trainable().values() if p.grad is not None]


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_gradients_are_the_same(
    name: str, strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = gpt2(0.2) if name == "gpt2" else encoder("bert", dropout=0.2)
    adapted = strategy.apply(model, seed=1)
    blocks = [model.get_submodule(block) for block in model.blocks]
    calls: list[object] = []

    def counted(*args: object, **kwargs: object) -> object:
        calls.append(args)
        return checkpoint(*args, **kwargs)

    monkeypatch.setattr(module, "checkpoint", counted)
    plain, twice, again = (gradients(adapted, on=on) for on in (False, True, False))
    assert len(calls) == 2 * len(blocks)
    assert len(plain) == len(adapted.trainable())
    for one, other, third in zip(plain, twice, again, strict=True):
        # GPT-2 without its cache of keys and values has another kernel's rounding.
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
        assert name == "gpt2" or torch.equal(one, other)
        assert torch.equal(one, third)
    assert not any("forward" in vars(block) for block in blocks)


def test_it_is_in_no_hash(tmp_path: Path) -> None:
    plain, on = (
        tiny(tmp_path, "model=mlp", "dataset=digits_rotated", *more)
        for more in ((), ("hardware.recompute=true",))
    )
    assert on.hardware.recompute
    assert config_hash(plain) == config_hash(on)
