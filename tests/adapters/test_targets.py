"""Which layers a strategy adapts, and with which rank and alpha."""

import pytest
from adapter_cases import MODELS, build

from adapterlab.adapters import AdapterLayer, LoRA, LoRALinear
from adapterlab.adapters.targets import select_layers
from adapterlab.adapters.weights import weight_layers
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError


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

    def test_layers_come_in_forward_order_whatever_the_order_of_the_patterns(self) -> None:
        # The order decides which layer gets which of the generator's draws.
        chosen = select_layers(
            build(MODELS["encoder"]), ["output", "query", "embedding"], with_head=True
        )
        blocks = [f"layers.{i}.{name}" for i in range(3) for name in ("query", "output")]
        assert list(chosen) == ["embedding", *blocks, "pooler.0", "classifier"]

    @pytest.mark.parametrize("targets", ["uery", "layers", "query.*"])
    def test_a_part_of_a_name_is_not_enough(self, targets: str) -> None:
        with pytest.raises(ConfigError, match="matches no layer"):
            LoRA(rank=2, targets=targets).apply(build(MODELS["encoder"]))

    @pytest.mark.parametrize(
        ("patterns", "trained"),
        [
            (["norm"], [f"layers.{i}.norm.{p}" for i in range(3) for p in ("weight", "bias")]),
            (["layers.0.norm.bias"], ["layers.0.norm.bias"]),
            (["embedding", "2.norm.weight"], ["embedding.weight", "embedding.bias",
                                              "layers.2.norm.weight"]),
            (["layers.0", "!query", "!*.weight"], ["layers.0.norm.bias", "layers.0.output.bias"]),
            (["!*e*", "*.bias"], []),
        ],
    )  # fmt: skip
    def test_patterns_choose_what_is_trained_beside_the_updates(
        self, patterns: list[str], trained: list[str]
    ) -> None:
        model = build(MODELS["encoder"])
        if not trained:
            with pytest.raises(ConfigError, match="leaves no parameter to train"):
                LoRA(rank=2, targets="query", also_train=patterns).apply(model)
            return
        adapted = LoRA(rank=2, targets="query", head="freeze", also_train=patterns).apply(model)
        assert [name for name in adapted.trainable() if "lora_" not in name] == trained
        assert adapted.count().adapter == 3 * 2 * (6 + 8) + sum(
            model.get_parameter(name).numel() for name in trained
        )

    @pytest.mark.parametrize(
        ("patterns", "why"),
        [
            (["orm"], "'orm' matches no parameter; parameters: embedding.weight"),
            (["norm", "!nrom"], "'!nrom' matches no parameter"),
            (["classifier"], "'classifier' is the head; adapter.head=train"),
            (["layers.1"], r"layers\.1\.query\.weight is in a layer that has an adapter"),
        ],
    )
    def test_what_cannot_be_trained_beside_the_updates(self, patterns: list[str], why: str) -> None:
        with pytest.raises(ConfigError, match=why):
            LoRA(rank=2, targets="query", also_train=patterns).apply(build(MODELS["encoder"]))

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


def test_a_head_is_not_known_by_the_start_of_its_name() -> None:
    assert within("head", ("head",))
    assert within("head.0.weight", ("pooler", "head"))
    assert not within("head_norm.weight", ("pooler", "head"))


def test_all_linear_leaves_out_the_head() -> None:
    adapted = LoRA(rank=2).apply(build(MODELS["encoder"]))
    assert "pooler.0" in weight_layers(adapted.model, head=True)
    assert not [n for n, m in adapted.model.named_modules()
                if isinstance(m, AdapterLayer) and adapted.in_head(n)]  # fmt: skip
