"""A user's own data sets are told apart by their paths, and keep the hashes that they had."""

from pathlib import Path

import pytest

from adapterlab.config.own_data import own_name
from adapterlab.config.parsing import from_container, to_container
from adapterlab.runs.identity import config_hash
from lab import compose

TEXTS = ("dataset=text_files", "model=bert_tiny", "base=scratch")


def test_no_two_places_share_a_name_or_a_hash(tmp_path: Path) -> None:
    configs = [
        compose(tmp_path, *TEXTS, f"dataset.loader.path=/{place}/reviews") for place in ("a", "b")
    ]
    names = [config.dataset.name for config in configs]
    assert [name.rpartition("-")[0] for name in names] == ["reviews", "reviews"]
    assert names[0] != names[1]
    assert config_hash(configs[0]) != config_hash(configs[1])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x/spam.csv", "spam"),
        ("/x/reviews/train.csv", "reviews-train"),
        ("/x/Été 2024", "Ete-2024"),
        ("/x/数据", "data"),
        ("/", "data"),
    ],
)
def test_names_are_such_as_files_may_have(path: str, name: str) -> None:
    assert own_name(path).rpartition("-")[0] == name


def test_a_name_that_was_given_stays(tmp_path: Path) -> None:
    config = compose(tmp_path, *TEXTS, "dataset.loader.path=/a/reviews", "dataset.name=films")
    assert config.dataset.name == "films"


def test_the_hash_is_that_of_before(tmp_path: Path) -> None:
    """Saved configurations name these data sets by their loader, and fewer of its options."""
    config = compose(tmp_path, *TEXTS, "dataset.loader.path=/a/reviews")
    values = to_container(config)
    values["dataset"]["name"] = "text_files"
    values["dataset"]["loader"] = {
        "_target_": "adapterlab.data.sources.text_files.text_files",
        "path": "/a/reviews",
        "text_column": "text",
        "label_column": "label",
    }
    assert config_hash(from_container(values)) == config_hash(config)
    values["dataset"]["loader"]["text_column"] = "body"
    assert config_hash(from_container(values)) != config_hash(config)


def test_a_relative_path_is_of_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("a", "b"):
        (tmp_path / place / "reviews").mkdir(parents=True)
    paths = []
    for place in ("a", "b"):
        monkeypatch.chdir(tmp_path / place)
        config = compose(tmp_path, *TEXTS, "dataset.loader.path=reviews")
        paths.append(config.dataset.loader["path"])
    assert paths == [str(tmp_path / "a" / "reviews"), str(tmp_path / "b" / "reviews")]
    own = compose(tmp_path, *TEXTS, "dataset.loader.path=reviews", f"data_dir={tmp_path / 'a'}")
    assert own.dataset.loader["path"] == "reviews"
