"""What a plan says a study could find: from stored runs where there are any, else from a prior."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.entities import Metric, Param

from adapterlab.evidence.design import StudyDesign, smallest_difference
from adapterlab.studies.planning import power
from adapterlab.studies.planning.power import stored
from adapterlab.tracking.client import connect
from lab import Outcome, compose, tiny

PLAN = ("-m", "dataset=digits_rotated", "base=scratch", "plan=true", "hardware=cpu")
SCORES = {"a": [0.90, 0.92, 0.94], "b": [0.80, 0.81, 0.82, 0.83], "lonely": [0.1]}

Cli = Callable[..., Outcome]


def keep(root: Path, study: str = "earlier", examples: int | None = 50, **tags: str) -> None:
    """Put finished runs of three arms into a new store, as the pipeline would."""
    client = connect(None, root / "mlruns")
    experiment = client.create_experiment("adapterlab", str(root / "artifacts"))
    for arm, scores in SCORES.items():
        for seed, score in enumerate(scores):
            given = {"kind": "run", "dataset": "digits_rotated", "model": "mlp", "study": study,
                     "arm": arm}  # fmt: skip
            run = client.create_run(experiment, tags=given | tags).info.run_id
            client.log_batch(
                run, [Metric("test/accuracy", score, 0, 0)], [Param("init_seed", str(seed))]
            )
            if examples is not None:
                path = root / "predictions.parquet"
                pq.write_table(pa.table({"label": np.zeros(examples, int)}), path)
                client.log_artifact(run, str(path), "predictions")
            client.set_terminated(run)


def line(outcome: Outcome) -> str:
    """The one line on what could be found."""
    assert outcome.code == 0, outcome
    (said,) = (one for one in outcome.out.splitlines() if " seeds would find " in one)
    return said


@pytest.mark.parametrize("launcher", ["packed", "basic"])
def test_without_a_store_a_prior_is_stated(run_cli: Cli, tmp_path: Path, launcher: str) -> None:
    outcome = run_cli(
        *PLAN, "adapter=full,head", "seed=0,1,2", f"hydra/launcher={launcher}", "study=p"
    )
    said = line(outcome)
    assert said.startswith("2 arms x 3 seeds would find a difference of ")
    assert "seeds' standard deviation 0.5 points, accuracy 85%, 360 test examples" in said
    assert "assumed: deviation, accuracy (no stored runs of this data set and model tell)" in said
    assert "warning: 2 arms x 3 seeds leave differences below " in outcome.err
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()


def test_stored_runs_tell_what_to_expect(run_cli: Cli, tmp_path: Path) -> None:
    keep(tmp_path)
    said = line(run_cli(*PLAN, "adapter=full,head", "seed=0,1,2", "hydra/launcher=packed"))
    spare = sum(float(np.var(s, ddof=1)) * (len(s) - 1) for s in SCORES.values() if len(s) > 1)
    deviation = (spare / 5) ** 0.5
    design = StudyDesign(2, 3, deviation, examples=50, accuracy=(0.92 + 0.815) / 2)
    smallest = smallest_difference(design, draws=1000)
    assert smallest is not None
    assert f"a difference of {100 * smallest:.2g} points" in said
    assert f"standard deviation {100 * deviation:.2g} points, accuracy 86.8%, 50 test ex" in said
    assert "deviation and accuracy as seen in study earlier)" in said
    assert "assumed" not in said


@pytest.mark.parametrize("tags", [{"dataset": "digits"}, {"model": "bert"}, {"kind": "base"}])
def test_other_runs_tell_nothing(tmp_path: Path, tags: dict[str, str]) -> None:
    keep(tmp_path, **tags)
    assert stored(compose(tmp_path, "dataset=digits_rotated", "base=scratch")) is None


def test_the_size_of_a_limited_test_split_is_not_that_of_all(tmp_path: Path) -> None:
    keep(tmp_path)
    limited = compose(tmp_path, "dataset=digits_rotated", "base=scratch", "limit={test: 20}")
    seen = stored(limited)
    assert seen is not None
    assert seen.examples is None


def test_nothing_is_read_where_nothing_is_tracked(tmp_path: Path) -> None:
    keep(tmp_path)
    off = compose(tmp_path, "dataset=digits_rotated", "base=scratch", "tracking=none")
    assert stored(off) is None


def test_two_seeds_can_tell_nothing_apart(run_cli: Cli) -> None:
    outcome = run_cli(*PLAN, "adapter=full,head", "seed=0,1", "hydra/launcher=packed")
    assert "2 arms x 2 seeds can tell no arms apart: a test takes 3 seeds an arm" in outcome.out


def test_one_arm_is_compared_with_nothing(run_cli: Cli) -> None:
    outcome = run_cli(*PLAN, "seed=0,1,2", "hydra/launcher=packed")
    assert outcome.code == 0
    assert " seeds" not in outcome.out + outcome.err


def test_each_data_set_has_its_line(run_cli: Cli) -> None:
    outcome = run_cli(
        *PLAN, "dataset=digits,digits_rotated", "adapter=full,head", "seed=0,1",
        "hydra/launcher=packed",
    )  # fmt: skip
    for name in ("digits", "digits_rotated"):
        assert f"{name}, mlp: 2 arms x 2 seeds can tell no arms apart" in outcome.out


def test_a_sweeper_plans_more_than_its_first_runs(run_cli: Cli) -> None:
    tuned = run_cli(
        *PLAN, "hydra/sweeper=tuned", "hydra.sweeper.arms=['adapter=full','adapter=head']",
        "hydra.sweeper.tune={optimizer.lr:[0.1,0.2,0.3]}", "hydra.sweeper.seeds=[0,1,2,3]",
        "hydra/launcher=packed", "study=p",
    )  # fmt: skip
    assert line(tuned).startswith("2 arms x 4 seeds would find")
    sequential = run_cli(
        *PLAN, "hydra/sweeper=sequential", "adapter=full,head", "hydra.sweeper.looks=[3,7]",
        "hydra/launcher=packed", "study=p",
    )  # fmt: skip
    assert line(sequential).startswith("2 arms x 7 seeds would find")


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_other_tasks_have_no_forecast_and_it_is_said(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ("dataset=text_files", "dataset.loader.path=there", f"task={task}", "model=bert_tiny")
    power.planned += [tiny(tmp_path, *texts, "base=scratch", f"seed={seed}") for seed in (0, 1)]
    power.announced.append((2, 3))
    power.foresee()
    assert capsys.readouterr().out == (
        f"task={task}: which difference would be found is foreseen of accuracy only\n"
    )
