"""Encoders of transformers as classifiers: their parts, and published counts."""

import pytest
import torch
from torch import nn

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    ElectraConfig,
    FNetConfig,
    PretrainedConfig,
    RobertaConfig,
)

from adapterlab.adapters import (
    BitFit,
    DoRA,
    Full,
    Head,
    LastLayers,
    LoRA,
    Strategy,
)
from adapterlab.base.errors import ConfigError
from adapterlab.models.transformer import TransformerClassifier

BERT_BASE = BertConfig(vocab_size=30_522)
ROBERTA_BASE = RobertaConfig(vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1)
DISTILBERT_BASE = DistilBertConfig(vocab_size=30_522)
SMALL = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL_BERT = BertConfig(**SMALL, intermediate_size=32, max_position_embeddings=12)


def on_meta(config: PretrainedConfig, classes: int = 2) -> TransformerClassifier:
    config.num_labels = classes
    with torch.device("meta"):
        return TransformerClassifier(AutoModelForSequenceClassification.from_config(config))


class TestParts:
    def test_of_bert(self) -> None:
        model = on_meta(BERT_BASE)
        assert model.head_modules == ("model.classifier",)
        assert model.blocks == tuple(f"model.bert.encoder.layer.{i}" for i in range(12))
        assert model.target_aliases["out"][11] == (
            "model.bert.encoder.layer.11.attention.output.dense"
        )
        assert model.target_aliases["ffn"][:2] == (
            "model.bert.encoder.layer.0.intermediate.dense",
            "model.bert.encoder.layer.0.output.dense",
        )

    def test_of_roberta(self) -> None:
        model = on_meta(ROBERTA_BASE)
        assert model.head_modules == ("model.classifier",)
        assert model.blocks == tuple(f"model.roberta.encoder.layer.{i}" for i in range(12))
        assert model.target_aliases["query"][3] == (
            "model.roberta.encoder.layer.3.attention.self.query"
        )

    def test_of_distilbert(self) -> None:
        model = on_meta(DISTILBERT_BASE)
        assert model.head_modules == ("model.pre_classifier", "model.classifier")
        assert model.blocks == tuple(f"model.distilbert.transformer.layer.{i}" for i in range(6))
        layers = {short: names[0] for short, names in model.target_aliases.items()}
        assert layers == {
            short: f"model.distilbert.transformer.layer.0.{layer}"
            for short, layer in (
                ("query", "attention.q_lin"),
                ("key", "attention.k_lin"),
                ("value", "attention.v_lin"),
                ("out", "attention.out_lin"),
                ("ffn", "ffn.lin1"),
                ("attention", "attention.q_lin"),
            )
        }

    @pytest.mark.parametrize("config", [BERT_BASE, ROBERTA_BASE, DISTILBERT_BASE], ids=type)
    def test_short_names_cover_the_linear_layers_of_the_blocks_once(
        self, config: PretrainedConfig
    ) -> None:
        model = on_meta(config)
        aliases = model.target_aliases
        parts = [n for short in ("query", "key", "value", "out", "ffn") for n in aliases[short]]
        inside = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and name.startswith(model.blocks)
        ]
        assert sorted(parts) == sorted(inside)
        assert set(aliases["attention"]) | set(aliases["ffn"]) == set(inside)

    def test_of_an_architecture_without_an_entry(self) -> None:
        model = on_meta(ElectraConfig(**SMALL, embedding_size=16, intermediate_size=32), 3)
        assert model.head_modules == ("model.classifier",)
        assert model.blocks == ("model.electra.encoder.layer.0", "model.electra.encoder.layer.1")
        assert len(model.target_aliases["attention"]) == 8

    def test_of_blocks_laid_out_in_another_way(self) -> None:
        config = FNetConfig(
            vocab_size=40, hidden_size=16, num_hidden_layers=2, intermediate_size=32
        )
        assert on_meta(config).target_aliases == {}

    def test_of_layers_that_share_their_weights(self) -> None:
        model = on_meta(AlbertConfig(**SMALL, embedding_size=16, intermediate_size=32))
        assert model.block_passes == 2
        assert model.blocks == ("model.albert.encoder.albert_layer_groups.0",)  # one, shared

    def test_two_lists_of_layers_are_refused(self) -> None:
        config = BartConfig(vocab_size=30, d_model=16, encoder_layers=1, decoder_layers=1)
        with pytest.raises(ConfigError, match=r"one list of layers, it has 2: .*encoder\.layers"):
            on_meta(config)

    def test_a_bare_encoder_is_refused(self) -> None:
        with torch.device("meta"):
            encoder = BertForSequenceClassification(SMALL_BERT).bert
        with pytest.raises(ConfigError, match="BertModel cannot be adapted"):
            TransformerClassifier(encoder)

    @pytest.mark.parametrize(
        ("config", "longest", "vocabulary"),
        [(BERT_BASE, 512, 30_522), (ROBERTA_BASE, 512, 50_265), (DISTILBERT_BASE, 512, 30_522)],
        ids=type,
    )
    def test_limits_of_the_input(
        self, config: PretrainedConfig, longest: int, vocabulary: int
    ) -> None:
        model = on_meta(config)
        assert (model.max_tokens, model.vocab_size) == (longest, vocabulary)

    @pytest.mark.parametrize("config", [SMALL_BERT, RobertaConfig(**SMALL, type_vocab_size=1,
        intermediate_size=32, max_position_embeddings=14)], ids=type)  # fmt: skip
    def test_the_longest_input_fits_and_one_more_does_not(self, config: PretrainedConfig) -> None:
        model = TransformerClassifier(AutoModelForSequenceClassification.from_config(config)).eval()
        assert model.max_tokens == 12
        assert model({"input_ids": torch.full((1, 12), 7)}).shape[0] == 1
        with pytest.raises((IndexError, RuntimeError)):
            model({"input_ids": torch.full((1, 13), 7)})


class TestPublishedCounts:
    """Numbers from published experiments, on configurations written out here."""

    @pytest.mark.parametrize(
        ("config", "classes", "total"),
        [
            (ROBERTA_BASE, 7, 124_651_015),
            (ROBERTA_BASE, 3, 124_647_939),
            (DISTILBERT_BASE, 2, 66_955_010),
            (BERT_BASE, 2, 109_483_778),
        ],
    )
    def test_all(self, config: PretrainedConfig, classes: int, total: int) -> None:
        count = Full().apply(on_meta(config, classes)).count()
        assert (count.total, count.trainable) == (total, total)

    @pytest.mark.parametrize(
        ("config", "classes", "strategy", "adapter", "head"),
        [
            # 24 layers of 8·(768 + 768); a head of 768·768 + 768 and 768·7 + 7.
            (ROBERTA_BASE, 7, LoRA(rank=8, targets=["query", "value"]), 294_912, 595_975),
            (ROBERTA_BASE, 3, LoRA(rank=8, targets=["query", "value"]), 294_912, 592_899),
            (DISTILBERT_BASE, 2, LoRA(rank=1, targets="attention", head="freeze"), 36_864, 0),
            # "The last two layers" of the published experiment are the head's two.
            (DISTILBERT_BASE, 2, Head(), 0, 592_130),
            (DISTILBERT_BASE, 2, LastLayers(n=2), 2 * 7_087_872, 592_130),
            # LoRA on `classifier` alone, with `pre_classifier` left as it was drawn; or on both.
            (
                DISTILBERT_BASE,
                2,
                LoRA(rank=4, targets=["q_lin", "v_lin", "classifier"], head="adapt"),
                73_728,
                3_080,
            ),
            (
                DISTILBERT_BASE,
                2,
                LoRA(rank=4, targets=["query", "value"], head="adapt"),
                73_728,
                3_080 + 6_144,
            ),
            (
                BERT_BASE,
                2,
                DoRA(rank=8, targets="query", layers="last 2"),
                2 * (12_288 + 768),
                1538,
            ),
            (BERT_BASE, 2, BitFit(head="freeze"), 102_912, 0),
        ],
    )
    @pytest.mark.filterwarnings("ignore:rank 4 on model.classifier is above")
    def test_trained(
        self, config: PretrainedConfig, classes: int, strategy: Strategy, adapter: int, head: int
    ) -> None:
        count = strategy.apply(on_meta(config, classes)).count()
        assert (count.adapter, count.head) == (adapter, head)

    @pytest.mark.filterwarnings("ignore:rank 4 on model.classifier is above")
    def test_sums_that_were_published(self) -> None:
        roberta = LoRA(rank=8, targets=["query", "value"])
        assert roberta.apply(on_meta(ROBERTA_BASE, 7)).count().trainable == 890_887
        assert roberta.apply(on_meta(ROBERTA_BASE, 3)).count().trainable == 887_811
        distilbert = LoRA(rank=4, targets=["q_lin", "v_lin", "classifier"], head="adapt")
        assert distilbert.apply(on_meta(DISTILBERT_BASE)).count().trainable == 76_808
