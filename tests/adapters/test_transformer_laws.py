"""The laws of test_laws.py on encoders of transformers, and PEFT's results on the same ones."""

import copy
import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from adapter_cases import assert_same, perturb, snapshot, without_base
from torch import nn
from transformer_cases import ARCHITECTURES, CASES, CLASSES, MORE, Case, encoder, tokens, train

from adapterlab.adapters import (
    AdaptedModel,
    AdapterLayer,
    DoRA,
    LastLayers,
    LoRA,
    LoRALinear,
    load_adapter,
    merge,
    plan,
    save_adapter,
)
from adapterlab.base.errors import ConfigError

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
KEY_BIASES = tuple(
    f"{key}.{bias}"
    for key in ("key", "k_lin", "key_proj", "attn.k", "k_proj")
    for bias in ("bias", "base.bias", "up_bias", "source_bias", "shift")
)


@pytest.fixture(
    scope="module",  # so that the laws of one case come together, and its training is theirs
    params=list(itertools.starmap(Case, CASES)),
    ids=lambda case: f"{case.architecture}-{case.strategy_name}",
)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@dataclass(frozen=True)
class Trained:
    """A model after a few steps, which laws look at and do not change."""

    adapted: AdaptedModel
    losses: list[float]


@pytest.fixture(scope="module")
def trained(case: Case) -> Trained:
    torch.manual_seed(0)
    adapted = case.adapted(seed=5)
    return Trained(adapted, train(adapted, steps=3))


class TestLaws:
    def test_the_logits_are_the_bases_at_the_start(self, case: Case) -> None:
        base = case.base(dtype=torch.float64)
        inputs = tokens(base)
        expected = base(inputs)
        assert expected.shape == (6, CLASSES)
        assert expected.std(0).min() > 1e-3  # the inputs matter
        adapted = case.adapted(dtype=torch.float64)
        for training in (True, False):
            logits = adapted.train(training)(inputs)
            if not case.row.starts:
                assert (logits - expected).abs().max() > 1e-4
            elif case.row.exact:
                assert torch.equal(logits, expected)
            else:
                near = case.row.nearly
                close = CLOSE if near is None else {"rtol": near, "atol": near}
                torch.testing.assert_close(logits, expected, **close)

    def test_merged_equals_unmerged(self, case: Case) -> None:
        base = case.base(dtype=torch.float64)
        adapted = case.adapted(dtype=torch.float64)
        perturb(adapted)
        inputs = tokens(adapted)
        logits = adapted.eval()(inputs)
        assert (logits - base(inputs)).abs().max() > 1e-3
        if not case.strategy.mergeable:
            with pytest.raises(ConfigError, match="cannot be merged"):
                merge(adapted)
            return
        merged = merge(adapted)
        torch.testing.assert_close(merged(inputs), logits, **CLOSE)
        assert type(merged) is type(base)
        assert merged.state_dict().keys() == base.state_dict().keys()
        assert not any(isinstance(module, AdapterLayer) for module in merged.modules())

    def test_what_is_frozen_stays_bit_identical_and_gets_no_gradient(
        self, case: Case, trained: Trained
    ) -> None:
        base = dict(case.base().named_parameters())
        adapted = trained.adapted
        trainable = adapted.trainable()
        assert trained.losses[-1] < trained.losses[0]
        frozen = {n: p for n, p in adapted.model.named_parameters() if n not in trainable}
        assert bool(frozen) == (adapted.count().trainable < adapted.count().total)
        for name, parameter in frozen.items():
            assert torch.equal(parameter, base[without_base(name)]), name
            assert parameter.grad is None, name

    def test_what_is_trainable_gets_a_gradient_after_two_steps(self, case: Case) -> None:
        adapted = case.adapted(dtype=torch.float64)
        before = {name: p.detach().clone() for name, p in adapted.trainable().items()}
        train(adapted, steps=2)
        for name, parameter in adapted.trainable().items():
            assert parameter.grad is not None, name
            # A key's bias adds the same to all scores of a query, and softmax takes it out.
            if not name.endswith(KEY_BIASES):
                assert parameter.grad.abs().max() > 1e-12, name
                assert not torch.equal(parameter, before[name]), name

    def test_counts_are_the_closed_form(self, case: Case) -> None:
        adapted = case.adapted()
        count = adapted.count()
        base = case.base()
        heads = [base.get_submodule(name) for name in base.head_modules]
        own_head = sum(p.numel() for head in heads for p in head.parameters())
        adapted_head = case.row.count(base, True)
        expected = {"train": own_head, "freeze": 0, "adapt": adapted_head}
        assert count.head == expected[case.strategy.head]
        assert count.adapter == case.row.count(base, False)
        added = count.total - sum(p.numel() for p in base.parameters())
        layers = [m for m in adapted.model.modules() if isinstance(m, AdapterLayer)]
        assert added == sum(
            sum(p.numel() for p in layer.parameters(recurse=False)) for layer in layers
        )

    def test_the_plan_needs_no_weights(self, case: Case) -> None:
        with torch.device("meta"):
            model = encoder(case.architecture)
        assert all(parameter.is_meta for parameter in model.parameters())
        assert plan(case.strategy.apply(model)) == plan(case.adapted())

    def test_a_checkpoint_restores_the_logits(
        self, case: Case, trained: Trained, tmp_path: Path
    ) -> None:
        adapted = trained.adapted
        save_adapter(adapted, tmp_path / "adapter.safetensors")
        frozen = {name.rpartition(".")[2] for name in adapted.frozen_state(saved=False)}
        fresh = case.adapted(seed=5 if case.row.drawn & frozen else 2)  # seeds draw frozen state
        inputs = tokens(fresh)
        load_adapter(fresh, tmp_path / "adapter.safetensors")
        assert torch.equal(fresh.eval()(inputs), adapted.eval()(inputs))

    def test_same_seed_gives_the_same_training_bit_for_bit(
        self, case: Case, trained: Trained
    ) -> None:
        torch.manual_seed(1)  # it was 0
        again = case.adapted(seed=5)
        assert train(again, steps=3) == trained.losses
        assert_same(snapshot(again), snapshot(trained.adapted))

    def test_padding_does_not_change_an_examples_logits(self, case: Case) -> None:
        adapted = case.adapted(dtype=torch.float64).eval()
        perturb(adapted)
        bucketed, padded = tokens(adapted), tokens(adapted, padding=6)
        torch.testing.assert_close(adapted(padded), adapted(bucketed), **CLOSE)
        alone = {name: tensor[-1:, :6] for name, tensor in bucketed.items()}
        assert bucketed["attention_mask"][-1].sum() == 6
        torch.testing.assert_close(adapted(alone), adapted(bucketed)[-1:], **CLOSE)


PARITY = {
    "lora": LoRA(rank=2, alpha=3, targets=["attention", "ffn"], head="adapt"),
    "rslora": LoRA(
        rank=3, alpha=3, targets=["query", "value"], scaling="alpha_over_sqrt_rank", head="adapt"
    ),
    "dora": DoRA(rank=2, alpha=3, targets=["attention", "ffn"], head="adapt"),
}
PEFT_NAMES = {
    "lora_A": "lora_A.default.weight",
    "lora_B": "lora_B.default.weight",
    "magnitude": "lora_magnitude_vector.default.weight",
}


class TestPeftParity:
    @pytest.fixture(params=list(itertools.product(ARCHITECTURES, PARITY)), ids="-".join)
    def pair(self, request: pytest.FixtureRequest) -> tuple[AdaptedModel, nn.Module]:
        """Return our model and PEFT's over one base, with the same non-zero factors."""
        peft = pytest.importorskip("peft")
        architecture, name = request.param
        strategy = PARITY[name]
        base = encoder(architecture, dtype=torch.float64)
        their_base = copy.deepcopy(base.model)
        ours = strategy.apply(base)
        layers = [n for n, m in ours.model.named_modules() if isinstance(m, LoRALinear)]
        config = peft.LoraConfig(
            r=strategy.rank,
            lora_alpha=strategy.alpha,
            target_modules=[name.removeprefix("model.") for name in layers],
            use_rslora=strategy.scaling == "alpha_over_sqrt_rank",
            use_dora=isinstance(strategy, DoRA),
        )
        theirs = peft.get_peft_model(their_base, config).double()
        perturb(ours)
        parameters = dict(theirs.named_parameters())
        with torch.no_grad():
            for name, parameter in ours.trainable().items():
                parameters[self.counterpart(name)].copy_(parameter)
        return ours.eval(), theirs.eval()

    def counterpart(self, name: str) -> str:
        layer, _, parameter = name.rpartition(".")
        return f"base_model.model.{layer.removeprefix('model.')}.{PEFT_NAMES[parameter]}"

    def test_logits_and_gradients(self, pair: tuple[AdaptedModel, nn.Module]) -> None:
        ours, theirs = pair
        inputs = tokens(ours)
        logits, their_logits = ours(inputs), theirs(**inputs).logits
        torch.testing.assert_close(logits, their_logits, **CLOSE)
        weights = torch.tensor([1.0, -2.0, 0.5])
        for output in (logits, their_logits):
            (output * weights).square().sum().backward()
        parameters = dict(theirs.named_parameters())
        trained = {name for name, p in parameters.items() if p.requires_grad}
        assert trained == {self.counterpart(name) for name in ours.trainable()}
        for name, parameter in ours.trainable().items():
            their_gradient = parameters[self.counterpart(name)].grad
            assert parameter.grad.abs().max() > 1e-9, name
            torch.testing.assert_close(parameter.grad, their_gradient, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("architecture", MORE)
def test_short_names_reach_the_same_in_every_architecture(architecture: str) -> None:
    model = encoder(architecture)
    aliases = model.target_aliases
    blocks = len(model.blocks)
    assert blocks == (1 if architecture == "albert" else 2)
    assert model.block_passes == (2 if architecture == "albert" else 1)
    parts = {"qkv"} if "qkv" in aliases else {"query", "key", "value"}
    assert set(aliases) == parts | {"out", "ffn", "attention"}
    assert set(aliases["attention"]) == {n for part in (*parts, "out") for n in aliases[part]}
    gated = architecture in ("llama", "qwen2", "qwen3")
    assert len(aliases["ffn"]) == blocks * (3 if gated else 2)
    strategy = LoRA(rank=2, targets=["ffn", "attention"])
    assert strategy.in_one_way(model)["targets"] != sorted({*aliases["ffn"], *aliases["attention"]})
    planned = plan(strategy.apply(model))
    adapted = [layer for layer in planned.layers if layer.adapter]
    assert len(adapted) == len(aliases["ffn"]) + len(aliases["attention"])


def test_shared_layers_are_said() -> None:
    for strategy in (LastLayers(n=2), LoRA(layers="last 2")):
        with pytest.raises(ConfigError, match="1 layer whose weights are shared by 2"):
            strategy.apply(encoder("albert"))
