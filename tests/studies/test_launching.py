"""Options of the packed launcher: each engine's own, and what is refused in one line."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adapterlab.base.errors import ConfigError
from adapterlab.base.planned_place import Place, planned_for
from adapterlab.runs.identity import config_hash
from adapterlab.studies import engines
from adapterlab.studies.engines import KINDS, Asked
from adapterlab.studies.engines.clusters import slurm
from adapterlab.studies.engines.clusters.futures import place_here
from adapterlab.studies.launching.options import Launching, launching
from adapterlab.studies.planning.for_place import for_place
from adapterlab.training.hardware import resolve_accelerator
from lab import Outcome, tiny

SUBMITIT = {"engine": "submitit", "cluster": "local"}
NODE = {"memory_gib": None, "cores": None, "gpu": None}


def test_local_is_what_is_taken_without_a_word() -> None:
    chosen = launching({"engine": "local", "wait": True, "node": NODE, "processes": 2})
    assert chosen == Launching("local", None, Asked(), nodes=1, wait=True, options=chosen.options)
    assert chosen.options.processes == 2
    assert chosen.place() is None


@pytest.mark.parametrize(
    ("given", "busy"),
    [
        ({}, 1),
        ({"processes": 2}, 4),
        ({"engine": "submitit", "cluster": "local", "processes": 2}, 1),
        ({"engine": "submitit", "cluster": "local", "nodes": 3}, 3),
    ],
)
def test_packs_are_split_for_processes_that_were_asked_for(
    given: dict[str, object], busy: int
) -> None:
    chosen = launching({"engine": "local", "wait": True, "node": NODE} | given)
    assert chosen.to_be_busy(at_once=4) == busy


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"engine": "slurm"}, "hydra.launcher.engine='slurm'; allowed: local, submitit"),
        ({"partition": "main"}, "hydra.launcher.partition=main is an option of engine=submitit, "),
        (SUBMITIT | {"processes": 0}, "hydra.launcher.processes=0 should be greater than or equal"),
        (SUBMITIT | {"mem_gb": 4}, "hydra.launcher.mem_gb=4.0 is not an option of cluster=local"),
        (
            SUBMITIT | {"cluster": "k8s"},
            "hydra.launcher.cluster='k8s' should be 'slurm' or 'local'",
        ),
        (SUBMITIT | {"setup": "ls"}, "hydra.launcher.setup='ls' should be a valid"),
        ({"engine": "submitit", "processes": 2}, "processes=2 is not an option of cluster=slurm"),
        ({"engine": 3}, "hydra.launcher.engine=3 should be a valid string"),
        ({"wait": "no"}, "hydra.launcher.wait='no' should be a valid boolean"),
        ({"wait": False}, "hydra.launcher.wait=false: tasks of engine=local end with"),
        ({"processes": 0}, "hydra.launcher.processes=0 should be greater than or equal to 1"),
        ({"memory_gib": 0}, "hydra.launcher.memory_gib=0 should be greater than 0"),
        ({"node": {"memory_gib": -1}}, "hydra.launcher.node.memory_gib=-1 should be greater"),
        ({"node": {"nodes": 1}}, "hydra.launcher.node.nodes is not an option"),
        ({"node": {"gpu": True}}, "hydra.launcher.node is of engines that carry packs elsewhere"),
        (
            {"nodes": 4},
            "hydra.launcher.nodes=4 is of engines that carry packs elsewhere; of engine",
        ),
        (SUBMITIT | {"nodes": 0}, "hydra.launcher.nodes=0 should be greater than or equal to 1"),
        ({"walltime": 3}, "hydra.launcher.walltime=3 is not an option of engine=local"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)):
        launching(values)


def test_a_task_has_what_is_asked_for_and_never_what_this_machine_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {"sinfo": "main|64000+|32\nmain|128000|64\n", "scontrol": "DefMemPerCPU = 2048\n"}
    monkeypatch.setattr(slurm, "require", lambda: None)
    monkeypatch.setattr(slurm, "_asked", lambda command, **_: said.get(command[0]))

    def place(**values: object) -> tuple[float, int, bool, int]:
        place = launching({"engine": "submitit", **values}).place()
        assert place is not None
        return place.memory_gib, place.cores, place.gpu, place.tasks

    assert place() == (2.0, 1, False, 256)
    assert place(cpus_per_task=4, array_parallelism=3) == (8.0, 4, False, 3)
    assert place(mem_gb=24.0) == (24.0, 1, False, 256)
    gpu = {"memory_gib": 40.0, "cores": 8}
    assert place(gpus_per_node=1, node=gpu) == (40.0, 8, True, 256)
    with pytest.raises(ConfigError, match=r"node\.memory_gib=40 does$"):
        place(gpus_per_node=1)
    said["scontrol"] = "DefMemPerNode           = UNLIMITED\n"
    assert place() == (62.5, 1, False, 256)
    del said["sinfo"]
    with pytest.raises(ConfigError, match="how much memory a node of partition=gpu has"):
        place(partition="gpu")


def test_slurm_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"there is no `sbatch` on PATH; cluster=local tries"):
        launching({"engine": "submitit"}).place()


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {**KINDS, "local": replace(KINDS["local"], package="not_there", extra="cluster")}
    monkeypatch.setattr(engines, "KINDS", kinds)
    with pytest.raises(ConfigError, match=r"needs not_there.*pip install '\.\[cluster\]'$"):
        launching({})


def test_options_are_checked_before_anything_else(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    options = ("-m", "hydra/launcher=packed", "seed=0,1", "hydra.launcher.engine=slrm")
    assert run_cli(*options, root=tmp_path).error.startswith("hydra.launcher.engine='slrm'; ")
    assert not (tmp_path / "mlruns").exists()


def test_a_run_that_is_planned_for_a_gpu_elsewhere_has_one_hash_everywhere(tmp_path: Path) -> None:
    config = tiny(tmp_path, "hardware=auto", "hardware.precision=auto", "hardware.threads=null")
    place = Place(memory_gib=40, cores=8, gpu=True, words="Slurm")
    with planned_for(place):
        assert resolve_accelerator("auto") == "gpu"
        told = for_place(config, place)
        assert config_hash(told) == config_hash(config)
    assert (told.hardware.accelerator, told.hardware.precision) == ("gpu", "bf16-mixed")
    with planned_for(replace(place, gpu=False)):
        told = for_place(config, place)
        assert (told.hardware.accelerator, told.hardware.threads) == ("cpu", 8)
        with pytest.raises(ConfigError, match="'gpu' was asked for, but Slurm has none"):
            resolve_accelerator("gpu")
    assert resolve_accelerator("auto") == ("gpu" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("processes", "apart", "planned"),
    [
        (None, True, (4, 30.0)),  # a GPU each, for which the least of the four counts
        (2, True, (2, 30.0)),
        (8, True, (4, 30.0)),  # more would wait for a GPU
        (None, False, (1, 40.0)),
        (2, False, (2, 20.0)),  # that share the first
    ],
)
def test_tasks_on_a_machine_with_four_gpus(
    processes: int | None,
    apart: bool,
    planned: tuple[int, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = [40 * 2**30, 30 * 2**30, 80 * 2**30, 80 * 2**30]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (free[number], 80 * 2**30))
    here = place_here(processes, 1, gpu=True, asked=Asked(), apart=apart)
    assert (here.tasks, here.memory_gib) == planned
    said = place_here(processes, 1, gpu=True, asked=Asked(memory_gib=12.0), apart=apart)
    assert (said.tasks, said.memory_gib) == (planned[0], 12.0)
