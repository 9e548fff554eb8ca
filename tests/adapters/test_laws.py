"""What holds for every strategy; each law runs over the whole table in adapter_cases.py."""

import copy
import itertools
import warnings

import pytest
import torch
from adapter_cases import (
    CASES,
    CLASSES,
    FEATURES,
    MODELS,
    Case,
    assert_same,
    build,
    inputs,
    perturb,
    snapshot,
    train,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adapterlab.adapters import (
    AdapterLayer,
    BitFit,
    DoRA,
    Full,
    Head,
    LastLayers,
    LoRA,
    LoRALinear,
    Strategy,
    merge,
    plan,
)
from adapterlab.adapters.base import SeededDropout, fingerprint, linear_layers
from adapterlab.errors import ConfigError
from adapterlab.models import MLP


def is_random(strategy: Strategy) -> bool:
    """Say whether the strategy draws its first values."""
    return isinstance(strategy, LoRA)


class TestIdentityAtInit:
    @pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
    def test_the_logits_are_those_of_the_base(self, case: Case, training: bool) -> None:
        expected = case.base()(inputs())
        logits = case.adapted().train(training)(inputs())
        if isinstance(case.strategy, DoRA) and case.strategy.magnitude == "per_output":
            # Wx and b are added in two steps here and in one in the base: a few units of rounding
            # a layer, float32's being 1.2e-7.
            torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(logits, expected)

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
        torch.testing.assert_close(merge(adapted)(x), logits, rtol=1e-12, atol=1e-12)

    def test_merge_leaves_the_adapted_model_alone(self, case: Case) -> None:
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

    def test_the_merged_model_is_an_ordinary_one(self, case: Case) -> None:
        base = case.base()
        merged = merge(case.adapted())
        assert type(merged) is type(base)
        assert not any(isinstance(module, AdapterLayer) for module in merged.modules())
        assert merged.state_dict().keys() == base.state_dict().keys()
        assert not any(parameter.requires_grad for parameter in merged.parameters())
        assert not any(module.training for module in merged.modules())


class TestTraining:
    def test_what_is_frozen_stays_bit_identical(self, case: Case) -> None:
        base = dict(case.base().named_parameters())
        adapted = case.adapted()
        trainable = adapted.trainable()
        train(adapted, steps=4)
        frozen = {n: p for n, p in adapted.model.named_parameters() if n not in trainable}
        assert bool(frozen) == (case.strategy != Full())
        for name, parameter in frozen.items():
            assert torch.equal(parameter, base[name.replace(".base.", ".")]), name

    def test_what_is_trainable_moves_and_gets_a_gradient_after_two_steps(self, case: Case) -> None:
        # B starts at zero, so A's gradient is zero at the first step and not from the second on.
        adapted = case.adapted()
        before = {name: p.detach().clone() for name, p in adapted.trainable().items()}
        train(adapted, steps=2)
        for name, parameter in adapted.trainable().items():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
            assert not torch.equal(parameter, before[name]), name

    def test_frozen_parameters_get_no_gradient(self, case: Case) -> None:
        adapted = case.adapted()
        train(adapted, steps=1)
        trainable = adapted.trainable()
        assert not [
            name
            for name, p in adapted.model.named_parameters()
            if name not in trainable and p.grad is not None
        ]

    def test_training_lowers_the_loss(self, case: Case) -> None:
        losses = train(case.adapted(), steps=15)
        assert losses[-1] < losses[0]

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
                assert not any(name.endswith("weight") for name in in_head)


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
        drawn = {name for name in first if name.endswith("lora_A")}
        assert differing == drawn
        assert bool(drawn) == is_random(case.strategy)

    def test_layers_of_one_shape_start_differently(self) -> None:
        state = snapshot(LoRA(rank=2).apply(build(MODELS["encoder"])))
        factors = [t for name, t in state.items() if name.endswith("output.lora_A")]
        assert not any(torch.equal(a, b) for a, b in itertools.combinations(factors, 2))

    def test_apply_leaves_the_global_state_alone(self, case: Case) -> None:
        model = case.base()
        before = torch.get_rng_state()
        case.strategy.apply(model, seed=5)
        assert torch.equal(torch.get_rng_state(), before)

    def test_same_seed_gives_the_same_training_bit_for_bit(self, case: Case) -> None:
        results = []
        for global_seed in (0, 1):
            torch.manual_seed(global_seed)
            adapted = case.adapted(seed=5)
            adapted.reseed(9)
            results.append((train(adapted, steps=3), snapshot(adapted)))
        assert results[0][0] == results[1][0]
        assert_same(results[0][1], results[1][1])


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

    def test_is_the_bases_before_and_after_training(self, case: Case) -> None:
        heads = case.adapted().head_modules
        without = heads if case.strategy.head == "train" else ()
        adapted = case.adapted()
        train(adapted, steps=1)
        assert adapted.base_hash == fingerprint(case.base(), without=without)
        assert len(adapted.base_hash) == 64

    def test_tells_names_shapes_and_types_apart(self) -> None:
        square = nn.Linear(4, 4, bias=False)
        flat = nn.Linear(16, 1, bias=False)
        with torch.no_grad():
            flat.weight.copy_(square.weight.view(1, 16))
        double = copy.deepcopy(square).double()
        named = nn.Sequential(square)
        hashes = [fingerprint(module) for module in (square, flat, double, named)]
        assert len(set(hashes)) == 4


NETWORKS = {"784-128-10": ((784,), (128,), 10), "3072-128-256-10": ((3, 32, 32), (128, 256), 10)}


def meta_mlp(input_shape: tuple[int, ...], widths: tuple[int, ...], classes: int) -> MLP:
    with torch.device("meta"):
        return MLP(input_shape, classes, widths=widths)


class TestCount:
    @pytest.mark.parametrize(
        ("network", "strategy", "adapter", "head"),
        [
            ("784-128-10", Full(), 100_480, 1_290),
            ("784-128-10", Full(head="freeze"), 100_480, 0),
            ("784-128-10", Head(), 0, 1_290),
            ("784-128-10", LastLayers(n=1), 100_480, 1_290),
            ("784-128-10", BitFit(), 128, 1_290),
            ("784-128-10", BitFit(head="adapt"), 128, 10),
            ("784-128-10", BitFit(head="freeze"), 128, 0),
            ("784-128-10", LoRA(rank=10, targets="layers.0"), 9_120, 1_290),  # 10,410
            ("784-128-10", LoRA(rank=10, head="freeze"), 9_120, 0),
            ("784-128-10", DoRA(rank=10), 9_248, 1_290),
            ("784-128-10", DoRA(rank=10, magnitude="per_input"), 9_904, 1_290),
            ("3072-128-256-10", Full(), 426_368, 2_570),
            ("3072-128-256-10", Head(), 0, 2_570),
            ("3072-128-256-10", LastLayers(n=1), 33_024, 2_570),
            ("3072-128-256-10", LastLayers(n=2), 426_368, 2_570),
            ("3072-128-256-10", BitFit(), 384, 2_570),
            ("3072-128-256-10", LoRA(rank=4, head="adapt"), 14_336, 1_064),  # 15,400
            ("3072-128-256-10", DoRA(rank=4, head="adapt"), 14_720, 1_074),  # 15,794
            (
                "3072-128-256-10",
                DoRA(rank=4, head="adapt", magnitude="per_input"),
                17_536,
                1_320,
            ),  # 18,856
            (
                "3072-128-256-10",
                LoRA(rank=4, rank_pattern={"layers.1": 2}),
                12_800 + 768,
                2_570,
            ),
        ],
    )
    def test_on_the_networks_of_the_spine(
        self, network: str, strategy: Strategy, adapter: int, head: int
    ) -> None:
        count = strategy.apply(meta_mlp(*NETWORKS[network])).count()
        assert (count.adapter, count.head, count.trainable) == (adapter, head, adapter + head)

    @pytest.mark.parametrize(("network", "total"), [
        ("784-128-10", 101_770), ("3072-128-256-10", 428_938)
    ])  # fmt: skip
    def test_total_is_the_base_plus_what_was_added(self, network: str, total: int) -> None:
        assert Head().apply(meta_mlp(*NETWORKS[network])).count().total == total
        count = DoRA(rank=3).apply(meta_mlp(*NETWORKS[network])).count()
        assert count.total == total + count.adapter

    @settings(deadline=None, max_examples=60)
    @given(
        sizes=st.lists(st.integers(1, 40), min_size=2, max_size=4),
        classes=st.integers(1, 12),
        rank=st.integers(1, 9),
        kind=st.sampled_from(["lora", "dora", "per_input"]),
        head=st.sampled_from(["train", "adapt", "freeze"]),
    )
    def test_closed_form_on_random_shapes(
        self, sizes: list[int], classes: int, rank: int, kind: str, head: str
    ) -> None:
        d_in, *widths = sizes
        strategy: Strategy
        match kind:
            case "lora":
                strategy = LoRA(rank=rank, head=head)
            case "dora":
                strategy = DoRA(rank=rank, head=head)
            case _:
                strategy = DoRA(rank=rank, head=head, magnitude="per_input")

        def closed_form(d_in: int, d_out: int) -> int:
            magnitude = {"lora": 0, "dora": d_out, "per_input": d_in}[kind]
            return rank * (d_in + d_out) + magnitude

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # rank above the smaller side
            count = strategy.apply(meta_mlp((d_in,), tuple(widths), classes)).count()
        features = widths[-1]
        in_head = {
            "train": (features + 1) * classes,
            "adapt": closed_form(features, classes),
            "freeze": 0,
        }
        assert count.adapter == sum(itertools.starmap(closed_form, itertools.pairwise(sizes)))
        assert count.head == in_head[head]

    def test_on_a_layer_without_bias_and_a_nested_head(self) -> None:
        # Width 6: query 6 -> 8 without bias, output 8 -> 6; pooler 6 -> 6, classifier 6 -> 3.
        count = LoRA(rank=2, targets=["query", "layers.0.output"]).apply(MODELS["encoder"]())
        assert count.count().adapter == 4 * 2 * (6 + 8)
        assert count.count().head == 42 + 21
        bias_only = BitFit(head="adapt").apply(MODELS["encoder"]()).count()
        assert (bias_only.adapter, bias_only.head) == (6 + 3 * (6 + 6), 6 + 3)


class TestTargets:
    @pytest.mark.parametrize(
        ("targets", "chosen"),
        [
            ("all-linear", ["embedding"] + [f"layers.{i}.{n}" for i in range(3) for n in "qo"]),
            ("query", ["layers.0.q", "layers.1.q", "layers.2.q"]),
            (["layers.*.query"], ["layers.0.q", "layers.1.q", "layers.2.q"]),
            (["layers.2.*"], ["layers.2.q", "layers.2.o"]),
            (["1.output", "embedding"], ["embedding", "layers.1.o"]),
        ],
    )
    def test_patterns_choose_layers(self, targets: str | list[str], chosen: list[str]) -> None:
        adapted = LoRA(rank=2, targets=targets).apply(build(MODELS["encoder"]))
        wrapped = [n for n, m in adapted.model.named_modules() if isinstance(m, AdapterLayer)]
        short = [name.replace("query", "q").replace("output", "o") for name in wrapped]
        assert short == chosen

    @pytest.mark.parametrize("targets", ["uery", "layers", "query.*"])
    def test_a_part_of_a_name_is_not_enough(self, targets: str) -> None:
        with pytest.raises(ConfigError, match="matches no layer"):
            LoRA(rank=2, targets=targets).apply(build(MODELS["encoder"]))

    def test_patterns_set_rank_and_alpha_by_layer(self) -> None:
        adapted = LoRA(
            rank=2,
            alpha=8,
            rank_pattern={"layers.0.query": 1, "query": 4},
            alpha_pattern={"output": 2},
        ).apply(build(MODELS["encoder"]))
        layers = {n: m for n, m in adapted.model.named_modules() if isinstance(m, LoRALinear)}
        ranks = {name: layer.rank for name, layer in layers.items()}
        assert ranks["layers.0.query"] == 1  # the first pattern that matches counts
        assert ranks["layers.1.query"] == 4
        assert ranks["layers.1.output"] == 2
        assert layers["layers.1.output"].scale == 1.0
        assert layers["layers.1.query"].scale == 2.0


class TestDropout:
    def masks(self, dropout: SeededDropout, draws: int = 3) -> list[torch.Tensor]:
        return [dropout(torch.ones(20, 30)) for _ in range(draws)]

    def test_leaves_the_global_state_alone_and_does_not_read_it(self) -> None:
        dropout = SeededDropout(0.4)
        torch.manual_seed(0)
        dropout.reseed(3)
        before = torch.get_rng_state()
        first = self.masks(dropout)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(99)
        dropout.reseed(3)
        assert all(map(torch.equal, first, self.masks(dropout)))

    def test_masks_differ_from_draw_to_draw_and_from_seed_to_seed(self) -> None:
        dropout = SeededDropout(0.4)
        dropout.reseed(3)
        first, second, _ = self.masks(dropout)
        dropout.reseed(4)
        other = self.masks(dropout)[0]
        assert not torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_eval_and_zero_are_the_identity_and_draw_nothing(self) -> None:
        x = torch.randn(4, 5)
        assert SeededDropout(0.0)(x) is x
        dropout = SeededDropout(0.4)
        dropout.reseed(3)
        assert dropout.eval()(x) is x
        dropout.train()
        after_eval = self.masks(dropout)
        dropout.reseed(3)
        assert all(map(torch.equal, after_eval, self.masks(dropout)))

    @pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
    def test_keeps_one_minus_p_and_the_mean(self, p: float) -> None:
        dropped = SeededDropout(p)(torch.ones(400, 500))
        kept = dropped != 0
        # 200,000 Bernoulli draws: five standard deviations.
        bound = 5 * (p * (1 - p) / kept.numel()) ** 0.5
        assert kept.float().mean().item() == pytest.approx(1 - p, abs=bound)
        torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / (1 - p)))

    def test_gradient_flows_through_what_is_kept(self) -> None:
        x = torch.ones(6, 7, requires_grad=True)
        y = SeededDropout(0.5)(x)
        y.sum().backward()
        assert torch.equal(x.grad, y.detach())

    def test_a_used_one_can_be_copied_and_starts_from_its_seed(self) -> None:
        dropout = SeededDropout(0.4)
        dropout.reseed(3)
        first = self.masks(dropout)
        duplicate = copy.deepcopy(dropout)
        assert all(map(torch.equal, first, self.masks(duplicate)))
        going_on = self.masks(dropout)
        assert not torch.equal(going_on[0], first[0])

    @pytest.mark.parametrize("strategy", [LoRA, DoRA])
    def test_a_used_model_can_be_copied(self, strategy: type[LoRA]) -> None:
        adapted = strategy(rank=2, dropout=0.3).apply(build(MODELS["mlp"]))
        train(adapted, steps=1)
        duplicate = copy.deepcopy(adapted)
        assert_same(snapshot(duplicate), snapshot(adapted))
        assert torch.equal(duplicate.eval()(inputs()), adapted.eval()(inputs()))

    @pytest.mark.parametrize("strategy", [LoRA, DoRA])
    def test_reseed_repeats_a_models_logits(self, strategy: type[LoRA]) -> None:
        adapted = strategy(rank=2, dropout=0.3).apply(build(MODELS["mlp"]))
        perturb(adapted)
        adapted.reseed(3)
        first, second = adapted(inputs()), adapted(inputs())
        adapted.reseed(3)
        assert torch.equal(adapted(inputs()), first)
        adapted.reseed(4)
        assert not torch.equal(adapted(inputs()), first)
        assert not torch.equal(first, second)

    def test_every_layer_has_masks_of_its_own_from_the_start(self) -> None:
        adapted = LoRA(rank=2, dropout=0.5).apply(build(MODELS["encoder"]), seed=5)
        dropouts = [m for m in adapted.modules() if isinstance(m, SeededDropout)]
        masks = [self.masks(dropout, draws=1)[0] for dropout in dropouts]
        assert len(masks) == 7
        assert not any(torch.equal(a, b) for a, b in itertools.combinations(masks, 2))

    def test_masks_follow_the_seed_of_apply(self) -> None:
        def logits(seed: int) -> torch.Tensor:
            adapted = LoRA(rank=2, dropout=0.5).apply(build(MODELS["mlp"]), seed=seed)
            with torch.no_grad():
                for parameter in adapted.trainable().values():
                    parameter.fill_(0.1)  # the same for every seed, so that only masks differ
            return adapted(inputs())

        assert torch.equal(logits(1), logits(1))
        assert not torch.equal(logits(1), logits(2))


class TestPlan:
    def test_sums_are_those_of_count(self, case: Case) -> None:
        adapted = case.adapted()
        planned = plan(adapted)
        assert planned.count == adapted.count()
        assert sum(layer.adapter for layer in planned.layers) == adapted.count().adapter
        assert sum(layer.head for layer in planned.layers) == adapted.count().head
        assert planned.size == 4 * adapted.count().trainable

    def test_every_trained_layer_is_listed_once(self, case: Case) -> None:
        adapted = case.adapted()
        rows = [layer.name for layer in plan(adapted).layers]
        assert len(rows) == len(set(rows))
        for name, parameter in adapted.trainable().items():
            owners = [row for row in rows if name.startswith(f"{row}.")]
            assert len(owners) == 1, name
            assert parameter.numel() > 0
        order = [name for name, _ in adapted.model.named_modules()]
        assert rows == sorted(rows, key=order.index)

    def test_is_the_same_on_the_meta_device(self, case: Case) -> None:
        with torch.device("meta"):
            model = MODELS[case.model_name]()
        adapted = case.strategy.apply(model)
        assert adapted.base_hash == ""
        assert all(parameter.is_meta for parameter in adapted.parameters())
        assert plan(adapted) == plan(case.adapted())

    def test_rows_say_shape_and_method(self) -> None:
        def rows(strategy: Strategy) -> list[tuple[str, tuple[int, ...], str]]:
            planned = plan(strategy.apply(build(MODELS["mlp"])))
            return [(layer.name, layer.shape, layer.method) for layer in planned.layers]

        head = ("head", (3, 6), "in full")
        assert rows(Head()) == [head]
        assert rows(LoRA(rank=2, alpha=3, targets="layers.0")) == [
            ("layers.0", (8, FEATURES), "LoRA rank 2, scale 1.5"),
            head,
        ]
        assert rows(DoRA(rank=2, alpha=3, targets="layers.1", magnitude="per_input")) == [
            ("layers.1", (6, 8), "DoRA rank 2, scale 1.5, magnitude per input"),
            head,
        ]
        assert rows(BitFit(head="freeze")) == [
            ("layers.0", (8, FEATURES), "bias only"),
            ("layers.1", (6, 8), "bias only"),
            ("layers.2", (6, 6), "bias only"),
        ]


def test_the_table_covers_every_strategy() -> None:
    concrete = {Full, Head, LastLayers, BitFit, LoRA, DoRA}
    assert {type(strategy) for strategy in CASES.values()} == concrete
    assert build(MODELS["mlp"])(inputs()).shape[1] == CLASSES


def test_options_rebuild_the_strategy(case: Case) -> None:
    assert type(case.strategy)(**case.strategy.options()) == case.strategy


def test_all_linear_leaves_out_the_head() -> None:
    adapted = LoRA(rank=2).apply(build(MODELS["encoder"]))
    assert "pooler.0" in linear_layers(adapted.model, head=True)
    assert not [n for n, m in adapted.model.named_modules()
                if isinstance(m, AdapterLayer) and adapted.in_head(n)]  # fmt: skip
