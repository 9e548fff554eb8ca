"""Prompts: PEFT's, a forward pass by hand, padding, pooling, packs, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_cases import MODELS, build, perturb
from company import assert_the_same_in_company
from torch import Tensor, nn
from transformer_cases import encoder, tokens

from adapterlab.adapters import (
    AdaptedModel,
    Combined,
    LoRA,
    LoRALinear,
    Prefix,
    Prompt,
    ReFT,
    plan,
)
from adapterlab.adapters.formats.peft import load_peft, save_peft
from adapterlab.adapters.methods.prompt import before, behind
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.models.pooling import PooledClassifier
from adapterlab.packing import share_frozen
from adapterlab.packing.trial import try_out
from small_images import classifier

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
DOUBLE = torch.float64
KINDS = ("bert", "roberta", "distilbert", "electra")


def adapted(
    strategy: Any, architecture: str = "bert", seed: int = 0, **options: Any
) -> AdaptedModel:
    made = strategy.apply(encoder(architecture, dtype=DOUBLE, **options), seed=seed).eval()
    perturb(made, seed=seed)
    return made


def test_prompts_of_several_lengths_stand_before_texts_and_zeros_behind() -> None:
    rows = torch.arange(1.0, 9.0).view(4, 2)
    placed = before([torch.tensor([-1.0, -2.0]), torch.tensor([-3.0])], rows)
    expected = [[-1, -2, 1, 2], [-1, -2, 3, 4], [-3, 5, 6, 0], [-3, 7, 8, 0]]
    assert placed.tolist() == expected
    assert torch.equal(behind([2, 1], placed, 2), rows)


def peft_model(peft: Any, model: nn.Module, config: Any, ours: AdaptedModel) -> Any:
    """Return PEFT's model with the head of ours."""
    theirs = peft.get_peft_model(model, config).double().eval()
    heads = {n: p for n, p in ours.trainable().items() if ours.in_head(n)}
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "modules_to_save" in name:
                place = name.replace("base_model.", "model.", 1)
                parameter.copy_(heads[place.replace("modules_to_save.default.", "")])
    return theirs


@pytest.mark.parametrize("architecture", KINDS)
def test_logits_and_gradients_are_pefts(architecture: str) -> None:
    peft = pytest.importorskip("peft")
    ours = adapted(Prompt(num_virtual_tokens=3), architecture)
    config = peft.PromptTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=3, token_dim=ours.state()[_prompt(ours)].shape[1],
        num_layers=2, num_attention_heads=4,
        modules_to_save=["pre_classifier"] if architecture == "distilbert" else None,
    )  # fmt: skip
    theirs = peft_model(peft, encoder(architecture, dtype=DOUBLE).model, config, ours)
    own = ours.trainable()[_prompt(ours)]
    table = theirs.prompt_encoder["default"].embedding.weight
    table.data.copy_(own.data)
    given = tokens(ours)
    both = ours(given), theirs(**given).logits
    torch.testing.assert_close(*both, **CLOSE)
    for logits in both:
        logits.square().sum().backward()
    assert own.grad is not None
    assert own.grad.abs().max() > 1e-6
    torch.testing.assert_close(own.grad, table.grad, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("architecture", KINDS)
def test_padding_company_and_counts(architecture: str) -> None:
    lengths = (2, 4, 1)
    models = [adapted(Prompt(num_virtual_tokens=n), architecture, n) for n in lengths]
    assert models[0].count().adapter == 2 * (16 if architecture == "electra" else 32)
    given = tokens(models[0])
    expected = models[0](given)
    base = encoder(architecture, dtype=DOUBLE).eval()(given)
    assert (expected - base).abs().max() > 1e-3
    unmasked = {"input_ids": given["input_ids"][-1:, :6]}
    torch.testing.assert_close(models[0](unmasked), expected[-1:], **CLOSE)
    assert_the_same_in_company(models, padding=5)


def _prompt(model: AdaptedModel) -> str:
    (name,) = (name for name in model.state() if name.endswith(".prompt"))
    return name


def pooled(pooling: Any) -> PooledClassifier:
    model = encoder("bert", dtype=DOUBLE).model
    generator = torch.Generator().manual_seed(0)
    return PooledClassifier(model, pooling, 3, generator=generator).double()


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_text_alone_is_pooled(pooling: Any) -> None:
    """The prompt is what it is computed beside, and no part of the text."""
    models = [Prompt(num_virtual_tokens=n).apply(pooled(pooling)).eval() for n in (3, 1)]
    for model in models:
        perturb(model)
    given = tokens(models[0])
    expected = [model(given) for model in models]
    layer: Any = models[0].model.model.bert
    hidden = layer.base(
        inputs_embeds=before([layer.prompt], layer.base.get_input_embeddings()(given["input_ids"])),
        attention_mask=before([torch.ones(3)], given["attention_mask"]),
    ).last_hidden_state[:, 3:]
    for row, length in enumerate(given["attention_mask"].sum(1)):
        of_text = hidden[row, :length]
        read = {"mean": of_text.mean(0), "cls": of_text[0], "last": of_text[-1]}[pooling]
        torch.testing.assert_close(
            models[0].model.model.classifier(read), expected[0][row], **CLOSE
        )
    torch.testing.assert_close(models[0](tokens(models[0], padding=4)), expected[0], **CLOSE)
    share_frozen(models)
    assert try_out(models, given, torch.arange(6) % 3) == [0, 1]


def test_frozen_dropout_keeps_lanes_of_one_length_together() -> None:
    from adapterlab.packing import signature

    grounds = [
        signature(
            Prompt(num_virtual_tokens=n).apply(
                encoder("bert", dropout=0.1, frozen_dropout=dropping), seed=seed
            )
        ).ground
        for dropping in (True, False)
        for seed, n in enumerate((2, 2, 3))
    ]
    assert grounds[0] == grounds[1] != grounds[2]
    assert grounds[3] == grounds[4] == grounds[5]


def test_the_plan_of_what_is_inside_the_encoder() -> None:
    parts = {"lora": LoRA(rank=2, targets=["query"], layers="last 1"), "prompt": Prompt()}
    made = adapted(Combined(parts=parts))
    planned = {layer.name: layer.method for layer in plan(made).layers if layer.adapter}
    inside = "model.bert.base.encoder.layer.1.attention.self.query"
    assert planned == {"model.bert": "prompt of 10", inside: "LoRA rank 2, scale 8"}
    assert plan(made).reached == pytest.approx(plan(adapted(parts["lora"])).reached)
    assert isinstance(made.model.get_submodule("model.bert.encoder.layer.1.attention.self.query"),
                      LoRALinear)  # fmt: skip


def test_positions_of_a_text_are_its_own_behind_a_prompt() -> None:
    parts = {"edit": ReFT(rank=2, positions="f1"), "prompt": Prompt(num_virtual_tokens=2)}
    made = adapted(Combined(parts=parts))
    seen: list[Tensor] = []
    block = made.model.get_submodule("model.bert.encoder.layer.0")
    block.base.register_forward_hook(lambda m, a, output: seen.append(_first(output)))
    block.register_forward_hook(lambda m, a, output: seen.append(_first(output)))
    made(tokens(made))
    changed = (seen[0] - seen[1]).abs().amax(-1) > 0
    assert changed.tolist() == [[False, False, True, *[False] * 7]] * 6


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def test_files_of_another_length_or_kind_are_refused(tmp_path: Path) -> None:
    save_peft(adapted(Prompt(num_virtual_tokens=2)), tmp_path / "two")
    other = adapted(Prompt(num_virtual_tokens=3))
    before_loading = {name: t.clone() for name, t in other.state().items()}
    with pytest.raises(CheckpointError, match=r"prompt_embeddings is \[2, 32\] in the file and"):
        load_peft(other, tmp_path / "two")
    with pytest.raises(CheckpointError, match="holds PEFT's PROMPT_TUNING; allowed: PREFIX_TUN"):
        load_peft(adapted(Prefix(num_virtual_tokens=2, offset_positions=True)), tmp_path / "two")
    assert all(torch.equal(t, other.state()[name]) for name, t in before_loading.items())


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (None, {"num_virtual_tokens": 0}, "adapter.num_virtual_tokens=0 must be 1 or more"),
        (None, {"std": 0.0}, "adapter.std=0 must be above 0 and finite"),
        (None, {"init": "text"}, "adapter.init=text; allowed: vocabulary, normal"),
        (lambda: build(MODELS["mlp"]), {}, "adapter=prompt needs an encoder of texts .* minilm"),
        (lambda: classifier("vit"), {}, "adapter=prompt needs an encoder of texts .* minilm"),
        (lambda: encoder("gpt2"), {}, "models with: bert_base, .*, and hf of bert, camembert"),
    ],
)
def test_a_mistake_is_one_line(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Prompt(**options).apply(make())
    assert "\n" not in str(caught.value)
