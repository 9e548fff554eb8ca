"""Comparisons whose arms are tuned alike: what is tried, what is chosen, what is run with it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from mlflow import MlflowClient

from adapterlab.app.console import print_tuning
from adapterlab.studies.tuning.study import Tried
from adapterlab.tracking.stores.uris import default_uri
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
    tried = Tried(tuple(returned))
    assert tried.score == mean
    assert (tried.reason is None) == (mean is not None)


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
        ([], "adapter=hedd", "adapter=hedd does not exist; allowed: adalora, bitfit"),
        ([], 'adapter=lora label="x', 'arms: adapter=lora label="x: a quote is not closed'),
        ([], "adapter", "hydra.sweeper.arms: adapter: adapter is not of the form option=value"),
        (["hydra.sweeper.seeds=[a]"], "adapter=head", "hydra.sweeper.seeds=['a'] should be diff"),
        (["hydra.sweeper.tuning_seeds=3"], "adapter=head", "tuning_seeds=3 should be different"),
        (["hydra.sweeper.tune=3"], "adapter=head", "hydra.sweeper.tune=3 should be lists of val"),
        (["hydra.sweeper.arms=x"], "adapter=head", "hydra.sweeper.arms=x should be a list of arm"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(
    options: list[str], arm: str, message: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    given = {option.partition("=")[0] for option in options}
    command = sweeper(arm, tune="{optimizer.lr:[0.1]}")
    kept = [option for option in command if option.partition("=")[0] not in given]
    outcome = run_cli(*kept, *options)
    assert message in outcome.error
    assert not (tmp_path / "mlruns" / "runs").exists()


@pytest.mark.parametrize(
    ("arms", "tune", "message"),
    [
        (
            ("adapter=lora", "adapter=full"),
            "{adapter.rank:[1,2]}",
            "hydra.sweeper.tune: the arm adapter=full has no option adapter.rank; leave the arm "
            "out, or tune what all arms have",
        ),
        (
            ("adapter=lora", "adapter=lora adapter.rank=8"),
            "{optimizer.lr:[0.1]}",
            "hydra.sweeper.arms: adapter=lora and adapter=lora adapter.rank=8 are the same runs; "
            "leave one out",
        ),
    ],
)
def test_arms_differ_and_have_what_is_tuned(
    arms: tuple[str, ...], tune: str, message: str, run_cli: Callable[..., Outcome]
) -> None:
    assert run_cli(*sweeper(*arms, tune=tune)).error == message


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
    assert {run.data.tags["trial.arm"] for run in tuned} == {
        "adapter=head",
        "adapter=full base=scratch",
    }
    assert len({run.data.tags["trial.grid"] for run in (*tuned,)}) == 1
    for run in tuned:
        assert run.data.tags["trial.optimizer.lr"] == run.data.params["optimizer.lr"]
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
            assert len(tags.pop("tuned.key")) == 12
            assert len(tags.pop("tuned.grid")) == 8
            assert tags.pop("tuned.at")
            edge = {
                rates[0]: f"optimizer.lr={rates[0]} is the smallest that was tried",
                rates[-1]: f"optimizer.lr={rates[-1]} is the largest that was tried",
            }.get(preferred)
            assert tags.pop("tuned.edge", None) == edge
            assert tags == {
                "tuned.arm": "adapter=full base=scratch" if strategy == "full" else "adapter=head",
                "tuned.study": f"{study}-tuning",
                "tuned.trials": "3",
                "tuned.seeds": "1",
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
        f"{FULL} optimizer.lr=1e30 (train/loss is nan in epoch 1; try a lower optimizer.lr than "
        "1e+30, or optimizer.clip_norm)"
    )
    lost = [r for r in runs(lab_root, f"{study}-lost-tuning") if r.info.status == "FAILED"]
    assert {r.data.tags["trial.arm"] for r in lost} == {f"{FULL} optimizer.lr=1e30"}
    assert {r.data.tags["trial.optimizer.weight_decay"] for r in lost} == {"0", "0.1"}
    (run,) = runs(lab_root, f"{study}-lost")
    assert run.data.params["optimizer.lr"] == "0.1"
    assert f"Study {study}-lost" in outcome.out
    assert "Traceback" not in outcome.err


def test_a_grid_that_changed_marks_what_it_replaces(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    def carry_out(rates: str) -> dict[float, dict[str, str]]:
        command = sweeper("adapter=head", tune=f"{{optimizer.lr:{rates}}}", seeds="[0]")
        options = ("hydra/launcher=packed", "study=regrid", "resume=true", "report=false")
        outcome = run_cli(*command, *OPTIONS, *options, root=lab_root)
        assert outcome.code == 0, outcome
        found = runs(lab_root, "regrid")
        return {float(run.data.params["optimizer.lr"]): run.data.tags for run in found}

    first = carry_out("[1e-6]")
    assert "tuned.superseded" not in first[1e-6]
    second = carry_out("[1e-6,1e-1]")
    assert second[1e-6]["tuned.superseded"] == "optimizer.lr=0.1"
    assert second[1e-6]["tuned.grid"] == first[1e-6]["tuned.grid"]
    assert "tuned.superseded" not in second[1e-1]
    assert second[1e-1]["tuned.trials"] == "2"
    third = carry_out("[1e-6]")  # chosen again, without being trained again
    assert "tuned.superseded" not in third[1e-6]
    assert third[1e-1]["tuned.superseded"] == "optimizer.lr=1e-06"
    assert third[1e-6]["tuned.at"] > second[1e-1]["tuned.at"]


def test_several_tuning_seeds_show_their_noise(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    command = sweeper("adapter=head", tune="{optimizer.lr:[0.01,0.0101]}", seeds="[0]")
    seeds = "hydra.sweeper.tuning_seeds=[1000,1001,1002]"
    outcome = run_cli(*command, seeds, *OPTIONS, "hydra/launcher=packed", "tracking=none")
    assert outcome.code == 0, outcome
    assert "Validation accuracy by optimizer.lr" in outcome.out  # not by "auto"
    assert "±: standard deviation over the tuning seeds" in outcome.out.splitlines()
    assert re.search(r"adapter=head +│ +\d+\.\d\d% ± \d+\.\d\d │", outcome.out)
    # With rates so near, all seeds agree to the last example.
    ahead = r"adapter=head: 0\.01 does no better than 0\.0101; the standard error of that over"
    assert re.search(ahead, outcome.out)


def test_what_cannot_go_lower_is_at_no_edge(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    tune = "{adapter.rank:[1,2],optimizer.weight_decay:[0,1e-9]}"
    command = sweeper("adapter=lora optimizer.lr=1e-9", tune=tune, seeds="[0]")
    outcome = run_cli(*command, *OPTIONS, "hydra/launcher=packed", "tracking=none", "study=edge")
    assert outcome.code == 0, outcome
    row = next(line for line in outcome.out.splitlines() if "│ adapter=lora" in line)
    assert row.split("│")[-2].strip() == "1, 0", row  # all are equal, the first is chosen
    assert "that was tried" not in outcome.err


def test_a_plan_says_both_stages(tmp_path: Path, run_cli: Callable[..., Outcome]) -> None:
    arms = sweeper("adapter=head", "adapter=lora adapter.rank=2", tune="{optimizer.lr:[0.1,0.2]}")
    for launcher, part in (("packed", "What is trained together"), ("basic", "lora-r2-a16")):
        outcome = run_cli(*arms, *OPTIONS, f"hydra/launcher={launcher}", "plan=true", "study=p")
        assert outcome.code == 0, outcome
        assert "tuning: 4 runs in study p-tuning" in outcome.err
        assert "then: 2 arms x 2 seeds in study p" in outcome.err
        assert part in outcome.out
    assert not (tmp_path / "mlruns" / "runs").exists()


def test_the_noise_of_a_loss_is_written_as_losses_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = [{"optimizer.lr": lr} for lr in (0.1, 0.2)]
    print_tuning(
        ["adapter=head"], settings, [[1.5, 1.25]], [1], "loss",
        spreads=[[0.5, 0.25]], close=[[(0, 0.25, 0.375)]],
    )  # fmt: skip
    out = capsys.readouterr().out
    assert re.search(r"1\.5000 ± 0\.5000 .*1\.2500 ± 0\.2500 .* 0\.2 ", out)
    assert out.splitlines()[-1] == (
        "adapter=head: 0.2 is ahead of 0.1 by 0.2500; the standard error of that over tuning "
        "seeds is 0.3750"
    )


def test_several_options_share_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    settings = [{"optimizer.lr": lr, "epochs": n} for lr in (0.1, 0.2) for n in (1, 2)]
    print_tuning(["adapter=head"], settings, [[1.5, None, 1.25, 2.0]], [2], "loss")
    out = capsys.readouterr().out
    assert "Validation loss by optimizer.lr, epochs" in out
    assert re.search(r"0\.1, 1 .* 0\.1, 2 .* 0\.2, 1 .* 0\.2, 2 .*chosen", out)
    assert re.search(r"adapter=head .*1\.5000 .*failed .*1\.2500 .*2\.0000 .*0\.2, 1", out)
