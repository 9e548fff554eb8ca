"""Jobs of a sweep that are copied from one another are what Hydra composes."""

from collections.abc import Iterator
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.studies.composing import SweepComposer

SCRATCH = "mnist_to_fashion/scratch"
COMMON = ("dataset=fashion_mnist", "hydra/launcher=packed", "study=s")


@pytest.fixture
def loader() -> Iterator[Any]:
    with composing(conf_folder.CONF):
        yield GlobalHydra.instance().hydra.config_loader  # type: ignore[union-attr]


@pytest.fixture
def master(loader: Any) -> DictConfig:
    config: DictConfig = loader.load_configuration("train", list(COMMON), RunMode.MULTIRUN)
    return config


@pytest.mark.parametrize(
    ("jobs", "composed"),
    [
        ([("adapter.rank=1", "seed=0"), ("adapter.rank=16", "seed=3")], 1),
        ([("adapter=lora", "seed=0"), ("adapter=dora", "seed=0"), ("adapter=dora", "seed=1")], 2),
        ([(f"arm={SCRATCH}", "epochs=1"), (f"arm={SCRATCH}", "epochs=2")], 1),
        ([("optimizer.lr=1e-3", "study=a b"), ("optimizer.lr=0.01", "study='a, b'")], 1),
        ([("dataset.mean=[0.5]", "limit=5"), ("dataset.mean=[0.1,0.2]", "limit=null")], 1),
        # Hydra merges a mapping into what is there: another job's would stay.
        ([("adapter.rank_pattern={a: 1}",), ("adapter.rank_pattern={b: 2}",)], 2),
        ([("+adapter.more=1",), ("+adapter.more=2",)], 2),
        ([("~seed",), ("~epochs",)], 2),
        ([("root=${oc.env:HOME}",), ("root=${data_dir}/x",)], 1),
        # The later of two values of one option counts.
        ([("seed=0", "seed=1"), ("seed=2", "seed=3")], 2),
        ([("seed=0", "epochs=1"), ("epochs=1", "seed=0")], 2),
    ],
)
def test_a_job_is_what_hydra_composes(
    loader: Any, master: DictConfig, jobs: list[tuple[str, ...]], composed: int
) -> None:
    calls = []

    class Counting:
        repository = loader.repository

        def load_sweep_config(self, master: DictConfig, lines: list[str]) -> DictConfig:
            calls.append(lines)
            config: DictConfig = loader.load_sweep_config(master, lines)
            return config

    composer = SweepComposer(Counting())
    for job in jobs:
        checked = composer.load_sweep_config(master, job)
        expected = loader.load_sweep_config(master, list(job))
        taken = composer.take(master, job)
        assert taken is checked
        assert plain(taken) == plain(expected)
        taken.hydra.job.num = 99  # launchers write into what they take
    assert len(calls) == composed


def test_a_job_that_is_asked_for_twice_is_another_object(loader: Any, master: DictConfig) -> None:
    composer = SweepComposer(loader)
    composer.load_sweep_config(master, ["seed=0"])
    one, two = composer.take(master, ["seed=0"]), composer.take(master, ["seed=0"])
    assert one is not two
    assert plain(one) == plain(two)


def test_a_mistake_is_hydras_own(loader: Any, master: DictConfig) -> None:
    composer = SweepComposer(loader)
    composer.load_sweep_config(master, ["adapter=lora", "seed=0"])
    with pytest.raises(Exception, match="Could not find 'adapter/nope'"):
        composer.load_sweep_config(master, ["adapter=nope", "seed=0"])


def plain(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=False)
