"""A head of one's own over the first, the last, or the mean of a text's hidden states."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    PreTrainedModel,
)

from adapterlab.adapters import Full, Head, LoRA, plan
from adapterlab.adapters.formats.peft import save_peft
from adapterlab.adapters.plan import never_learning
from adapterlab.base.errors import ConfigError
from adapterlab.models.hub import hf
from adapterlab.models.pooling import PooledClassifier, Pooling, pool
from adapterlab.training.few_texts import why_by_length
from small_texts import CLASSES, data, encoder, padded, prefix

POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "last")


def pooled(name: str, pooling: Pooling, dtype: torch.dtype = torch.float32) -> PooledClassifier:
    model = encoder(name).model
    generator = torch.Generator().manual_seed(0)
    return PooledClassifier(model, pooling, CLASSES, generator=generator).to(dtype)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_only_what_is_no_padding_is_read(pooling: Pooling) -> None:
    hidden = torch.randn(3, 5, 2, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    expected = [
        {"cls": own[0], "mean": own.mean(0), "last": own[-1]}[pooling]
        for own in (hidden[0], hidden[1, :2], hidden[2, :1])
    ]
    torch.testing.assert_close(pool(hidden, mask, pooling), torch.stack(expected))
    whole = pool(hidden[:1], mask[:1], pooling)
    torch.testing.assert_close(pool(hidden[:1], None, pooling), whole)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", ["bert", "distilbert", "electra", "albert"])
def test_the_logits_are_the_heads_of_what_is_pooled(name: str, pooling: Pooling) -> None:
    model = pooled(name, pooling, torch.float64).eval()
    inputs = padded(model)
    assert model.head_modules == ("model.classifier",)
    body = model.model.get_submodule(model.body)
    hidden: Tensor = body(**inputs).last_hidden_state
    expected = model.model.classifier(pool(hidden, inputs["attention_mask"], pooling))
    torch.testing.assert_close(model(inputs), expected)
    adapted = LoRA(rank=2).apply(model)
    assert never_learning(adapted, inputs) == ()
    assert why_by_length(adapted, data(model), name) is None
    assert not any("pooler" in layer.name for layer in plan(adapted).layers)


DECODERS = {
    "gpt2": GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2),
    "llama": LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    ),
    "opt": OPTConfig(
        vocab_size=40,
        hidden_size=16,
        word_embed_proj_dim=16,
        ffn_dim=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    ),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_first_token_that_sees_no_other_is_not_read(name: str) -> None:
    def model() -> PreTrainedModel:
        return AutoModelForSequenceClassification.from_config(DECODERS[name])  # type: ignore[no-any-return]

    assert PooledClassifier(model(), "last", 2).pooling == "last"
    with pytest.raises(ConfigError, match=r"model\.pooling=cls: .* allowed: auto, mean, last"):
        PooledClassifier(model(), "cls", 2)


def test_all_that_full_trains_gets_a_gradient() -> None:
    adapted = Full().apply(pooled("bert", "mean"))
    adapted(padded(adapted.model)).square().sum().backward()
    assert all(p.grad is not None for p in adapted.trainable().values())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_frozen_prefix_keeps_what_is_read(pooling: Pooling, tmp_path: Path) -> None:
    model = pooled("bert", pooling)
    adapted, texts = Head().apply(model), data(model)
    found = prefix(adapted, texts, tmp_path)
    assert found.depth == 3, found.why
    assert found.first_token_only == (pooling == "cls")
    adapted.eval()
    for batch in texts.batches("validation"):
        plain = {name: batch.inputs[name] for name in ("input_ids", "attention_mask")}
        if pooling != "cls":
            torch.testing.assert_close(adapted(batch.inputs), adapted(plain), rtol=1e-4, atol=1e-5)


def test_it_comes_from_an_option_and_has_no_file_of_pefts(tmp_path: Path) -> None:
    encoder("bert").model.save_pretrained(tmp_path / "base")
    load = {"name_or_path": str(tmp_path / "base")}
    model = hf(2, pooling="mean", generator=torch.Generator().manual_seed(1), **load)
    again = hf(2, pooling="mean", generator=torch.Generator().manual_seed(1), **load)
    assert torch.equal(model.model.classifier.weight, again.model.classifier.weight)
    assert isinstance(model, PooledClassifier)
    assert type(hf(2, **load)) is not PooledClassifier
    with pytest.raises(ConfigError, match=r"model\.pooling=max; allowed: auto, cls, mean, last"):
        hf(2, pooling="max", **load)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no place for a head that is not the architecture's"):
        save_peft(LoRA(rank=2).apply(model), tmp_path / "peft")
    assert not (tmp_path / "peft").exists()
