"""How many parameters a strategy trains, in closed form, and the plan that lists them."""

import itertools
import warnings

import pytest
import torch
from adapter_cases import FEATURES, MODELS, Case, build
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
    Strategy,
    plan,
)
from adapterlab.adapters.strategy import replace_module
from adapterlab.models import MLP

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

    def test_closed_form(self, case: Case) -> None:
        base, count = case.base(), case.adapted().count()
        own = sum(
            p.numel()
            for n in case.adapted().head_modules
            for p in base.get_submodule(n).parameters()
        )
        head = {"train": own, "freeze": 0}.get(case.strategy.head)
        assert count.adapter == case.row.count(base, False)
        assert count.head == (case.row.count(base, True) if head is None else head)

    def test_on_a_layer_without_bias_and_a_nested_head(self) -> None:
        # Width 6: query 6 -> 8 without bias, output 8 -> 6; pooler 6 -> 6, classifier 6 -> 3.
        count = LoRA(rank=2, targets=["query", "layers.0.output"]).apply(MODELS["encoder"]())
        assert count.count().adapter == 4 * 2 * (6 + 8)
        assert count.count().head == 42 + 21
        bias_only = BitFit(head="adapt").apply(MODELS["encoder"]()).count()
        assert (bias_only.adapter, bias_only.head) == (6 + 3 * (6 + 6), 6 + 3)


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

    def test_an_adapter_made_of_layers_is_one_row(self) -> None:
        class Bottleneck(AdapterLayer):
            def __init__(self, base: nn.Linear) -> None:
                super().__init__()
                self.base = base
                self.down, self.up = nn.Linear(6, 2), nn.Linear(2, 6)

            def merged(self) -> nn.Linear:
                raise NotImplementedError

            def describe(self) -> str:
                return "bottleneck 2"

        class Houlsby(Strategy):
            def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
                replace_module(model, "layers.2", Bottleneck(model.get_submodule("layers.2")))

        planned = plan(Houlsby(head="freeze").apply(build(MODELS["mlp"])))
        assert [(row.name, row.method, row.adapter) for row in planned.layers] == [
            ("layers.2", "bottleneck 2", 14 + 18)
        ]

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
