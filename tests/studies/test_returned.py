"""What sweepers get of jobs that failed; Optuna among them, if nothing finishes."""

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.utils import JobStatus
from omegaconf import DictConfig, OmegaConf

from adapterlab.studies.sweeps.job_returns import Returned
from lab import TINY, Outcome

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_looking_at_a_failed_job_raises_and_writes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = Returned(status=JobStatus.FAILED)
    job.return_value = ValueError("diverged")
    with pytest.raises(ValueError, match="diverged"):
        _ = job.return_value
    assert capsys.readouterr() == ("", "")
    done = Returned(status=JobStatus.COMPLETED)
    done.return_value = 0.5
    assert done.return_value == 0.5


def test_how_a_job_was_composed_is_there_when_somebody_looks() -> None:
    looked = []

    class Job:
        @property
        def composed(self) -> DictConfig:
            looked.append("composed")
            return OmegaConf.create({"seed": 1, "hydra": {"job": {"num": 3}}})

        @property
        def own(self) -> DictConfig:
            return OmegaConf.create({"seed": 1})

    job = Returned(status=JobStatus.COMPLETED)
    job.look_at(Job())
    assert not looked
    sent = pickle.loads(pickle.dumps(job))
    for one in (job, sent):
        assert one.cfg == {"seed": 1}
        assert one.hydra_cfg == {"hydra": {"job": {"num": 3}}}
    assert looked == ["composed"]


@pytest.mark.parametrize(
    ("tolerated", "last"),
    [
        ("0", "error: train/loss is nan in epoch 1; try a lower optimizer.lr than 1e+30, or"),
        ("1", "error: no trial has finished, so there is no best one to name"),
    ],
)
def test_a_sweep_of_optuna_in_which_everything_diverges_ends_in_one_line(
    tolerated: str,
    last: str,
    lab_root: Path,
    run_cli: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Optuna's own would write to what was stderr in the test before.
    monkeypatch.setattr(logging.getLogger("optuna"), "handlers", [])
    options = [option for option in TINY if not option.startswith("optimizer.lr")]
    outcome = run_cli(
        "-m", "hydra/launcher=packed", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=2", f"hydra.sweeper.max_failure_rate={tolerated}", *options,
        "adapter=full", "optimizer=sgd", "optimizer.lr=1e30",
        "optimizer.weight_decay=interval(0.0,0.1)", f"study=diverged-{tolerated}", root=lab_root,
    )  # fmt: skip
    assert outcome.code == 1, outcome
    lines = outcome.err.splitlines()
    assert "Traceback" not in outcome.err
    assert "Error executing job" not in outcome.err
    assert sum(line.startswith("failed: ") for line in lines) == 2
    assert [line for line in lines if line.startswith("error: ")] == [
        line for line in lines[-2:] if line.startswith(last)
    ]
