"""What makes two runs the same run, and two runs replicates of one arm."""

import random
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.parsing import from_container, to_container
from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import RunFolder, RunResult, read_config, write_config
from adapterlab.runs.folders.homes import home_of, latest_home
from adapterlab.runs.identity import arm_hash, config_hash, former_hash, run_name
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


DEEP = "model.widths=[32,32,32]"
TWO_PARTS = (
    f"{DEEP} adapter=combined adapter.parts.lora.targets=[layers.0] "
    "adapter@adapter.parts.full=full adapter.parts.full.targets=[layers.1,layers.2]"
)

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
    "targets in another order": (
        f"{DEEP} adapter.targets=[layers.0,layers.1]",
        f"{DEEP} adapter.targets=[layers.1,layers.0,layers.1]",
    ),
    "all layers by name": (DEEP, f"{DEEP} adapter.targets=[layers.2,layers.0,layers.1]"),
    "all layers by pattern": (DEEP, f"{DEEP} adapter.targets=layers.*"),
    "all blocks": (DEEP, f"{DEEP} adapter.layers=[0,1,2]"),
    "blocks by number": (f"{DEEP} adapter.layers='last 2'", f"{DEEP} adapter.layers=[2,1]"),
    "blocks by name": (
        f"{DEEP} adapter.layers='first 2'",
        f"{DEEP} adapter.targets=[layers.0,layers.1]",
    ),
    "a target without brackets": (
        f"{DEEP} adapter.targets=layers.1",
        f"{DEEP} adapter.targets=[layers.1]",
    ),
    "the head by name": (
        "adapter.head=adapt",
        "adapter.head=adapt adapter.targets=[head,layers.0]",
    ),
    "one rank for all layers": (
        f"{DEEP} adapter.rank=4",
        f"{DEEP} adapter.rank_pattern={{layers.*:4}}",
    ),
    "exceptions, or the rule": (
        f"{DEEP} adapter.rank=4 adapter.rank_pattern={{layers.0:2}}",
        f"{DEEP} adapter.rank=2 adapter.rank_pattern={{layers.1:4,layers.2:4}}",
    ),
    "limits of all splits": ("limit=10", "limit={train:10,validation:10,test:10}"),
    "a mean for each channel": (
        "dataset=cifar10 base=scratch dataset.mean=[0.5]",
        "dataset=cifar10 base=scratch dataset.mean=[0.5,0.5,0.5]",
    ),
    "roles with nothing of their own": ("", "+optimizer.roles={head:{lr:null},B:{}}"),
    "patience of no plateau": ("", "optimizer.plateau_patience=7"),
    "spread of what is not drawn so": ("", "adapter.init_std=0.5"),
    "a band of one diagonal": ("adapter=svft", "adapter=svft adapter.band=3"),
    "everything is trained": ("adapter=full", "adapter=full adapter.targets='*'"),
    "the part of a dial": (TWO_PARTS, f"{TWO_PARTS} adapter.dial_of=null"),
    "labels of parts": (TWO_PARTS, f"{TWO_PARTS} adapter.parts.lora.label=mine"),
    "a part that is none": (TWO_PARTS, f"{TWO_PARTS} +adapter.parts.more=null"),
    "spread of what a part does not draw so": (
        TWO_PARTS,
        f"{TWO_PARTS} adapter.parts.lora.init_std=0.5",
    ),
    "targets of parts": (
        TWO_PARTS,
        f"{TWO_PARTS} adapter.parts.lora.layers='first 1' adapter.parts.lora.targets=all-linear "
        "adapter.parts.full.targets=[layers.2,layers.1]",
    ),
    "rank of a part by pattern": (
        f"{TWO_PARTS} adapter.parts.lora.rank=4",
        f"{TWO_PARTS} adapter.parts.lora.rank_pattern={{layers.0:4}}",
    ),
    "accelerator": ("hardware=cpu", "hardware=auto"),
}

OTHER = {
    "seed": "seed=1",
    "init seed": "init_seed=1",
    "order seed": "order_seed=1",
    "rate": "optimizer.lr=0.002",
    "schedule": "optimizer.schedule=cosine",
    "floor": "optimizer.schedule=cosine optimizer.floor=0.1",
    "hold": "optimizer.schedule=cosine optimizer.hold=0.1",
    "rates by layer": "optimizer.layer_decay=0.9",
    "optimizer": "optimizer._target_=torch.optim.NAdam",
    "rate of a role": "+optimizer.roles.head.lr=0.1",
    "decay of a role": "+optimizer.roles.B.weight_decay=0",
    "rate of a role in the base's training": "+base.optimizer.roles.head.lr=0.1",
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
    "weights of classes": "loss.class_weights=balanced",
    "weight of a class": "loss.class_weights={3:2}",
    "focal loss": "loss.focal_gamma=2",
    "sampling": "sampling=balanced",
    "early stopping": "early_stopping=3",
    "some layers": "adapter.targets=[layers.0] model.widths=[32,32]",
    "patience of a plateau": "optimizer.schedule=plateau optimizer.plateau_patience=7",
}

# The first pattern that matches a layer counts.
DIFFERENT = {
    "patterns in another order": (
        f"{DEEP} adapter.rank_pattern={{layers.0:4,layers.*:2}}",
        f"{DEEP} adapter.rank_pattern={{layers.*:2,layers.0:4}}",
    ),
    "parts": (TWO_PARTS, f"{TWO_PARTS} adapter.parts.full.targets=[layers.1]"),
    "rank of a part": (TWO_PARTS, f"{TWO_PARTS} adapter.parts.lora.rank=4"),
    "strategy of a part": (TWO_PARTS, f"{TWO_PARTS} adapter@adapter.parts.lora=dora"),
    "head of all parts": (TWO_PARTS, f"{TWO_PARTS} adapter.head=freeze"),
    "spread of what is drawn": ("adapter=lora_xs", "adapter=lora_xs adapter.init_std=0.5"),
    "bands": (
        "adapter=svft adapter.pattern=top_k",
        "adapter=svft adapter.pattern=top_k adapter.band=3",
    ),
    "less than everything": ("adapter=full", "adapter=full adapter.targets=layers.0"),
    "patience": (
        "optimizer.schedule=plateau optimizer.plateau_patience=7",
        "optimizer.schedule=plateau optimizer.plateau_patience=6",
    ),
    "two layers of three": (
        f"{DEEP} adapter.targets=[layers.0,layers.1]",
        f"{DEEP} adapter.targets=[layers.0,layers.2]",
    ),
    "limits of two splits": ("limit=10", "limit={train:10,test:10}"),
    "means": ("dataset.mean=[0.5]", "dataset.mean=[0.4]"),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_run(case: str, tmp_path: Path) -> None:
    one, other = (compose(tmp_path, *shlex.split(overrides)) for overrides in SAME[case])
    assert config_hash(one) == config_hash(other)
    assert arm_hash(one) == arm_hash(other)


@pytest.mark.parametrize("case", DIFFERENT)
def test_different_runs(case: str, tmp_path: Path) -> None:
    one, other = (compose(tmp_path, *overrides.split()) for overrides in DIFFERENT[case])
    assert config_hash(one) != config_hash(other)
    assert arm_hash(one) != arm_hash(other)


def test_the_same_run_in_another_place(tmp_path: Path, config: Config) -> None:
    assert config_hash(compose(tmp_path / "elsewhere")) == config_hash(config)


@pytest.mark.parametrize("case", OTHER)
def test_another_run(case: str, tmp_path: Path, config: Config) -> None:
    other = compose(tmp_path, *OTHER[case].split())
    assert config_hash(other) != config_hash(config)
    # Seeds of the run make replicates; the base's seed is part of the arm.
    replicate = OTHER[case].partition("=")[0] in ("seed", "init_seed", "order_seed")
    assert (arm_hash(other) == arm_hash(config)) == replicate


def test_hashes_stay_what_they_are(tmp_path: Path) -> None:
    """A change here orphans every finished run and trained base of every user."""
    config = compose(tmp_path, "base=scratch", "adapter=head", "dataset.loader.rotation=180")
    assert len(config_hash(config)) == len(arm_hash(config)) == 12
    assert config_hash(config) == config_hash(from_container(to_container(config)))


def test_a_run_that_was_named_by_how_its_options_were_written_is_found(tmp_path: Path) -> None:
    config = compose(tmp_path, DEEP, "adapter.targets=[layers.2,layers.0,layers.1]", "study=s")
    assert former_hash(config) != config_hash(config)
    assert former_hash(compose(tmp_path)) == config_hash(compose(tmp_path))
    former = tmp_path / "mlruns" / "runs" / "s" / f"{run_name(config)}-{former_hash(config)}"
    former.mkdir(parents=True)
    (former / "data_hash").write_text("some")
    assert home_of(config, "some").path == latest_home(config).path == former
    assert home_of(config, "other") == RunFolder.of(config)


def test_an_option_that_came_later_changes_no_hash_where_it_is_off(
    config: Config, tmp_path: Path
) -> None:
    for option, one in (("also_train", config), ("targets", compose(tmp_path, "adapter=full"))):
        older = {key: value for key, value in one.adapter.items() if key != option}
        assert len(older) < len(one.adapter)
        assert config_hash(replace(one, adapter=older)) == config_hash(one)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_optimizers_of_before_had_a_name_only(optimizer: str, tmp_path: Path) -> None:
    config = compose(tmp_path, f"optimizer={optimizer}")
    values = to_container(config)
    for node in (values["optimizer"], values["base"]["optimizer"]):
        del node["_target_"], node["roles"]
    assert from_container(values) == config
    expected = {"adamw": "cd65f30fb5e9", "adam": "bad9ee934059", "sgd": "949c4256e464"}
    assert config_hash(config) == expected[optimizer]


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = compose(
        tmp_path,
        "dataset=fashion_mnist",
        "adapter=dora",
        "adapter.rank_pattern={layers.*: 2}",
        "study=test",
        "optimizer=sgd",
        "+optimizer.roles.head.lr=1e-2",
        "+optimizer.dampening=0.1",
        "optimizer.lr=1e-5",
        "limit={train: 400, test: 80}",
    )
    write_config(tmp_path / "config.yaml", config)
    assert read_config(tmp_path / "config.yaml") == config
    combined = compose(tmp_path, *shlex.split(TWO_PARTS))
    write_config(tmp_path / "config.yaml", combined)
    assert read_config(tmp_path / "config.yaml") == combined


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
        folder.link.remember("abc")
        assert folder.start(config, "data", keep=True)
        assert folder.same_data("data")
        assert not folder.same_data("other data")
        assert folder.link.run_id() == "abc"
        assert not folder.start(config, "data", keep=False)
        assert folder.link.run_id() == "abc"  # which is ended before another is made
        assert not folder.checkpoints.exists()
        assert read_config(folder.config) == config
