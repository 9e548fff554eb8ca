"""What is tried of a text classifier before it is trained: padding, reach, what never learns."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    FNetConfig,
    GPT2Config,
    PretrainedConfig,
    SqueezeBertConfig,
    XLNetConfig,
)

from adapterlab.adapters import Full, Head, LoRA
from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config
from adapterlab.data.tokenizer import train_wordpiece
from adapterlab.models.transformer import TransformerClassifier
from adapterlab.packing import CannotPackError, signature
from adapterlab.runs.assembly import assemble
from adapterlab.runs.check import check
from adapterlab.runs.export.merged import Request, export_saved
from adapterlab.runs.identity import config_hash
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.plan_checks import plan_on_data
from adapterlab.runs.single import run
from adapterlab.training.few_texts import why_by_length
from lab import ONE_THREAD, TINY, compose
from reviews import write_reviews
from small_texts import data, encoder

pytestmark = pytest.mark.usefixtures("no_pictures")

SMALL = {
    "vocab_size": 96,
    "hidden_size": 16,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}


def fnet() -> PretrainedConfig:
    return FNetConfig(**SMALL, num_hidden_layers=2, hidden_dropout_prob=0.0)


def gpt2(**options: object) -> PretrainedConfig:
    return GPT2Config(vocab_size=96, n_embd=16, n_layer=2, n_head=2, n_positions=24, **options)


def written(folder: Path, config: PretrainedConfig, pad_token: str | None = "[PAD]") -> Path:
    """Save a random classifier and a tokenizer of the reviews' words."""
    texts = ("a good film", "the bad book went on and on", "a fine play", "great awful poor song")
    tokenizer = train_wordpiece(texts, 96)
    tokenizer.pad_token = pad_token
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("texts") / "reviews")


def of(root: Path, reviews: Path, folder: Path, *overrides: str) -> Config:
    left_out = {o.partition("=")[0] for o in overrides} | {"limit", "base.epochs"}
    return compose(
        root,
        *(option for option in TINY if option.partition("=")[0] not in left_out),
        "dataset=text_files",
        f"dataset.loader.path={reviews}",
        "dataset.max_length=16",
        "batch_size=16",
        "model=hf",
        f"model.name_or_path={folder}",
        *overrides,
    )


@pytest.mark.parametrize("pad_token_id", [5, None])
def test_a_decoder_takes_the_tokenizers_padding_token(
    pad_token_id: int | None, reviews: Path, tmp_path: Path
) -> None:
    folder = written(tmp_path / "gpt2", gpt2(pad_token_id=pad_token_id))
    config = of(tmp_path, reviews, folder, "adapter=lora", "epochs=1")
    result = run(config)
    assembly = assemble(config, train=run)
    model = assembly.adapted.eval()
    assert model.model.model.config.pad_token_id == 0
    assert not model.by_length
    assert not any(note.startswith("model=") for note in result.notes)
    for batch in assembly.data.batches("validation"):
        alone = torch.cat(
            [
                model({k: v[i : i + 1, :length] for k, v in batch.inputs.items()})
                for i, length in enumerate(batch.inputs["attention_mask"].sum(1).tolist())
            ]
        )
        torch.testing.assert_close(model(batch.inputs), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [fnet(), XLNetConfig(vocab_size=96, d_model=16, n_layer=1, n_head=2, d_inner=32)],
    ids=["ignores the mask", "reads the last place"],
)
def test_where_padding_is_not_lost_texts_are_computed_by_length(
    config: PretrainedConfig, reviews: Path, tmp_path: Path
) -> None:
    folder = written(tmp_path / "base", config)
    options = ("adapter=last_layers", "model.name=own", "dataset.length_bucketing=false")
    with pytest.warns(UserWarning, match=r"model=own computes something else .* apart"):
        assembly = assemble(of(tmp_path, reviews, folder, *options), train=run)
    adapted = assembly.adapted.eval()
    assert adapted.by_length
    assert any("without padding: exact, and slower" in note for note in assembly.notes)
    with pytest.raises(CannotPackError, match="texts of each length are computed apart"):
        signature(adapted)
    batch = next(assembly.data.training_batches(0))
    lengths = batch.inputs["attention_mask"].sum(1)
    assert len(lengths.unique()) > 1
    alone = [
        adapted.model({k: v[i : i + 1, :n] for k, v in batch.inputs.items()})
        for i, n in enumerate(lengths.tolist())
    ]
    torch.testing.assert_close(adapted(batch.inputs), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_such_runs_train_alone_and_export_says_what_follows(reviews: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "fnet", fnet())
    configs = [
        of(tmp_path, reviews, folder, "adapter=head", "epochs=1", f"seed={seed}") for seed in (0, 1)
    ]
    outcomes = run_pack(configs)
    alone = run(of(tmp_path / "other", reviews, folder, "adapter=head", "epochs=1", "seed=1"))
    figures = [
        {name: value for name, value in one.metrics.items() if name.startswith(("val/", "test/"))}
        for one in (outcomes[1], alone)
    ]
    assert len(figures[0]) > 2
    assert figures[0] == figures[1]
    assert outcomes[0].notes == alone.notes
    export = export_saved(
        Request(
            run=str(outcomes[0].folder),
            tracking_uri=None,
            root=str(tmp_path),
            data_dir=None,
            hardware=ONE_THREAD,
            to=str(tmp_path / "exported"),
            overwrite=False,
            examples=32,
            tolerance=1e-4,
        )
    )
    assert export.agreement.difference < 1e-5
    card = (export.folder / "README.md").read_text()
    assert "Give it texts one at a time, or of one length" in card


@pytest.mark.parametrize("strategy", [Head(), LoRA(rank=2), Full()], ids=["head", "lora", "full"])
@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert-mean", "deberta", "mpnet"])
def test_encoders_that_heed_the_mask_pass(name: str, strategy: Full) -> None:
    model = encoder(name)
    adapted = strategy.apply(model)
    before = torch.get_rng_state()
    assert why_by_length(adapted, data(model), name) is None
    assert torch.equal(torch.get_rng_state(), before)
    assert adapted.training
    assert all(p.grad is None for p in adapted.parameters())


def test_a_decoder_with_another_padding_token_does_not() -> None:
    config = gpt2(pad_token_id=7)
    config.num_labels = 3
    torch.manual_seed(0)
    model = TransformerClassifier(AutoModelForSequenceClassification.from_config(config))
    texts = data(model, pad_token_id=0)
    why = why_by_length(Head().apply(model), texts, "gpt2")
    assert why is not None
    model.pad_with(0)
    assert why_by_length(Head().apply(model), texts, "gpt2") is None
    assert model.architecture["pad_token_id"] == 0


def test_options_that_came_later_leave_hashes_as_they_were(tmp_path: Path) -> None:
    config = compose(tmp_path, "model=distilbert", "dataset=imdb", "tracking=none")
    later = ("revision", "pad_token", "pooling")

    def without(node: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in node.items() if key not in later}

    before = without({**config.model, "tokenizer": without(config.model["tokenizer"])})
    assert before != config.model
    assert config_hash(replace(config, model=before)) == config_hash(config)
    for option in later[:2]:
        changed = compose(
            tmp_path, "model=distilbert", "dataset=imdb", "tracking=none", f"model.{option}=one"
        )
        assert changed.model["tokenizer"][option] == "one"
        assert config_hash(changed) != config_hash(config)


def test_all_linear_that_reaches_little_is_said(reviews: Path, tmp_path: Path) -> None:
    squeezed = SqueezeBertConfig(
        **SMALL, embedding_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    folder = written(tmp_path / "squeezed", squeezed)
    config = of(tmp_path, reviews, folder, "adapter=lora")
    with pytest.warns(UserWarning, match=r"all-linear reaches 15\.4% .* are Conv1d; .*all-conv\]"):
        assembly = assemble(config, train=run)
    assert any("all-linear reaches 15.4%" in note for note in assembly.notes)
    both = of(tmp_path, reviews, folder, "adapter=lora", "adapter.targets=[all-linear,all-conv]")
    assert not any("reaches" in note for note in assemble(both, train=run).notes)


def test_a_plan_refuses_an_adapter_that_never_learns(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spare(BertForSequenceClassification):
        def __init__(self, config: BertConfig) -> None:
            super().__init__(config)
            self.bert.spare = torch.nn.Linear(16, 16)

    small_bert = BertConfig(**SMALL, num_hidden_layers=1, num_attention_heads=2)
    folder = written(tmp_path / "base", small_bert)
    monkeypatch.setattr(
        "adapterlab.models.loading.AutoModelForSequenceClassification.from_config",
        lambda config, **options: Spare(config),
    )
    config = of(tmp_path, reviews, folder, "adapter=lora", "dataset.classes=[bad,good]")
    with pytest.raises(ConfigError, match=r"adapter\.targets: model\.bert\.spare: no part of"):
        check(config)
    check(of(tmp_path, reviews, folder, "adapter=lora", "adapter.targets=query"))


def test_a_plan_refuses_a_tokenizer_that_the_run_refuses(tmp_path: Path, reviews: Path) -> None:
    none = written(tmp_path / "none", gpt2(), pad_token=None)
    some = written(tmp_path / "some", gpt2(), pad_token="[PAD]")
    tried = [
        (none, (), "has no padding token; name one of its tokens"),
        (some, ("model.pad_token=PADDING",), "model.pad_token='PADDING' is no token of"),
        (some, ("dataset.max_length=64",), "model=hf takes at most 24 tokens"),
    ]
    for folder, options, said in tried:
        config = of(tmp_path, reviews, folder, *options)
        for ask in (plan_on_data, run):
            with pytest.raises(ConfigError, match=re.escape(said)):
                ask(config)
    _, read = plan_on_data(of(tmp_path, reviews, some))
    assert len(read.target.train.labels)
