"""Comparisons whose arms are tuned alike: what is tried, what is chosen, what is run with it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from mlflow import MlflowClient

from adapterlab.console import print_tuning
from adapterlab.errors import ConfigError
from adapterlab.studies.tuning import Design, Score, best, score
from adapterlab.tracking import default_uri
from lab import TINY, Outcome

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = tuple(o for o in TINY if o != "tracking=none" and not o.startswith("optimizer.lr"))
TUNED = ("-m", "hydra/sweeper=tuned")
FULL = "adapter=full optimizer=sgd"


def sweeper(*arms: str, tune: str, seeds: str = "[0,1]") -> list[str]:
    return [
        *TUNED,
        f"hydra.sweeper.arms={json.dumps(arms)}",
        f"hydra.sweeper.tune={tune}",
        f"hydra.sweeper.seeds={seeds}",
    ]


def runs(root: Path, study: str) -> list[Any]:
    client = MlflowClient(default_uri(root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    return list(client.search_runs([experiment], f"tags.study = '{study}' and tags.kind = 'run'"))


@pytest.mark.parametrize(
    ("scores", "largest", "smallest"),
    [
        ([0.1, 0.3, 0.2], 1, 0),
        ([0.2, 0.3, 0.3], 1, 0),
        ([0.1, 0.1, 0.1], 0, 0),
        ([None, 0.0, None], 1, 1),
        ([None, -2.0, -1.0], 2, 1),
        ([None, None], None, None),
    ],
)
def test_the_best_is_the_first_of_equals_and_never_a_failure(
    scores: list[Score], largest: int | None, smallest: int | None
) -> None:
    assert best(scores, minimize=False) == largest
    assert best(scores, minimize=True) == smallest


@pytest.mark.parametrize(
    ("values", "mean"),
    [([0.25, 0.75], 0.5), ([0.25, ValueError("diverged")], None), ([0.25, float("nan")], None)],
)
def test_a_setting_is_as_good_as_the_mean_of_its_seeds(
    values: list[Any], mean: float | None
) -> None:
    returned = []
    for value in values:
        failed = isinstance(value, Exception)
        job = JobReturn(status=JobStatus.FAILED if failed else JobStatus.COMPLETED)
        job.return_value = value
        returned.append(job)
    assert score(returned) == mean


def test_every_arm_tries_every_setting_from_the_smallest_on() -> None:
    tune = {"optimizer.lr": [0.1, 0.001, 0.01], "optimizer.schedule": ["linear", "cosine"]}
    design = Design.of(["adapter=head"], tune, [1000, 1001], [0])
    assert design.trials == 12
    assert [tuple(setting.values()) for setting in design.settings] == [
        (0.001, "linear"), (0.001, "cosine"), (0.01, "linear"),
        (0.01, "cosine"), (0.1, "linear"), (0.1, "cosine"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.001, ["smallest", "smaller"]), (0.01, []), (0.1, ["largest", "larger"])],
)
def test_the_best_at_an_edge_is_said(value: float, said: list[str]) -> None:
    tune = {"optimizer.lr": [0.001, 0.01, 0.1], "optimizer.schedule": ["linear", "cosine"]}
    design = Design.of(["adapter=head"], tune, [0], [0])
    lines = list(design.edges({"optimizer.lr": value, "optimizer.schedule": "linear"}))
    assert lines == (
        [f"the best optimizer.lr={value} is the {said[0]} that was tried; try {said[1]} ones too"]
        if said
        else []
    )
    alone = Design.of(["adapter=head"], {"optimizer.lr": [value]}, [0], [0])
    assert list(alone.edges({"optimizer.lr": value})) == []


@pytest.mark.parametrize(
    ("arms", "tune", "seeds", "message"),
    [
        ([], {"optimizer.lr": [1]}, [0], "hydra.sweeper.arms is empty"),
        (["adapter=head"], {}, [0], "hydra.sweeper.tune is empty"),
        (["adapter=head"], {"optimizer.lr": 1}, [0], "optimizer.lr=1 should be a list of values"),
        (["adapter=head"], {"optimizer.lr": []}, [0], "should be a list of values"),
        (["adapter=head"], {"optimizer.lr": [1]}, [0, 0], r"seeds=\[0, 0\] should be different"),
        (["adapter=head"], {"optimizer.lr": [1]}, [], r"seeds=\[\] should be different"),
        (["adapter=head"], {"optimizer.lr": [1]}, [-1], r"seeds=\[-1\] should be different"),
    ],
)
def test_what_is_no_comparison(
    arms: list[str], tune: dict[str, Any], seeds: list[int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Design.of(arms, tune, [1000], seeds)


@pytest.mark.parametrize(
    ("options", "arm", "message"),
    [
        (["seed=0,1"], "adapter=head", "seed=0,1: with hydra/sweeper=tuned what varies is in"),
        (["epochs=1,2"], "adapter=head", "epochs=1,2: with hydra/sweeper=tuned what varies"),
        (["seed=3"], "adapter=head", "seed=3: seed comes from hydra.sweeper.seeds"),
        (["optimizer.lr=1"], "adapter=head", "optimizer.lr comes from hydra.sweeper.tune"),
        (["adapter.rank=3"], "adapter=head", "adapter.rank=3: no arm has this option"),
        ([], "adapter=head,lora", "adapter=head,lora: with hydra/sweeper=tuned what varies is in"),
        ([], "adapter=head seed=1", "hydra.sweeper.arms: seed=1 is the same for all arms"),
        ([], "adapter=head select_on=loss", "select_on=loss is the same for all arms"),
        ([], "adapter=hedd", "adapter=hedd does not exist; allowed: bitfit"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(
    options: list[str], arm: str, message: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    outcome = run_cli(*sweeper(arm, tune="{optimizer.lr:[0.1]}"), *options)
    assert message in outcome.error
    assert not (tmp_path / "mlruns" / "runs").exists()


@pytest.mark.parametrize(
    ("launcher", "metric"), [("basic", "loss"), ("packed", "accuracy"), ("joblib", "accuracy")]
)
def test_each_arm_is_run_with_what_validation_prefers(
    launcher: str, metric: str, lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    study = f"tuned-{launcher}"
    rates = [1e-4, 1e-2, 1e-1]
    command = [
        *sweeper("adapter=head", "adapter=full base=scratch", tune=f"{{optimizer.lr:{rates}}}"),
        *(f"hydra/launcher={launcher}", *OPTIONS, f"study={study}", f"select_on={metric}"),
    ]
    outcome = run_cli(*command, root=lab_root)
    assert outcome.code == 0, outcome
    assert "base.epochs=2 does not apply to adapter=full base=scratch" in outcome.err
    assert f"tuning: 6 runs in study {study}-tuning" in outcome.err
    assert re.findall(r"Study (\S+)", outcome.out) == [study]  # the tuning has no report

    tuned, compared = runs(lab_root, f"{study}-tuning"), runs(lab_root, study)
    assert {run.data.params["seed"] for run in tuned} == {"1000"}
    for strategy in ("head", "full"):
        values = {
            float(run.data.params["optimizer.lr"]): run.data.metrics[f"best/val_{metric}"]
            for run in tuned
            if run.data.tags["strategy"] == strategy
        }
        assert sorted(values) == rates
        choose = min if metric == "loss" else max
        preferred = choose(rates, key=lambda rate: values[rate])
        own = [run for run in compared if run.data.tags["strategy"] == strategy]
        assert sorted(run.data.tags["seed"] for run in own) == ["0", "1"]
        for run in own:
            assert float(run.data.params["optimizer.lr"]) == preferred
            tags = {k: v for k, v in run.data.tags.items() if k.startswith("tuned.")}
            assert tags == {
                "tuned.study": f"{study}-tuning",
                "tuned.trials": "3",
                "tuned.optimizer.lr": str(preferred),
            }
        written = "{:.4f}" if metric == "loss" else "{:.2%}"
        row = next(line for line in outcome.out.splitlines() if f"│ adapter={strategy}" in line)
        cells = [cell.strip() for cell in row.strip("│").split("│")]
        assert cells[1:] == [*(written.format(values[rate]) for rate in rates), str(preferred)]
        at_edge = f"the best optimizer.lr={preferred} is the" in outcome.err
        assert at_edge == (preferred in (rates[0], rates[-1]))

    again = run_cli(*command, "resume=true", root=lab_root)
    assert again.code == 0, again
    ids = {run.info.run_id for run in (*tuned, *compared)}
    both = [*runs(lab_root, f"{study}-tuning"), *runs(lab_root, study)]
    assert {run.info.run_id for run in both} == ids
    if launcher == "packed":
        assert "6 runs had finished" in again.err
        assert "4 runs had finished" in again.err


def test_a_run_that_was_tuned_is_the_run_of_its_options(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    """How an option was chosen changes neither the run nor its arm."""
    options = [*OPTIONS, "tracking=none"]
    command = sweeper("adapter=head", tune="{optimizer.lr:[0.1]}", seeds="[0]")
    for study in (f"study={name}" for name in ("chosen", "given")):
        if "chosen" in study:
            run_cli(*command, *options, study, root=lab_root)
        else:
            run_cli("adapter=head", "optimizer.lr=0.1", *options, study, root=lab_root)
    names = [
        [p.name for p in (lab_root / "mlruns/runs" / s).iterdir()] for s in ("chosen", "given")
    ]
    assert len(names[0]) == 1
    assert names[0] == names[1]


@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_what_diverges_is_worst_and_an_arm_of_nothing_else_is_left_out(
    launcher: str, lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    study = f"half-{launcher}"
    command = [
        *OPTIONS,
        f"hydra/launcher={launcher}",
        f"study={study}",
        "hydra.launcher.processes=1",
    ]
    if launcher == "basic":
        command.pop()
    outcome = run_cli(
        *sweeper(FULL, tune="{optimizer.lr:[0.1,1e30]}", seeds="[0]"), *command, root=lab_root
    )
    assert outcome.code == 0, outcome
    assert outcome.err.count("failed: ") == 1
    row = next(line for line in outcome.out.splitlines() if FULL in line)
    assert re.search(r"\d%.*failed.* 0\.1 ", row)

    both = sweeper(
        f"{FULL} optimizer.lr=1e30", f"{FULL} optimizer.lr=0.1",
        tune="{optimizer.weight_decay:[0,0.1]}", seeds="[0]",
    )  # fmt: skip
    outcome = run_cli(*both, *command[:-1], f"study={study}-lost", root=lab_root)
    assert outcome.code == 1, outcome
    assert outcome.err.splitlines()[-1] == (
        "error: all 2 tuning runs failed, so nothing was chosen and compared, for: "
        f"{FULL} optimizer.lr=1e30"
    )
    (run,) = runs(lab_root, f"{study}-lost")
    assert run.data.params["optimizer.lr"] == "0.1"
    assert f"Study {study}-lost" in outcome.out
    assert "Traceback" not in outcome.err


def test_a_plan_says_both_stages(tmp_path: Path, run_cli: Callable[..., Outcome]) -> None:
    arms = sweeper("adapter=head", "adapter=lora adapter.rank=2", tune="{optimizer.lr:[0.1,0.2]}")
    for launcher, part in (("packed", "What is trained together"), ("basic", "lora-r2-a16")):
        outcome = run_cli(*arms, *OPTIONS, f"hydra/launcher={launcher}", "plan=true", "study=p")
        assert outcome.code == 0, outcome
        assert "tuning: 4 runs in study p-tuning" in outcome.err
        assert "then: 2 arms x 2 seeds in study p" in outcome.err
        assert part in outcome.out
    assert not (tmp_path / "mlruns" / "runs").exists()


def test_several_options_share_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    settings = [{"optimizer.lr": lr, "epochs": n} for lr in (0.1, 0.2) for n in (1, 2)]
    print_tuning(["adapter=head"], settings, [[1.5, None, 1.25, 2.0]], [2], "loss")
    out = capsys.readouterr().out
    assert "Validation loss by optimizer.lr, epochs" in out
    assert re.search(r"0\.1, 1 .* 0\.1, 2 .* 0\.2, 1 .* 0\.2, 2 .*chosen", out)
    assert re.search(r"adapter=head .*1\.5000 .*failed .*1\.2500 .*2\.0000 .*0\.2, 1", out)
