"""Short names of targets, and the blocks that LoRA and DoRA are limited to."""

import pytest
import torch
from adapter_cases import MODELS, build
from hypothesis import given
from hypothesis import strategies as st
from transformer_cases import encoder

from adapterlab.adapters import AdaptedModel, AdapterLayer, DoRA, LoRA, LoRALinear
from adapterlab.adapters.targets import Layers, by_pattern, select_blocks, select_layers
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP

BLOCKS = tuple("abcdef")


def adapted_names(adapted: AdaptedModel) -> list[str]:
    return [n for n, module in adapted.model.named_modules() if isinstance(module, AdapterLayer)]


class TestBlocks:
    @pytest.mark.parametrize(
        ("layers", "chosen"),
        [
            ("all", "abcdef"),
            ("first 1", "a"),
            ("first 4", "abcd"),
            ("last 1", "f"),
            ("last 2", "ef"),
            ("last 6", "abcdef"),
            ([0, 5], "af"),
            ([5, 0, 5], "af"),
            ((3,), "d"),
        ],
    )
    def test_are_chosen_in_forward_order(self, layers: Layers, chosen: str) -> None:
        assert "".join(select_blocks(layers, BLOCKS)) == chosen

    @pytest.mark.parametrize("layers", ["first 7", "last 7", [6], [0, 12]])
    def test_more_than_there_are(self, layers: Layers) -> None:
        with pytest.raises(ConfigError, match="the model has 6 layers, 0 to 5"):
            select_blocks(layers, BLOCKS)

    @pytest.mark.parametrize(
        "layers",
        ["", "last", "last 0", "last -1", "last 02", "last  2", "Last 2", "last 2 ", "2", "mid 2",
         [], [-1], ["0"], [True], [1.0]],
    )  # fmt: skip
    @pytest.mark.parametrize("strategy", [LoRA, DoRA])
    def test_what_is_no_range_is_refused_before_there_is_a_model(
        self, layers: Layers, strategy: type[LoRA]
    ) -> None:
        with pytest.raises(ConfigError, match=r"adapter\.layers=.*; allowed: all, first N, last N"):
            strategy(layers=layers)

    def test_of_a_model_without_any(self) -> None:
        with pytest.raises(ConfigError, match=r"adapter\.layers=last 1: the model has 0 layers$"):
            select_blocks("last 1", ())

    @given(count=st.integers(1, 6))
    def test_first_and_last_are_the_lists_they_stand_for(self, count: int) -> None:
        indices = list(range(6))
        assert select_blocks(f"first {count}", BLOCKS) == select_blocks(indices[:count], BLOCKS)
        assert select_blocks(f"last {count}", BLOCKS) == select_blocks(indices[-count:], BLOCKS)


class TestLayers:
    def test_limit_the_targets(self) -> None:
        adapted = LoRA(rank=2, targets=["query", "output"], layers=[0, 2]).apply(
            build(MODELS["encoder"])
        )
        assert adapted_names(adapted) == [
            f"layers.{i}.{name}" for i in (0, 2) for name in ("query", "output")
        ]

    def test_leave_out_what_is_in_no_block(self) -> None:
        adapted = DoRA(rank=2, layers="last 1").apply(build(MODELS["encoder"]))
        assert adapted_names(adapted) == ["layers.2.query", "layers.2.output"]

    def test_do_not_mean_the_head(self) -> None:
        adapted = LoRA(rank=2, layers="last 1", head="adapt").apply(build(MODELS["encoder"]))
        assert adapted_names(adapted)[-2:] == ["pooler.0", "classifier"]

    def test_count_whole_numbers(self) -> None:
        with torch.device("meta"):
            model = MLP((4,), 3, widths=(8,) * 12)
        adapted = LoRA(rank=1, layers=[1]).apply(model)
        assert adapted_names(adapted) == ["layers.1"]  # and not layers.10 and layers.11

    def test_a_target_outside_of_them_is_an_error(self) -> None:
        with pytest.raises(
            ConfigError, match=r"'embedding' matches no layer within adapter\.layers"
        ):
            LoRA(rank=2, targets=["query", "embedding"], layers="first 1").apply(
                build(MODELS["encoder"])
            )

    def test_more_than_the_model_has(self) -> None:
        with pytest.raises(ConfigError, match=r"adapter\.layers=last 4: the model has 3 layers"):
            LoRA(rank=2, layers="last 4").apply(build(MODELS["encoder"]))

    def test_are_an_option_like_any_other(self) -> None:
        assert LoRA(layers=[0, 5]).options()["layers"] == [0, 5]
        assert LoRA().options()["layers"] == "all"

    def test_all_of_them_by_number_draw_the_same_first_values(self) -> None:
        whole = LoRA(rank=2, targets="attention").apply(encoder("bert"), seed=3)
        listed = LoRA(rank=2, targets="attention", layers=[1, 0]).apply(encoder("bert"), seed=3)
        pairs = zip(whole.trainable().items(), listed.trainable().items(), strict=True)
        assert all(a == b and torch.equal(p, q) for (a, p), (b, q) in pairs)


class TestShortNames:
    @pytest.mark.parametrize(
        ("architecture", "short", "layers"),
        [
            ("bert", "query", ["attention.self.query"]),
            ("bert", "out", ["attention.output.dense"]),
            ("roberta", "ffn", ["intermediate.dense", "output.dense"]),
            (
                "roberta",
                "attention",
                [*(f"attention.self.{n}" for n in ("query", "key", "value")),
                 "attention.output.dense"],
            ),
            ("distilbert", "value", ["attention.v_lin"]),
            ("distilbert", "ffn", ["ffn.lin1", "ffn.lin2"]),
        ],
    )  # fmt: skip
    def test_stand_for_the_architectures_own(
        self, architecture: str, short: str, layers: list[str]
    ) -> None:
        model = encoder(architecture)
        chosen = select_layers(model, short, with_head=False)
        assert list(chosen) == [f"{block}.{name}" for block in model.blocks for name in layers]

    @pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
    def test_attention_and_ffn_are_all_linear_layers_of_the_blocks(self, architecture: str) -> None:
        model = encoder(architecture)
        ours = select_layers(model, ["attention", "ffn"], with_head=False)
        everything = select_layers(model, "all-linear", with_head=False, layers="last 2")
        assert list(ours) == list(everything)

    def test_set_ranks_and_alphas(self) -> None:
        adapted = LoRA(
            rank=2,
            alpha=2,
            targets="attention",
            rank_pattern={"key": 1, "attention": 4},
            alpha_pattern={"out": 8.0},
        ).apply(encoder("distilbert"))
        layers = {n: m for n, m in adapted.model.named_modules() if isinstance(m, LoRALinear)}
        first = "model.distilbert.transformer.layer.0.attention"
        assert layers[f"{first}.k_lin"].rank == 1
        assert layers[f"{first}.q_lin"].rank == 4
        assert layers[f"{first}.out_lin"].scale == 2.0
        assert layers[f"{first}.q_lin"].scale == 0.5

    def test_that_an_adapted_model_lacks_are_an_error(self) -> None:
        with pytest.raises(ConfigError, match="'key' matches no adapted layer; short names: query"):
            LoRA(targets="query", rank_pattern={"key": 2}).apply(encoder("bert"))

    def test_are_listed_and_blocks_are_not_listed_one_by_one(self) -> None:
        with pytest.raises(ConfigError) as error:
            LoRA(targets="querry").apply(encoder("bert"))
        assert str(error.value) == (
            "adapter.targets: 'querry' matches no layer; "
            "short names: query, key, value, out, ffn, attention; "
            "layers: " + ", ".join(
                f"model.bert.encoder.layer.*.{name}"
                for name in ("attention.self.query", "attention.self.key", "attention.self.value",
                             "attention.output.dense", "intermediate.dense", "output.dense")
            ) + ", model.bert.pooler.dense"
        )  # fmt: skip

    def test_patterns_remain_for_everything_else(self) -> None:
        chosen = select_layers(encoder("bert"), "layer.1.*.query", with_head=False)
        assert list(chosen) == ["model.bert.encoder.layer.1.attention.self.query"]
        assert list(select_layers(encoder("bert"), "pooler.dense", with_head=False)) == [
            "model.bert.pooler.dense"
        ]

    def test_mean_nothing_to_a_model_that_declares_none(self) -> None:
        with pytest.raises(ConfigError, match="'attention' matches no layer; layers: embedding, "):
            LoRA(targets="attention").apply(build(MODELS["encoder"]))


class TestHeadAmongTargets:
    def test_a_target_in_the_head_narrows_what_is_adapted_there(self) -> None:
        adapted = LoRA(rank=2, targets=["query", "classifier"], head="adapt").apply(
            encoder("distilbert")
        )
        assert adapted_names(adapted)[2:] == ["model.classifier"]
        assert not adapted.model.model.pre_classifier.weight.requires_grad

    def test_without_one_the_whole_head_is_adapted(self) -> None:
        adapted = LoRA(rank=2, targets="query", head="adapt").apply(encoder("distilbert"))
        assert adapted_names(adapted)[2:] == ["model.pre_classifier", "model.classifier"]

    def test_a_pattern_of_the_body_does_not_narrow_the_head(self) -> None:
        # `dense` is the end of names in the body and in RoBERTa's head, whose out_proj is not.
        adapted = LoRA(rank=2, targets="dense", head="adapt").apply(encoder("roberta"))
        assert adapted_names(adapted)[-2:] == [
            "model.classifier.dense",
            "model.classifier.out_proj",
        ]

    @pytest.mark.parametrize("head", ["train", "freeze"])
    def test_is_refused_where_the_head_is_not_adapted(self, head: str) -> None:
        with pytest.raises(ConfigError, match=r"'classifier' is the head; say adapter\.head=adapt"):
            LoRA(targets=["query", "classifier"], head=head).apply(encoder("distilbert"))


def test_the_first_pattern_that_matches_counts() -> None:
    values = by_pattern("rank_pattern", ["a.x", "b.x", "b.y"], 1, {"b.*": 2, "x": 3})
    assert values == {"a.x": 3, "b.x": 2, "b.y": 2}
    assert list(values) == ["a.x", "b.x", "b.y"]
