"""LoReFT: golden numbers by hand, rows that stay orthonormal, positions, and what is refused."""

import copy
from typing import Any

import pytest
import torch
from adapter_cases import MODELS, assert_same, build, inputs, perturb, snapshot
from torch import Tensor, nn
from transformer_cases import encoder, tokens, train

from adapterlab.adapters import AdaptedModel, LoReFT, ReFT
from adapterlab.adapters.budget import fit
from adapterlab.adapters.methods.reft import Positions, orthonormal_rows, positions_of
from adapterlab.base.errors import ConfigError
from adapterlab.packing import PackedModel, share_frozen
from adapterlab.training.recomputing import recomputing
from small_images import classifier

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def test_golden_numbers() -> None:
    """v = (1, 2), 2/(vᵀv) = 0.4, so R = (1, 0) - 0.4 v = (0.6, -0.8); R h = 0.6·5 - 0.8·10 = -5."""
    layer = LoReFT(nn.Identity(), rank=1, width=2, like=torch.zeros(1))
    with torch.no_grad():
        layer.rotation.copy_(torch.tensor([[7.0, 2.0]]))  # what is not after the diagonal is unused
        layer.source.copy_(torch.tensor([[1.0, 0.0]]))
        layer.source_bias.fill_(10.0)
    assert torch.allclose(orthonormal_rows(layer.rotation), torch.tensor([[0.6, -0.8]]))
    # W h + b - R h = 5 + 10 + 5 = 20; h + 20 R = (5 + 12, 10 - 16)
    y = layer(torch.tensor([[5.0, 10.0]]))
    torch.testing.assert_close(y, torch.tensor([[17.0, -6.0]]))


@pytest.mark.parametrize("rank", [1, 3])
def test_rows_are_orthonormal_and_do_not_depend_on_those_after(rank: int) -> None:
    generator = torch.Generator().manual_seed(rank)
    rotation = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    R = orthonormal_rows(rotation[:rank])
    torch.testing.assert_close(R @ R.mT, torch.eye(rank, dtype=torch.float64))
    padded = torch.cat([rotation[:rank], torch.zeros(6 - rank, 6, dtype=torch.float64)])
    torch.testing.assert_close(orthonormal_rows(padded)[:rank], R)
    wanted = torch.autograd.functional.jacobian(orthonormal_rows, rotation[:rank])
    own = torch.autograd.functional.jacobian(lambda x: orthonormal_rows(x)[:rank], padded)
    torch.testing.assert_close(own[:, :, :rank], wanted)
    assert own[:, :, rank:].abs().max() < 1e-14
    assert torch.autograd.gradcheck(orthonormal_rows, rotation[:rank].clone().requires_grad_())


def test_rows_stay_orthonormal_under_training_with_decay() -> None:
    adapted = ReFT(rank=3).apply(encoder("bert", dtype=torch.float64))
    first = orthonormal_rows(edits(adapted)[0].rotation).detach()
    train(adapted, steps=30)
    for layer in edits(adapted):
        R = orthonormal_rows(layer.rotation)
        torch.testing.assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64))
    assert (orthonormal_rows(edits(adapted)[0].rotation) - first).abs().max() > 0.05


def test_first_subspaces_are_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    like = torch.zeros(1)
    rows = [
        orthonormal_rows(
            LoReFT(nn.Identity(), rank=2, width=3, like=like, generator=generator).rotation
        )
        for _ in range(2000)
    ]
    projection = torch.stack([row.mT @ row for row in rows]).mean(0)
    torch.testing.assert_close(projection, torch.eye(3) * 2 / 3, rtol=0, atol=0.03)


def edits(adapted: AdaptedModel) -> list[LoReFT]:
    return [m for m in adapted.model.modules() if isinstance(m, LoReFT)]


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "gpt2", "llama", "albert", "mpnet"])
def test_blocks_are_edited_at_the_positions_of_each_text(architecture: str) -> None:
    model = encoder(architecture, dtype=torch.float64).eval()
    base = copy.deepcopy(model)
    adapted = ReFT(rank=2, positions="f2+l1").apply(model).eval()
    given = tokens(adapted)
    assert torch.equal(adapted(given), base(given))
    assert adapted.count().adapter == len(model.blocks) * 2 * (2 * 32 + 1)
    perturb(adapted)
    length = given["attention_mask"].sum(1)
    wanted = torch.arange(8) < 2
    wanted = wanted | (torch.arange(8) == length[:, None] - 1)
    outputs: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    for layer in edits(adapted):
        layer.base.register_forward_hook(keep)
        layer.register_forward_hook(keep)
    logits = adapted(given)
    assert (logits - base(given)).abs().max() > 1e-3
    for before, after in zip(outputs[::2], outputs[1::2], strict=True):
        assert torch.equal((before - after).abs().amax(-1) > 1e-9, wanted)
    assert len(outputs) == 2 * model.block_passes * len(model.blocks)
    padded = adapted(tokens(adapted, padding=4))
    torch.testing.assert_close(padded, logits, **CLOSE)


def test_positions_of_texts_with_padding_on_either_side() -> None:
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0]])
    chosen = Positions(1, 2).chosen(mask)[..., 0].long()
    assert chosen.tolist() == [[1, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0]]
    assert positions_of("f3") == Positions(3, 0)
    assert positions_of("l2") == Positions(0, 2)
    assert positions_of("f3+l2") == Positions(3, 2)


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "gpt2"])
def test_lanes_of_other_ranks_and_positions(architecture: str) -> None:
    strategies = [
        ReFT(rank=1 + i, positions=positions) for i, positions in enumerate(("all", "f1", "f1+l2"))
    ]
    models = [
        strategy.apply(encoder(architecture, dtype=torch.float64), seed=seed).eval()
        for seed, strategy in enumerate(strategies)
    ]
    for seed, model in enumerate(models):
        perturb(model, seed=seed)
    given = tokens(models[0])
    expected = [model(given) for model in models]
    for logits in expected:
        logits.sum().backward()
    share_frozen(models)
    pack = PackedModel(models, [0, 0, 0]).eval()
    logits = pack(given, rows=6, together=True)
    logits.sum().backward()
    for lane, (model, own) in enumerate(zip(models, expected, strict=True)):
        torch.testing.assert_close(logits[lane], own, **CLOSE)
        for name, gradient in pack.lane_gradients(lane).items():
            torch.testing.assert_close(gradient, model.trainable()[name].grad, **CLOSE)
    padded = [m.rotation.grad[0, 1:] for _, m in pack.lane_modules() if hasattr(m, "rotation")]
    assert len(padded) == 2
    assert not any(gradient.any() for gradient in padded)
    pack.keep([0, 2])
    after = pack(given, rows=6, together=True)
    torch.testing.assert_close(after, logits[[0, 2]], **CLOSE)


def test_images_and_whole_blocks() -> None:
    base = classifier("vit").eval()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    adapted = ReFT(rank=2).apply(copy.deepcopy(base)).eval()
    torch.testing.assert_close(adapted(images), base(images), rtol=1e-12, atol=1e-12)
    perturb(adapted)
    assert (adapted(images) - base(images)).abs().max() > 1e-3
    whole = ReFT(rank=2, layers="last 2").apply(build(MODELS["encoder"]))
    assert [n for n, m in whole.model.named_modules() if isinstance(m, LoReFT)] == [
        "layers.1",
        "layers.2",
    ]
    assert torch.equal(whole(inputs()), build(MODELS["encoder"])(inputs()))


def test_blocks_may_be_computed_again_for_their_gradients() -> None:
    adapted = ReFT(rank=2, positions="f1").apply(encoder("bert", dtype=torch.float64))
    perturb(adapted)
    given = tokens(adapted)
    gradients = []
    for on in (False, True):
        adapted.zero_grad()
        with recomputing(adapted, on=on):
            adapted(given).square().sum().backward()
        gradients.append([p.grad.clone() for p in adapted.trainable().values()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_rows_are_orthonormal_to_full_precision_under_autocast() -> None:
    adapted = ReFT(rank=3, positions="f1+l1").apply(encoder("bert"))
    perturb(adapted)
    models = [adapted, ReFT(rank=2).apply(encoder("bert"), seed=1)]
    given = tokens(adapted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        R = orthonormal_rows(edits(adapted)[0].rotation)
        alone = [model(given) for model in models]
        alone[0].float().sum().backward()
        share_frozen(models)
        together = PackedModel(models, [0, 0])(given, rows=6, together=True)
    torch.testing.assert_close(R @ R.mT, torch.eye(3), rtol=0, atol=1e-5)
    assert edits(adapted)[0].rotation.grad.any()
    for lane, own in zip(together, alone, strict=True):
        torch.testing.assert_close(lane.float(), own.float(), rtol=0.05, atol=0.05)


def test_random_first_values_are_not_the_base() -> None:
    base = build(MODELS["mlp"])
    expected = base(inputs())
    adapted = ReFT(rank=2, init="random").apply(base)
    assert (adapted(inputs()) - expected).abs().max() > 1e-2
    again = ReFT(rank=2, init="random").apply(build(MODELS["mlp"]))
    assert_same(snapshot(adapted), snapshot(again))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (None, {"rank": 0}, "adapter.rank=0 must be 1 or more"),
        (None, {"positions": "f0"}, r"adapter.positions=f0; allowed: all, fN, lN or fN\+lM"),
        (None, {"positions": "f1l1"}, "adapter.positions=f1l1; allowed"),
        (None, {"positions": ""}, "adapter.positions=; allowed"),
        (None, {"init": "zero"}, "adapter.init=zero; allowed: identity, random"),
        (lambda: encoder("bert"), {"rank": 33}, "adapter.rank=33 must be from 1 to the width, 32"),
        (lambda: build(MODELS["mlp"]), {"positions": "f1"}, "f1 counts tokens of a text, and this"),
        (
            lambda: classifier("swin"),
            {},
            r"reft on model.swin.encoder.layers.0 needs blocks",
        ),
        (lambda: classifier("convnext"), {}, r"needs blocks of linear .*models with: mlp, bert_b"),
        (lambda: classifier("resnet"), {}, "needs blocks of linear layers"),
        (lambda: encoder("squeezebert"), {}, "needs blocks of linear layers"),
    ],
)
def test_a_mistake_is_one_line(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ReFT(**options).apply(make())
    assert "\n" not in str(caught.value)


def test_a_budget_sets_the_rank_and_places_are_named_in_one_way() -> None:
    with torch.device("meta"):
        model = encoder("distilbert")
    head = sum(p.numel() for n in model.head_modules for p in model.get_submodule(n).parameters())
    assert fit(ReFT(), model, head + 2 * 3 * 65 + 1).strategy == ReFT(rank=3)
    assert ReFT(layers=[1]).in_one_way(encoder("bert")) == {"layers": "last 1"}
    assert ReFT(targets=["ffn"]).in_one_way(encoder("bert"))["targets"] == ["ffn"]
