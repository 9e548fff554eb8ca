"""Texts, vocabularies and models that do not belong together are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import torch

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.runs import single
from adapterlab.runs.assembly import assemble
from adapterlab.runs.single import run
from lab import Outcome
from reviews import evaluated, logits, small, write_reviews

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("texts") / "reviews")


def test_weights_from_a_file_need_their_own_vocabulary(tmp_path: Path, reviews: Path) -> None:
    """Which is made of the training rows: of others, other words get a token's number."""
    full = run(small(tmp_path, reviews, "adapter=full"))
    weights = full.folder / "adapter.safetensors"
    file = ("base=checkpoint", f"base.path={weights}", "base.head=keep", "base.classes=[bad,good]")
    same = assemble(small(tmp_path, reviews, "adapter=head", *file), run)
    predicted = single.predict(same.adapted, same.data, "test", torch.device("cpu"))
    torch.testing.assert_close(torch.tensor(predicted.logits), logits(full).float())
    for other in (["dataset.validation_seed=1"], ["limit=40"]):
        with pytest.raises(AdapterLabError, match="trained with another vocabulary"):
            assemble(small(tmp_path, reviews, "adapter=head", *file, *other), run)


def test_a_saved_run_is_not_evaluated_with_another_vocabulary(tmp_path: Path) -> None:
    folder = write_reviews(tmp_path / "own")
    result = run(small(tmp_path, folder, "adapter=head"))
    lines = (folder / "train.csv").read_text().splitlines()
    (folder / "train.csv").write_text("\n".join([lines[0], *lines[20:]]))
    with pytest.raises(AdapterLabError, match="trained with another vocabulary"):
        evaluated(result)


def test_class_names_in_another_order_than_the_files_are_refused(
    tmp_path: Path, reviews: Path
) -> None:
    table = datasets.Dataset.from_dict(
        {"text": ["good", "bad"] * 20, "label": [1, 0] * 20},
        features=datasets.Features(
            text=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"])
        ),
    )
    (tmp_path / "own").mkdir()
    for split in ("train", "test"):
        table.to_parquet(str(tmp_path / "own" / f"{split}.parquet"))
    config = small(tmp_path, tmp_path / "own", "dataset.classes=[good,bad]")
    with pytest.raises(ConfigError, match="another order than in the files"):
        run(config)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("dataset.max_length=25",), "model=bert_tiny takes at most 24 tokens"),
        (("dataset.max_length=2",), "max_length is 2"),
        (("model.vocab_size=20",), "vocab_size is 20"),
        (("base=pretrained",), "model=bert_tiny comes without weights"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    overrides: tuple[str, ...], message: str, tmp_path: Path, reviews: Path
) -> None:
    config = small(tmp_path, reviews, "dataset.classes=[bad,good]", *overrides)
    with pytest.raises(ConfigError, match=message):
        run(config)


def test_the_tokenizer_must_be_the_models(tmp_path: Path, reviews: Path) -> None:
    config = small(tmp_path, reviews)
    node = {**config.model["tokenizer"], "vocab_size": 200}
    config = replace(config, model={**config.model, "vocab_size": 60, "tokenizer": node})
    with pytest.raises(AdapterLabError, match="token ids up to"):
        run(config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("dataset=emotion", "dataset=emotion holds texts and model=mlp takes images"),
        ("model=bert_tiny", "dataset=digits_rotated holds images and model=bert_tiny takes texts"),
        ("base=pretrained", "model=mlp comes without weights"),
        (
            "model=bert_tiny dataset=emotion base=trained base.source=mnist",
            "base.source=mnist holds images and dataset=emotion texts",
        ),
        ("model=bert_tiny dataset=emotion base=trained", "emotion names no source for its base"),
        ("model=hf dataset=emotion", "model.name_or_path is missing"),
        ("model=hf dataset=emotion model.name_or_path=null", "name_or_path=None should be"),
        ("model=bert_tiny dataset=emotion model.tokenizer=null", "should be a node with _target_"),
        ("model=bert_tiny dataset=emotion ~model.tokenizer._target_", "_target_ is missing"),
        ("~dataset.kind", "dataset.kind is missing"),
        ("+adapter.tokenizer=abc", "adapter.tokenizer is not an option"),
        (
            "model=bert_tiny dataset=emotion base=checkpoint base.path=x base.shape=[1,28,28]",
            "base.shape=[1, 28, 28] is for images",
        ),
        (
            "model=bert_tiny dataset=text_files dataset.loader.path=x dataset.max_length=600",
            "dataset.max_length=600: model=bert_tiny takes at most 512 tokens",
        ),
        ("model=hf model.name_or_path=./none dataset=emotion", "no such folder"),
    ],
)
def test_images_and_texts_are_told_apart(
    arguments: str, message: str, run_cli: Callable[..., Outcome]
) -> None:
    assert message in run_cli(*arguments.split()).error
