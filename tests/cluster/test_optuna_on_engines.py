"""Optuna's sweeper over packs that every engine carries out: it gets the same values from each.

Engines are started for it, one batch of trials after the other, so `make cluster-test` runs it.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml

from adapterlab.studies.engines import KINDS
from cluster_lab import Cluster
from engine_lab import metrics_of

pytestmark = pytest.mark.cluster

SWEEP = (
    "-m", "hydra/launcher=packed", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4",
    "hydra.sweeper.n_jobs=2", "hydra.sweeper.direction=maximize", "hydra.sweeper.sampler.seed=1",
    "adapter=lora", "adapter.rank=choice(1,2,4,8)", "optimizer.lr=tag(log, interval(1e-4, 1e-2))",
    "dataset=digits_rotated", "base=scratch", "limit=96", "epochs=3", "hardware=cpu",
    "hardware.threads=1", "hardware.precision=64-true", "baseline=never", "figures=never",
    "report=false",
)  # fmt: skip

Found = tuple[dict[str, dict[str, float]], object]


def swept(root: Path, *options: str, variables: Mapping[str, str] = MappingProxyType({})) -> Found:
    """Sweep; return the metrics of all runs, and what Optuna found the best."""
    study = Cluster(root, "swept", dict(variables), SWEEP)
    command = study.start(*options)
    said, _ = command.communicate(timeout=600)
    assert command.returncode == 0, said
    assert said.count("a pack of 2: ") == 2
    assert {run.info.status for run in study.logged()} == {"FINISHED"}
    (written,) = (root / "mlruns" / "sweeps").rglob("optimization_results.yaml")
    return metrics_of(root, "swept"), yaml.safe_load(written.read_text())


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return swept(tmp_path_factory.mktemp("local"), "hydra.launcher.processes=1")


@pytest.mark.parametrize("engine", [engine for engine in KINDS if engine != "local"])
def test_optuna_gets_the_same_values(engine: str, tmp_path: Path, reference: Found) -> None:
    if (package := KINDS[engine].package) and find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install '.[{KINDS[engine].extra}]'")
    here = ("hydra.launcher.cluster=local",) if engine == "submitit" else ()
    chosen = (f"hydra.launcher.engine={engine}", "hydra.launcher.processes=2", *here)
    require_same(swept(tmp_path, *chosen), reference)


def test_and_from_slurm(slurm: dict[str, str], tmp_path: Path, reference: Found) -> None:
    found = swept(tmp_path, "hydra.launcher.engine=submitit", variables=slurm)
    require_same(found, reference)


def require_same(swept: Found, reference: Found) -> None:
    found, best = swept
    assert len(found) == 4
    assert found.keys() == reference[0].keys()
    for name, metrics in reference[0].items():
        assert found[name] == pytest.approx(metrics, rel=1e-8, abs=1e-10)
    assert best == reference[1]
