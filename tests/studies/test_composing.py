"""Jobs of a sweep that are copied from one another are what Hydra composes."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.overrides import given_now
from adapterlab.config.parsing import parse, parse_values
from adapterlab.studies.sweeps.composing import SweepComposer, own_part
from adapterlab.studies.sweeps.plain_values import resolved

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


@pytest.fixture
def hydra_as_it_was() -> Iterator[None]:
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


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
        # An option inside of another is there or not by what was given last.
        ([(f"base.optimizer.lr={part}", "base.optimizer=null") for part in (0.1, 0.2)], 2),
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
        assert plain(checked) == plain(expected)
        assert plain(taken) == plain(expected)
        checked.hydra.job.num = 98
        taken.hydra.job.num = 99  # launchers write into what they take
    assert len(calls) == composed


@pytest.mark.parametrize(
    "jobs",
    [
        ("adapter.rank=1 seed=0", "adapter.rank=16 seed=3", "adapter.rank=2 seed=3"),
        # What refers to another option follows it: the seeds, the base and its epochs.
        ("seed=0 base.source=mnist", "seed=1 base.source=cifar10", "seed=2 base.source=digits"),
        ("dataset.source_epochs=1", "dataset.source_epochs=2", "dataset.source_epochs=7"),
        tuple(f"adapter=unipelt adapter.head={head}" for head in ("train", "freeze", "train")),
        ("optimizer.lr=1e-3 study=a", "optimizer.lr=0.5 study='a-b'", "optimizer.lr=0.01 study=c"),
        ("limit=null", "limit=5", "limit=7"),
        ("dataset.mean=[0.5]", "dataset.mean=[0.25]", "dataset.mean=[0.125]"),
        ("resume=true", "resume=false", "resume=true"),
        (f"arm={SCRATCH} epochs=1", f"arm={SCRATCH} epochs=2", f"arm={SCRATCH} epochs=3"),
    ],
)
def test_options_that_were_not_composed_are_those_of_a_composed_job(
    loader: Any, master: DictConfig, jobs: tuple[str, ...], hydra_as_it_was: None
) -> None:
    composer = SweepComposer(loader)
    lines = [job.split(" ", 1) if "'" in job else job.split(" ") for job in jobs]
    kept = composer.load_sweep_config(master, lines[0])
    for job in lines[1:]:
        HydraConfig.instance().set_config(loader.load_sweep_config(master, list(job)))
        expected = own_part(loader.load_sweep_config(master, list(job)))
        known = composer.values(job)
        assert known is not None
        values, given = known
        wanted = OmegaConf.to_container(expected, resolve=True, throw_on_missing=True)
        assert repr(values) == repr(wanted)
        assert given == given_now()
        assert repr(parse_values(values, given)) == repr(parse(expected))
    assert composer.take(master, lines[0]) is kept


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("seed=0", "epochs=1"),
        ("adapter=lora", "adapter=dora"),
        ("+adapter.more=1", "+adapter.more=2"),
        ("~seed", "~epochs"),
        ("root=a", "root=${data_dir}/x"),
        ("root=${oc.env:HOME}", "root=b"),
        ("study=x", "study=${hydra:job.num}"),
        ("study=x root=${hydra:job.name}", "study=y root=${hydra:job.name}"),
        ("limit=5", "limit=[5]"),
        ("adapter.rank_pattern={a:1}", "adapter.rank_pattern={b:2}"),
        ("base.dataset.validation=0.1", "base.dataset.validation=0.2"),
        ("study=x", "study=???"),
        ("seed=0 base.source=mnist", "seed=0 base.source=nope"),
        ("seed=0 seed=1", "seed=1 seed=2"),
    ],
)
def test_a_job_that_is_no_copy_of_values_is_composed(
    loader: Any, master: DictConfig, first: str, then: str
) -> None:
    composer = SweepComposer(loader)
    with contextlib.suppress(Exception):
        composer.load_sweep_config(master, first.split(" "))
    assert composer.values(then.split(" ")) is None


def test_what_is_not_as_composed_is_not_believed(
    loader: Any, master: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    composer = SweepComposer(loader)
    composer.load_sweep_config(master, ["limit=1"])
    other = "adapterlab.studies.sweeps.composing.resolved"
    monkeypatch.setattr(other, lambda own: {**resolved(own), "limit": 2.0})
    assert composer.values(["limit=2"]) is None
    monkeypatch.undo()
    assert composer.values(["limit=3"]) is None


def test_a_job_that_is_asked_for_twice_is_another_object(loader: Any, master: DictConfig) -> None:
    composer = SweepComposer(loader)
    composer.load_sweep_config(master, ["seed=0"])
    one, two = composer.take(master, ["seed=0"]), composer.take(master, ["seed=0"])
    assert one is not two
    assert plain(one) == plain(two)


@pytest.mark.parametrize("job", [("seed=0",), ("adapter=dora", "seed=1"), ("seed=0", "seed=1")])
def test_hydras_launchers_may_write_into_what_they_take(
    loader: Any, master: DictConfig, job: tuple[str, ...]
) -> None:
    composer = SweepComposer(loader)
    for number in range(4):
        taken = composer.load_sweep_config(master, job)
        assert plain(taken) == plain(loader.load_sweep_config(master, list(job)))
        if number:  # the first one was checked
            taken.hydra.job.num = number
            OmegaConf.set_readonly(taken, True)


@pytest.mark.parametrize("job", [("seed=0",), ("seed=0", "seed=1")])
def test_a_job_that_nobody_has_checked_is_launched_twice(
    loader: Any, master: DictConfig, job: tuple[str, ...], hydra_as_it_was: None
) -> None:
    composer = SweepComposer(loader)
    for number in range(3):
        taken = composer.load_sweep_config(master, job)
        assert plain(taken) == plain(loader.load_sweep_config(master, list(job)))
        with open_dict(taken):  # as Hydra's launchers do
            taken.hydra.job.id = taken.hydra.job.num = number
        HydraConfig.instance().set_config(taken)


def test_options_of_a_plugin_need_not_be_picklable(loader: Any, master: DictConfig) -> None:
    @dataclass
    class LauncherConf:
        jobs: int = 2

    def composed(master: DictConfig, lines: list[str]) -> DictConfig:
        config: DictConfig = loader.load_sweep_config(master, lines)
        with open_dict(config):
            config.hydra.launcher = LauncherConf()
        return config

    composer = SweepComposer(
        SimpleNamespace(repository=loader.repository, load_sweep_config=composed)
    )
    for job in (["seed=0"], ["seed=1"], ["seed=1"]):
        taken = composer.load_sweep_config(master, job)
        assert plain(taken) == plain(composed(master, job))
        assert OmegaConf.get_type(taken.hydra.launcher) is LauncherConf
        taken.hydra.job.num = 99


def test_another_process_gets_what_composes_alone(loader: Any, master: DictConfig) -> None:
    composer = SweepComposer.around(SweepComposer(loader))
    composer.load_sweep_config(master, ["seed=0"])
    there = cloudpickle.loads(cloudpickle.dumps(composer))
    one = there.load_sweep_config(master, ["seed=0"])
    assert plain(one) == plain(composer.take(master, ["seed=0"]))


def test_a_mistake_is_hydras_own(loader: Any, master: DictConfig) -> None:
    composer = SweepComposer(loader)
    composer.load_sweep_config(master, ["adapter=lora", "seed=0"])
    with pytest.raises(Exception, match="Could not find 'adapter/nope'"):
        composer.load_sweep_config(master, ["adapter=nope", "seed=0"])


def plain(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=False)
