"""What holds for every strategy; each law runs over the whole table in adapter_cases.py."""

import copy
import itertools
from dataclasses import dataclass

import pytest
import rows_modules
import rows_prompt
import torch
from adapter_cases import (
    CLASSES,
    MODELS,
    ROWS,
    Case,
    assert_same,
    build,
    inputs,
    perturb,
    snapshot,
    train,
    without_base,
)
from torch import nn

from adapterlab import adapters
from adapterlab.adapters import (
    AdaptedModel,
    AdapterLayer,
    Combined,
    Continued,
    DoRA,
    LoRA,
    LoRALinear,
    Strategy,
    merge,
)
from adapterlab.adapters.strategy import hash_weights
from adapterlab.base.errors import ConfigError


@dataclass(frozen=True)
class Trained:
    """A model after a few steps, which laws look at and do not change."""

    adapted: AdaptedModel
    losses: list[float]


def train_with(case: Case, *, global_seed: int) -> Trained:
    torch.manual_seed(global_seed)
    adapted = case.adapted(seed=5)
    adapted.reseed(9)
    return Trained(adapted, train(adapted, steps=8))


@pytest.fixture(scope="module")
def trained(case: Case) -> Trained:
    return train_with(case, global_seed=0)


class TestIdentityAtInit:
    @pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
    def test_the_logits_are_those_of_the_base(self, case: Case, training: bool) -> None:
        base, adapted = case.base(), case.adapted().train(training)
        modes = {n.replace(".base", ""): m.training for n, m in adapted.model.named_modules()}
        for name, module in base.named_modules():
            module.training = modes[name]  # a batch norm computes something else in each
        trained = adapted.trainable()
        for name, parameter in base.named_parameters():
            parameter.requires_grad = name in trained  # convolutions round otherwise with gradients
        expected = base(inputs())
        logits = adapted(inputs())
        if case.row.exact:
            assert torch.equal(logits, expected)
        else:  # a few units of rounding a layer, float32's being 1.2e-7
            near = case.row.nearly or 1e-6
            torch.testing.assert_close(logits, expected, rtol=near, atol=near)

    @pytest.mark.parametrize("strategy", [LoRA, DoRA])
    def test_both_normal_is_not_the_identity(self, strategy: type[LoRA]) -> None:
        model = build(MODELS["mlp"])
        expected = model(inputs())
        logits = strategy(rank=2, init="both_normal", init_std=0.5).apply(model)(inputs())
        assert (logits - expected).abs().max() > 1e-2

    def test_both_normal_has_the_deviation_asked_for(self) -> None:
        layer = LoRALinear(nn.Linear(500, 500), rank=40, alpha=1, init="both_normal", init_std=0.25)
        for factor in (layer.lora_A, layer.lora_B):
            assert factor.std().item() == pytest.approx(0.25, rel=0.03)

    def test_gaussian_has_deviation_one_over_rank(self) -> None:
        layer = LoRALinear(nn.Linear(2000, 4), rank=10, alpha=1, init="gaussian")
        assert layer.lora_A.std().item() == pytest.approx(0.1, rel=0.03)
        assert not layer.lora_B.any()

    def test_kaiming_is_uniform_within_one_over_root_of_inputs(self) -> None:
        layer = LoRALinear(nn.Linear(400, 4), rank=10, alpha=1)
        assert layer.lora_A.abs().max().item() == pytest.approx(1 / 20, rel=0.01)
        assert layer.lora_A.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.05)
        assert not layer.lora_B.any()


class TestMerge:
    def test_merged_equals_unmerged(self, case: Case) -> None:
        adapted = case.adapted(dtype=torch.float64)
        perturb(adapted)
        x = inputs(dtype=torch.float64)
        logits = adapted.eval()(x)
        base_logits = case.base(dtype=torch.float64)(x)
        assert (logits - base_logits).abs().max() > 1e-3  # the perturbation is not trivial
        if not case.strategy.mergeable:
            with pytest.raises(ConfigError, match=f"{type(case.strategy).__name__} cannot be mer"):
                merge(adapted)
            return
        torch.testing.assert_close(merge(adapted)(x), logits, rtol=1e-12, atol=1e-12)

    def test_a_strategy_is_mergeable_as_its_layers_are(self, case: Case) -> None:
        layers = [m for m in case.adapted().modules() if isinstance(m, AdapterLayer)]
        assert case.strategy.mergeable == all(layer.mergeable for layer in layers)
        for layer in layers:
            if layer.mergeable:
                assert not isinstance(layer.merged(), AdapterLayer)
            else:
                with pytest.raises(ConfigError, match="cannot be merged"):
                    layer.merged()

    def test_merge_leaves_the_adapted_model_alone(self, mergeable: Case) -> None:
        case = mergeable
        adapted = case.adapted().train()
        perturb(adapted)
        before, trainable = snapshot(adapted), set(adapted.trainable())
        types = [(name, type(module), module.training) for name, module in adapted.named_modules()]

        random_state = torch.get_rng_state()
        merged = merge(adapted)
        assert torch.equal(torch.get_rng_state(), random_state)
        with torch.no_grad():
            for parameter in merged.parameters():
                parameter.fill_(7.0)  # shows shared memory, if there is any

        assert_same(snapshot(adapted), before)
        assert set(adapted.trainable()) == trainable
        assert types == [(n, type(m), m.training) for n, m in adapted.named_modules()]

    def test_the_merged_model_is_an_ordinary_one(self, mergeable: Case) -> None:
        case = mergeable
        base = case.base()
        merged = merge(case.adapted())
        assert type(merged) is type(base)
        assert not any(isinstance(module, AdapterLayer) for module in merged.modules())
        assert merged.state_dict().keys() == base.state_dict().keys()
        assert not any(parameter.requires_grad for parameter in merged.parameters())
        assert not any(module.training for module in merged.modules())


class TestTraining:
    def test_what_is_frozen_stays_bit_identical(self, case: Case, trained: Trained) -> None:
        base = dict(case.base().named_parameters())
        adapted = trained.adapted
        trainable = adapted.trainable()
        frozen = {n: p for n, p in adapted.model.named_parameters() if n not in trainable}
        assert bool(frozen) == (adapted.count().trainable < adapted.count().total)
        for name, parameter in frozen.items():
            assert torch.equal(parameter, base[without_base(name)]), name

    def test_what_is_trainable_moves_and_gets_a_gradient_after_two_steps(self, case: Case) -> None:
        # B starts at zero, so A's gradient is zero at the first step and not from the second on.
        adapted = case.adapted()
        before = {name: p.detach().clone() for name, p in adapted.trainable().items()}
        train(adapted, steps=2)
        for name, parameter in adapted.trainable().items():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
            assert not torch.equal(parameter, before[name]), name

    def test_frozen_parameters_get_no_gradient(self, trained: Trained) -> None:
        adapted = trained.adapted
        trainable = adapted.trainable()
        assert not [
            name
            for name, p in adapted.model.named_parameters()
            if name not in trainable and p.grad is not None
        ]

    def test_training_lowers_the_loss(self, trained: Trained) -> None:
        assert trained.losses[-1] < trained.losses[0]

    def test_the_head_is_treated_as_said(self, case: Case) -> None:
        adapted = case.adapted()
        in_head = {name for name in adapted.trainable() if adapted.in_head(name)}
        own = {name for name, _ in case.base().named_parameters() if adapted.in_head(name)}
        match case.strategy.head:
            case "train":
                assert in_head == own
            case "freeze":
                assert not in_head
            case "adapt":
                assert in_head
                weights = {name for name in own if name.rpartition(".")[2] == "weight"}
                assert weights.isdisjoint(without_base(name) for name in in_head)


class TestSeeds:
    def test_same_seed_gives_the_same_init_whatever_the_global_state(self, case: Case) -> None:
        torch.manual_seed(0)
        first = snapshot(case.adapted(seed=5))
        torch.manual_seed(1234)
        torch.rand(7)
        assert_same(snapshot(case.adapted(seed=5)), first)

    def test_another_seed_gives_another_init(self, case: Case) -> None:
        first, second = snapshot(case.adapted(seed=5)), snapshot(case.adapted(seed=6))
        differing = {name for name in first if not torch.equal(first[name], second[name])}
        drawn = {name for name in first if name.rpartition(".")[2] in case.row.drawn}
        assert differing == drawn
        assert bool(drawn) == bool(case.row.drawn)

    def test_layers_of_one_shape_start_differently(self) -> None:
        state = snapshot(LoRA(rank=2).apply(build(MODELS["encoder"])))
        factors = [t for name, t in state.items() if name.endswith("output.lora_A")]
        assert not any(torch.equal(a, b) for a, b in itertools.combinations(factors, 2))

    def test_apply_leaves_the_global_state_alone(self, case: Case) -> None:
        model = case.base()
        before = torch.get_rng_state()
        case.strategy.apply(model, seed=5)
        assert torch.equal(torch.get_rng_state(), before)

    def test_same_seed_gives_the_same_training_bit_for_bit(
        self, case: Case, trained: Trained
    ) -> None:
        again = train_with(case, global_seed=1)
        assert again.losses == trained.losses
        assert_same(snapshot(again.adapted), snapshot(trained.adapted))


class TestFrozenState:
    def test_an_adapter_has_no_parameters_but_its_base_and_what_is_trained(
        self, case: Case
    ) -> None:
        for layer in case.adapted().modules():
            if isinstance(layer, AdapterLayer):
                base = {id(p) for p in layer.base.parameters()}
                assert all(p.requires_grad for p in layer.parameters() if id(p) not in base)

    def test_it_is_no_parameter_and_in_no_checkpoint_and_made_again(
        self, case: Case, trained: Trained
    ) -> None:
        made = case.adapted(seed=5)
        frozen = made.frozen_state(saved=False)
        assert frozen.keys().isdisjoint(dict(made.model.named_parameters()))
        assert frozen.keys().isdisjoint(made.state())
        assert not any(tensor.requires_grad for tensor in frozen.values())
        assert_same(trained.adapted.frozen_state(saved=False), frozen)


class TestBaseHash:
    def test_depends_on_the_head_unless_it_is_trained_in_full(self, case: Case) -> None:
        same, other = case.base(), case.base()
        adapted = case.strategy.apply(same)
        head = adapted.head_modules[-1]
        with torch.no_grad():
            other.get_submodule(head).bias[0] += 1
        assert (case.strategy.apply(other).base_hash == adapted.base_hash) == (
            case.strategy.head == "train"
        )

    def test_depends_on_the_body(self, case: Case) -> None:
        other = case.base()
        with torch.no_grad():
            next(other.parameters()).view(-1)[0] += 1e-6
        assert case.strategy.apply(other).base_hash != case.adapted().base_hash

    def test_is_the_bases_before_and_after_training(self, case: Case, trained: Trained) -> None:
        adapted = trained.adapted
        without = adapted.head_modules if case.strategy.head == "train" else ()
        assert adapted.base_hash == hash_weights(case.base(), without=without)
        assert len(adapted.base_hash) == 64

    def test_tells_names_shapes_and_types_apart(self) -> None:
        square = nn.Linear(4, 4, bias=False)
        flat = nn.Linear(16, 1, bias=False)
        with torch.no_grad():
            flat.weight.copy_(square.weight.view(1, 16))
        double = copy.deepcopy(square).double()
        named = nn.Sequential(square)
        hashes = [hash_weights(module) for module in (square, flat, double, named)]
        assert len(set(hashes)) == 4


def test_the_table_covers_every_strategy() -> None:
    public = {getattr(adapters, name) for name in adapters.__all__}
    strategies = {one for one in public if isinstance(one, type) and issubclass(one, Strategy)}
    of_transformers = rows_modules.ROWS_OF_TRANSFORMERS | rows_prompt.ROWS_OF_TRANSFORMERS
    rows = [row.strategy for row in (*ROWS.values(), *of_transformers.values())]
    parts = [part for one in rows if isinstance(one, Combined) for part in one.parts.values()]
    # What `Continued` trains is in files of PEFT's: test_continued.py writes them.
    assert strategies - {Strategy, Continued} <= {type(one) for one in (*rows, *parts)}
    assert build(MODELS["mlp"])(inputs()).shape[1] == CLASSES


def test_options_rebuild_the_strategy(case: Case) -> None:
    assert type(case.strategy)(**case.strategy.options()) == case.strategy
