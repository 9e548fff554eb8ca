from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import ConfigError
from adapterlab.studies.sweeps.union import jobs_of
from adapterlab.tracking.stores.uris import default_uri
from lab import TINY, Outcome

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = tuple(o for o in TINY if o != "tracking=none")


def test_sweeps_come_one_after_the_other_each_with_all_of_the_command_line() -> None:
    jobs = jobs_of(["init_seed=range(0,2)", "order_seed=1 epochs=3,4"], ["adapter=lora,head"])
    assert jobs == [
        ["adapter=lora", "init_seed=0"],
        ["adapter=lora", "init_seed=1"],
        ["adapter=head", "init_seed=0"],
        ["adapter=head", "init_seed=1"],
        ["adapter=lora", "order_seed=1", "epochs=3"],
        ["adapter=lora", "order_seed=1", "epochs=4"],
        ["adapter=head", "order_seed=1", "epochs=3"],
        ["adapter=head", "order_seed=1", "epochs=4"],
    ]


def test_an_empty_sweep_is_the_point_that_all_share() -> None:
    assert jobs_of(["", "seed=1"], ["epochs=2"]) == [["epochs=2"], ["epochs=2", "seed=1"]]


@pytest.mark.parametrize(
    ("sweeps", "arguments", "message"),
    [
        ([], [], "hydra.sweeper.sweeps is empty; such as"),
        (["seed=1", "study='a"], [], "study='a has a quote without end"),
        (["seed=1,2"], ["seed=3"], "seed=3: seed comes from hydra.sweeper.sweeps, in seed=1,2"),
    ],
)
def test_what_is_no_union(sweeps: list[str], arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        jobs_of(sweeps, arguments)


def test_all_sweeps_are_one_study(tmp_path: Path, run_cli: Callable[..., Outcome]) -> None:
    sweeps = 'hydra.sweeper.sweeps=["seed=0,1","optimizer.lr=0.02"]'
    options = [o for o in OPTIONS if not o.startswith("optimizer.lr")]
    outcome = run_cli("-m", "hydra/sweeper=union", sweeps, *options)
    assert outcome.code == 0, outcome
    client = MlflowClient(default_uri(tmp_path / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    runs = client.search_runs([experiment], "tags.kind = 'run'")
    drawn = {(run.data.params["seed"], run.data.params["optimizer.lr"]) for run in runs}
    assert len(runs) == len(drawn) == 3
    assert len({run.data.tags["study"] for run in runs}) == 1
