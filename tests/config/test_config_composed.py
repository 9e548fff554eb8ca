"""What is composed from conf/ and a command line, where nothing is wrong with it."""

from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from adapterlab.base.errors import ConfigError
from adapterlab.config import conf_folder
from adapterlab.runs.identity import config_hash
from lab import TINY, _composed, compose, composed_by_hydra, sets_a_value


def test_patterns_are_set_on_the_command_line(tmp_path: Path) -> None:
    config = compose(tmp_path, "adapter.rank_pattern={layers.*: 4}", "adapter=dora")
    assert config.adapter["rank_pattern"] == {"layers.*": 4}


def test_relative_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose(Path("here"), "data_dir=there")
    assert config.mlruns == tmp_path / "here" / "mlruns"
    assert config.data_path == tmp_path / "there"


def test_the_source_comes_with_the_data_set(tmp_path: Path) -> None:
    base = compose(tmp_path, "dataset=fashion_mnist").base
    assert (base.source, base.dataset.name, base.epochs) == ("mnist", "mnist", 5)
    base = compose(tmp_path, "dataset=fashion_mnist", "base.source=digits", "base.epochs=1").base
    assert (base.source, base.dataset.name, base.epochs) == ("digits", "digits", 1)


def test_every_choice_of_every_group_composes(tmp_path: Path) -> None:
    needs = {
        "base=checkpoint": ["base.path=weights.pt"],
        "base=peft": ["base.path=folder"],
        "dataset=image_folder": ["dataset.loader.path=x", "base=scratch"],
        "dataset=image_parquet": ["dataset.loader.path=x", "base=scratch"],
        "dataset=text_files": ["dataset.loader.path=x"],
        "model=hf": ["model.name_or_path=someone/model"],
        "model=hf_image": ["model.name_or_path=someone/model"],
        "model=timm": ["model.name_or_path=resnet10t"],
    }
    groups = ("adapter", "model", "dataset", "base", "optimizer", "hardware", "tracking")
    for group in groups:
        for path in sorted((conf_folder.CONF / group).glob("*.yaml")):
            choice = f"{group}={path.stem}"
            more = needs.get(choice, [])
            if group == "model" and "tokenizer:" in path.read_text():
                more = [*more, "dataset=emotion"]
            if group == "dataset" and "kind: text" in path.read_text():
                more = [*more, "model=bert_tiny"]
            compose(tmp_path, choice, *more)


def test_fast_dev_run_is_two_batches_of_everything(tmp_path: Path) -> None:
    config = compose(tmp_path, "fast_dev_run=true", "batch_size=8", "epochs=30", "limit=500")
    assert (config.epochs, config.base.epochs, config.limit) == (1, 1, 16)


def test_a_limit_of_none_leaves_a_split_whole(tmp_path: Path) -> None:
    named = compose(tmp_path, "limit={train: 400, validation: null, test: null}")
    assert named.limit == {"train": 400}
    assert config_hash(named) == config_hash(compose(tmp_path, "limit={train: 400}"))
    assert compose(tmp_path, "limit={train: null}").limit is None


@pytest.mark.parametrize(
    "overrides",
    [
        TINY,
        ("base.source=digits", "dataset=fashion_mnist", "seed=3", "init_seed=${order_seed}"),
        ("adapter=combined", "adapter.parts.lora.rank=2", "+adapter.rank_pattern={layers.*: 4}"),
        ("limit={train: 400, test: null}", "model.widths=[8,8]", "early_stopping=null", "seed=1"),
        ("optimizer=sgd", "optimizer.momentum=0.9", "optimizer.lr=1e-3", "optimizer.lr=1e-2"),
        ("study='a b'", "adapter.targets=[query,'value']", "loss.class_weights={a: 1, b: 2.5}"),
        ("experiment=demo", "epochs=1", "adapter=dora", "adapter.rank_pattern={layers.0: 2}"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_tests_compose_as_hydra_does(overrides: tuple[str, ...]) -> None:
    """The short cut that `lab.compose` takes."""
    assert any(map(sets_a_value, overrides))
    short, whole = _composed("train", overrides), composed_by_hydra("train", overrides)
    assert OmegaConf.to_yaml(short) == OmegaConf.to_yaml(whole)
    assert OmegaConf.is_struct(short) == OmegaConf.is_struct(whole)
    assert composed_by_hydra("train", ()).epochs == 10  # what is shared stays as it was


@pytest.mark.parametrize("wrong", ["nope=1", "adapter.nope=1", "epochs=1,2", "epochs=["])
def test_what_hydra_refuses_is_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises((HydraException, ConfigError)):
        compose(tmp_path, wrong)
