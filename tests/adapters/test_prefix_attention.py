"""Prefixes: PEFT's, golden numbers by hand, masks and padding, packs, and what is refused."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from adapter_cases import MODELS, build, perturb
from company import assert_the_same_in_company
from torch import Tensor, nn
from transformer_cases import encoder, tokens

from adapterlab.adapters import AdaptedModel, Combined, LoRA, LoRALinear, Prefix, PrefixAttention
from adapterlab.adapters.methods.prefix import Rows
from adapterlab.base.errors import ConfigError
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.packing.trial import try_out
from adapterlab.training.recomputing import recomputing
from small_images import classifier

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def test_golden_numbers() -> None:
    """Scores of the query 2: ln 3 · 2/2, 0, 0 with the prefix first; weights 3/5, 1/5, 1/5."""

    class Attention(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, scale=0.5)

    like = torch.zeros(1, dtype=torch.float64)
    layer = PrefixAttention(Attention(), length=1, width=1, std=1.0, like=like)
    with torch.no_grad():
        layer.prefix_key.fill_(torch.log(torch.tensor(3.0, dtype=torch.float64)))
        layer.prefix_value.fill_(10.0)
    zero = torch.zeros(1, 1, 2, 1, dtype=torch.float64)
    y = layer(zero[:, :, :1] + 2, zero, torch.tensor([[[[0.0], [5.0]]]], dtype=torch.float64))
    torch.testing.assert_close(y, torch.full_like(y, 0.6 * 10 + 0.2 * 0 + 0.2 * 5))


@pytest.mark.parametrize("mask", [None, "causal", "boolean", "added"])
def test_attention_is_that_of_keys_and_values_side_by_side(mask: str | None) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 4, 2, 5, 3, dtype=torch.float64)
    key, value = torch.randn(2, 2, 3, 6, dtype=torch.float64)  # of two lanes of two rows each
    real = torch.tensor([[True, True, False], [True, True, True]])
    allowed = torch.rand(4, 1, 5, 5) > 0.3
    allowed[..., 0] = True
    given = {
        None: None,
        "causal": None,
        "boolean": allowed,
        "added": torch.zeros(4, 1, 5, 5, dtype=torch.float64).masked_fill(~allowed, -torch.inf),
    }[mask]
    longer = Rows(key, value, real).before(k, v, given, 5, is_causal=mask == "causal")
    found = F.scaled_dot_product_attention(q, longer[0], longer[1], attn_mask=longer[2])
    for row in range(4):
        lane = row // 2
        own = int(real[lane].sum())
        seen = torch.ones(5, 5, dtype=torch.bool)
        seen = seen.tril() if mask == "causal" else seen if given is None else allowed[row, 0]
        for head in range(2):
            place = slice(3 * head, 3 * head + 3)
            keys = torch.cat((key[lane, :own, place], k[row, head]))
            values = torch.cat((value[lane, :own, place], v[row, head]))
            scores = q[row, head] @ keys.mT / 3**0.5
            scores[:, own:] = scores[:, own:].masked_fill(~seen, -torch.inf)
            torch.testing.assert_close(found[row, head], scores.softmax(-1) @ values, **CLOSE)


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_logits_and_gradients_are_pefts(architecture: str) -> None:
    pytest.importorskip("adapterlab.base.torchvision_compat")
    peft = pytest.importorskip("peft")
    model = encoder(architecture, dtype=torch.float64)
    theirs = copy.deepcopy(model.model)
    length = 3
    with torch.no_grad():  # theirs counts places from behind the prefix
        table = theirs.base_model.embeddings.position_embeddings.weight
        first = 2 if architecture == "roberta" else 0
        table[first + length : first + length + 8] = table[first : first + 8].clone()
    config = peft.PrefixTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=length, num_layers=2, token_dim=32,
        num_attention_heads=4,
    )  # fmt: skip
    theirs = peft.get_peft_model(theirs, config).double().eval()
    ours = Prefix(num_virtual_tokens=length).apply(model).eval()
    perturb(ours)
    (table,) = [p for n, p in theirs.named_parameters() if n.startswith("prompt_encoder")]
    layers = [m for m in ours.model.modules() if isinstance(m, PrefixAttention)]
    with torch.no_grad():
        own = [part for layer in layers for part in (layer.prefix_key, layer.prefix_value)]
        table.copy_(torch.cat(own, 1))
        heads = {n: p for n, p in ours.trainable().items() if ours.in_head(n)}
        for name, parameter in theirs.named_parameters():
            if "modules_to_save" in name:
                place = name.replace("base_model.", "model.").replace(
                    "modules_to_save.default.", ""
                )
                parameter.copy_(heads[place])
    given = tokens(ours)
    both = ours(given), theirs(**given).logits
    torch.testing.assert_close(*both, **CLOSE)
    for logits in both:
        logits.square().sum().backward()
    gradient = torch.cat([part.grad for part in own], 1)
    assert gradient.abs().max() > 1e-6
    torch.testing.assert_close(gradient, table.grad, rtol=1e-8, atol=1e-11)


ARCHITECTURES = ("bert", "distilbert", "modernbert", "albert", "electra", "gpt2", "llama", "opt")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_company_and_counts(architecture: str) -> None:
    lengths = (2, 4, 1)
    models = [
        Prefix(num_virtual_tokens=n).apply(encoder(architecture, dtype=torch.float64), seed=n)
        for n in lengths
    ]
    for seed, model in enumerate(models):
        perturb(model.eval(), seed=seed)
    width = 16 if architecture == "llama" else 32
    blocks = len(models[0].model.blocks)
    assert models[0].count().adapter == blocks * 2 * lengths[0] * width
    given = tokens(models[0])
    base = encoder(architecture, dtype=torch.float64).eval()(given)
    assert (models[0](given) - base).abs().max() > 1e-3
    assert_the_same_in_company(models, padding=5)


def losses(adapted: AdaptedModel) -> Iterator[float]:
    optimizer = torch.optim.AdamW(adapted.trainable().values(), lr=0.01)
    given = tokens(adapted)
    for _ in range(8):
        loss = F.cross_entropy(adapted(given), torch.arange(6) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def test_it_learns_also_where_blocks_are_computed_again() -> None:
    found = []
    for on in (False, True):
        adapted = Prefix(num_virtual_tokens=2, head="freeze").apply(encoder("bert").double())
        with recomputing(adapted.train(), on=on):
            found.append(list(losses(adapted)))
    assert found[0][-1] < found[0][0]
    assert found[0] == pytest.approx(found[1], rel=1e-10)


def test_updates_inside_of_what_has_a_prefix() -> None:
    parts = {"lora": LoRA(rank=2, targets=["query", "value"]), "prefix": Prefix(layers="last 1")}
    models = [
        Combined(parts=parts).apply(encoder("bert", dtype=torch.float64), seed=seed).eval()
        for seed in (0, 1)
    ]
    for seed, model in enumerate(models):
        perturb(model, seed=seed)
    names = [n for n, m in models[0].model.named_modules() if isinstance(m, LoRALinear)]
    assert names[-1].endswith("layer.1.attention.self.base.value")
    assert len(names) == 4
    share_frozen(models)
    given = tokens(models[0])
    assert try_out(models, given, torch.arange(6) % 3) == [0, 1]
    pack = PackedModel(models, [0, 0]).eval()
    logits = pack(given, rows=6, together=True)
    for lane, model in enumerate(models):
        torch.testing.assert_close(logits[lane], model(given), **CLOSE)
        assert pack.lane_state(lane).keys() == model.state().keys()


@pytest.mark.parametrize(
    ("family", "widths"), [("vit", 16 + 16), ("swin", 8 + 16), ("dinov2", 16 + 16)]
)
def test_image_classifiers_have_them_too(family: str, widths: int) -> None:
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    models = [Prefix(num_virtual_tokens=1 + i).apply(classifier(family), seed=i) for i in (0, 1)]
    assert models[1].count().adapter == 2 * 2 * widths
    assert (models[1].eval()(images) - classifier(family).eval()(images)).abs().max() > 1e-6
    share_frozen(models)
    assert try_out(models, images, torch.arange(2)) == [0, 1]


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (None, {"num_virtual_tokens": 0}, "adapter.num_virtual_tokens=0 must be 1 or more"),
        (None, {"std": 0.0}, "adapter.std=0 must be above 0 and finite"),
        (lambda: build(MODELS["mlp"]), {}, "adapter=prefix needs attention .*models with: bert_b"),
        (lambda: encoder("deberta-v2"), {}, "needs attention that torch's scaled_dot_product_at"),
        (lambda: encoder("bert"), {"layers": "last 3"}, "layers=last 3: the model has 2 layers"),
    ],
)
def test_a_mistake_is_one_line(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Prefix(**options).apply(make())
    assert "\n" not in str(caught.value)


def test_an_attention_of_another_kind_is_refused_when_it_is_computed() -> None:
    layer = PrefixAttention(nn.Linear(2, 2), length=1, width=2, std=1.0, like=torch.zeros(1))
    with pytest.raises(ConfigError, match="Linear should compute one scaled_dot_product_attention"):
        layer(torch.zeros(1, 2))
