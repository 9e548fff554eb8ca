"""What is drawn of a head, how long texts may be, and options of models on the hub."""

import warnings
from pathlib import Path

import pytest
import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForMaskedLM,
    OPTConfig,
    PretrainedConfig,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)

from adapterlab.base.errors import ConfigError
from adapterlab.data.tokenizer import check_tokenizer, train_wordpiece
from adapterlab.models.hub import hf, hf_tokenizer
from adapterlab.models.transformer import TransformerClassifier

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 20,
}
MODERN = ModernBertConfig(
    **SIZES, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
)


def written(folder: Path, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Save a model with weights that nothing would draw."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.25)
    model.save_pretrained(folder)
    return model.state_dict()


def loaded(folder: Path, classes: int = 3, seed: int = 1) -> TransformerClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator = torch.Generator().manual_seed(seed)
        return hf(classes, name_or_path=str(folder), generator=generator)


def kept(model: TransformerClassifier) -> set[str]:
    heads = model.head_modules
    return {
        name.removeprefix("model.").rpartition(".")[0]
        for name, p in model.named_parameters()
        if name.startswith(heads) and (p == 0.25).all()
    }


def test_the_prediction_head_of_a_modernbert_stays(tmp_path: Path) -> None:
    written(tmp_path, ModernBertForMaskedLM(MODERN))
    model = loaded(tmp_path)
    assert model.drawn == ("classifier",)
    assert kept(model) == {"head.dense", "head.norm"}


@pytest.mark.parametrize("classes", [3, 4])
def test_what_depends_on_the_classes_is_drawn_also_where_they_are_as_many(
    classes: int, tmp_path: Path
) -> None:
    config = RobertaConfig(**SIZES, type_vocab_size=1)
    config.num_labels = 3
    written(tmp_path, RobertaForSequenceClassification(config))
    model = loaded(tmp_path, classes)
    assert model.drawn == ("classifier.out_proj",)
    assert kept(model) == {"classifier.dense"}
    same, other = loaded(tmp_path, classes), loaded(tmp_path, classes, seed=2)
    weight = model.model.classifier.out_proj.weight
    assert torch.equal(weight, same.model.classifier.out_proj.weight)
    assert not torch.equal(weight, other.model.classifier.out_proj.weight)


def test_a_checkpoint_without_a_head_gets_all_of_it(tmp_path: Path) -> None:
    written(tmp_path, RobertaForMaskedLM(RobertaConfig(**SIZES, type_vocab_size=1)))
    model = loaded(tmp_path)
    assert model.drawn == ("classifier.dense", "classifier.out_proj")
    assert kept(model) == set()


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        (GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=20), 20),
        (
            OPTConfig(
                vocab_size=40,
                hidden_size=16,
                ffn_dim=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=20,
                word_embed_proj_dim=16,
            ),
            20,
        ),
        (RobertaConfig(**SIZES), 18),
        (MODERN, None),
    ],
    ids=["gpt2", "opt", "roberta", "modernbert"],
)
def test_the_longest_input_has_a_position_and_one_more_has_none(
    config: PretrainedConfig, longest: int | None
) -> None:
    model = TransformerClassifier(AutoModelForSequenceClassification.from_config(config)).eval()
    assert model.max_tokens == longest
    if longest is None:
        return
    model.pad_with(1)
    for length, fits in ((longest, True), (longest + 1, False)):
        ids = torch.full((1, length), 5)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if fits:
            assert model(inputs).isfinite().all()
        else:
            with pytest.raises((IndexError, RuntimeError)):
                model(inputs)


class TestPadToken:
    def test_without_one_the_option_is_named_and_works(self, tmp_path: Path) -> None:
        tokenizer = train_wordpiece(["a good film"], 96)
        tokenizer.pad_token = None
        tokenizer.eos_token = "[SEP]"
        tokenizer.save_pretrained(tmp_path)
        config = GPT2Config(vocab_size=96, n_embd=16, n_layer=1, n_head=2, n_positions=20)
        GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
        bare = hf_tokenizer(str(tmp_path))
        with pytest.raises(ConfigError, match=r"\"model\.pad_token='\[SEP\]'\""):
            check_tokenizer(bare, model="gpt2", embeddings=96, max_length=8)
        named = hf_tokenizer(str(tmp_path), pad_token="[SEP]")
        check_tokenizer(named, model="gpt2", embeddings=96, max_length=8)
        assert named.pad_token_id == named.get_vocab()["[SEP]"]

    def test_of_no_vocabulary_is_refused(self, tmp_path: Path) -> None:
        train_wordpiece(["a good film"], 96).save_pretrained(tmp_path)
        with pytest.raises(ConfigError, match=r"model\.pad_token='<pad>' is no token of .*\[PAD\]"):
            hf_tokenizer(str(tmp_path), pad_token="<pad>")


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    written(tmp_path, ModernBertForMaskedLM(MODERN))
    for load in (lambda **o: hf(2, **o), hf_tokenizer):
        with pytest.raises(ConfigError, match=r"model\.revision=v2 is of models on the hub, and"):
            load(name_or_path=str(tmp_path), revision="v2")
