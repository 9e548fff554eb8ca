"""What makes two runs the same run, and two runs replicates of one arm."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterlab.config import Config
from adapterlab.errors import AdapterLabError
from adapterlab.parsing import from_container, to_container
from adapterlab.runs import (
    RunFolder,
    RunResult,
    arm_hash,
    config_hash,
    read_config,
    run_name,
    write_config,
)
from lab import compose


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return compose(tmp_path_factory.mktemp("root"))


def shuffled(value: Any, rng: random.Random) -> Any:
    """Return equal values with the keys of every mapping in another order."""
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        return {key: shuffled(item, rng) for key, item in items}
    return value


@given(seed=st.integers(0, 2**32))
def test_the_order_of_the_options_does_not_count(config: Config, seed: int) -> None:
    other = from_container(shuffled(to_container(config), random.Random(seed)))
    assert config_hash(other) == config_hash(config)
    assert arm_hash(other) == arm_hash(config)


# (overrides of one, overrides of the other)
SAME = {
    "whole numbers": ("adapter.alpha=16", "adapter.alpha=16.0"),
    "whole numbers in lists": ("dataset.mean=[0]", "dataset.mean=[0.0]"),
    "notation": ("optimizer.lr=1e-3", "optimizer.lr=0.001"),
    "default said": ("adapter=lora", "adapter=lora adapter.rank=8"),
    "seed said": ("seed=3", "seed=3 init_seed=3 order_seed=3"),
    "data folder": ("data_dir=a", "data_dir=b"),
    "tracking": ("tracking=none", "tracking.uri=http://127.0.0.1:5000"),
    "experiment": ("", "tracking.experiment=other"),
    "study": ("study=one", "study=two"),
    "resuming": ("resume=true", "resume=false"),
    "plan": ("plan=true", ""),
    "workers": ("hardware.workers=2", ""),
    "threads": ("hardware.threads=1", "hardware.threads=2"),
    "nothing trained beside the updates": ("", "adapter.also_train=[]"),
    "accelerator": ("hardware=cpu", "hardware=auto"),
}

OTHER = {
    "seed": "seed=1",
    "init seed": "init_seed=1",
    "order seed": "order_seed=1",
    "rate": "optimizer.lr=0.002",
    "schedule": "optimizer.schedule=cosine",
    "rank": "adapter.rank=4",
    "rank by pattern": "adapter.rank_pattern={layers.0:4}",
    "strategy": "adapter=dora",
    "head": "adapter.head=freeze",
    "model": "model.widths=[64]",
    "data set": "dataset=digits",
    "normalisation": "dataset.mean=[0.1]",
    "source": "base.source=mnist",
    "the base's training": "base.epochs=3",
    "the base's seed": "base.seed=1",
    "precision": "hardware.precision=64-true",
    "limit": "limit=100",
    "limit of a split": "limit={train:100}",
    "trained beside the updates": "adapter.also_train=[layers.1]",
    "epochs": "epochs=11",
    "batch size": "batch_size=32",
    "label smoothing": "label_smoothing=0.1",
    "selection": "select_on=loss",
    "early stopping": "early_stopping=3",
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_run(case: str, tmp_path: Path) -> None:
    one, other = (compose(tmp_path, *overrides.split()) for overrides in SAME[case])
    assert config_hash(one) == config_hash(other)
    assert arm_hash(one) == arm_hash(other)


def test_the_same_run_in_another_place(tmp_path: Path, config: Config) -> None:
    assert config_hash(compose(tmp_path / "elsewhere")) == config_hash(config)


@pytest.mark.parametrize("case", OTHER)
def test_another_run(case: str, tmp_path: Path, config: Config) -> None:
    other = compose(tmp_path, OTHER[case])
    assert config_hash(other) != config_hash(config)
    # Seeds of the run make replicates; the base's seed is part of the arm.
    replicate = OTHER[case].partition("=")[0] in ("seed", "init_seed", "order_seed")
    assert (arm_hash(other) == arm_hash(config)) == replicate


def test_hashes_stay_what_they_are(tmp_path: Path) -> None:
    """A change here orphans every finished run and trained base of every user."""
    config = compose(tmp_path, "base=scratch", "adapter=head", "dataset.loader.rotation=180")
    assert len(config_hash(config)) == len(arm_hash(config)) == 12
    assert config_hash(config) == config_hash(from_container(to_container(config)))


def test_an_option_that_came_later_changes_no_hash_where_it_is_off(config: Config) -> None:
    older = {key: value for key, value in config.adapter.items() if key != "also_train"}
    assert len(older) < len(config.adapter)
    assert config_hash(replace(config, adapter=older)) == config_hash(config)


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = compose(
        tmp_path,
        "dataset=fashion_mnist",
        "adapter=dora",
        "adapter.rank_pattern={layers.*: 2}",
        "study=test",
        "optimizer=sgd",
        "optimizer.lr=1e-5",
        "limit={train: 400, test: 80}",
    )
    write_config(tmp_path / "config.yaml", config)
    assert read_config(tmp_path / "config.yaml") == config


def test_a_shortened_run_survives_its_file(tmp_path: Path) -> None:
    config = compose(tmp_path, "fast_dev_run=true", "batch_size=7")
    assert from_container(to_container(config)) == config


def test_a_name_tells_what_was_run(config: Config) -> None:
    assert run_name(config) == "digits_rotated-mlp-lora-r8-a16-seed0"
    folder = RunFolder.of(replace(config, study="mine")).path
    assert folder == config.mlruns / "runs" / "mine" / f"{run_name(config)}-{config_hash(config)}"
    assert RunFolder.of(config).path.parent.name == "single"


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    result = RunResult(
        name="a-run",
        folder=tmp_path,
        run_id="abc",
        metrics={"test/accuracy": 1 / 3, "test/nll": 1e-17},
        missing={"source/accuracy_before": "trained from scratch"},
        notes=("a note",),
        shape=(3, 8, 8),
        classes=("cat", "dog"),
    )
    assert folder.finished() is None
    folder.finish(result)
    assert folder.finished() == result


def test_a_folder_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path / "run").lock(wait=False),
        pytest.raises(AdapterLabError, match="another process is training this very run"),
        RunFolder(tmp_path / "run").lock(wait=False),
    ):
        pass
    with RunFolder(tmp_path / "run").lock(wait=False):
        pass


def test_starting_anew_clears_the_folder_and_resuming_keeps_it(
    tmp_path: Path, config: Config
) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.lock(wait=False):
        assert not folder.start(config, "data", keep=True)
        folder.checkpoints.mkdir()
        (folder.checkpoints / "last.ckpt").touch()
        folder.remember_mlflow_run("abc")
        assert folder.start(config, "data", keep=True)
        assert folder.same_data("data")
        assert not folder.same_data("other data")
        assert folder.mlflow_run_id() == "abc"
        assert not folder.start(config, "data", keep=False)
        assert folder.mlflow_run_id() is None
        assert not folder.checkpoints.exists()
        assert read_config(folder.config) == config
