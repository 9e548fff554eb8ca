"""Studies that are trained and then read: what runs leave by which a study is one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adapterlab.app import cli
from adapterlab.config import conf_folder
from adapterlab.config.schema import TrainedBase
from adapterlab.reporting.reading.study import (
    Replicate,
    Run,
    Status,
    arms_of,
    read_runs,
    same_examples,
)
from adapterlab.runs import single
from adapterlab.runs.identity import arm_hash, config_hash
from adapterlab.tracking.client import connect
from lab import ONE_PROCESS, TINY, Outcome, compose, tiny

QUICK = [option for option in TINY if option.partition("=")[0] not in ("tracking", "epochs")]
QUICK += ["epochs=1", "base=scratch", "report=false"]
QUICK.remove("base.epochs=2")


def runs_of(root: Path, study: str, experiment: str = "adapterlab") -> list[Run]:
    return read_runs(connect(None, root / "mlruns"), study, experiment)


@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_replicates_may_share_their_seed(
    launcher: str, run_cli: Callable[..., Outcome], lab_root: Path, no_pictures: None
) -> None:
    name = f"inits_{launcher}"
    sweep = ["seed=0", "init_seed=0,1,2", "adapter=lora", f"study={name}"]
    options = [*QUICK, "base=trained", f"hydra/launcher={launcher}"]
    outcome = run_cli("-m", *options, *sweep, root=lab_root)
    assert outcome.code == 0, outcome.err
    (arm,) = arms_of(runs_of(lab_root, name))
    assert arm.name == "lora"
    assert arm.replicates == tuple(Replicate(init, 0) for init in range(3))
    assert {run.metrics["data/test_examples"] for run in arm.runs} == {96}
    assert not any(same_examples(arm.first, run) for run in arm.runs)
    assert all(run.test_hash for run in arm.runs)


def test_runs_that_diverge_are_counted(
    run_cli: Callable[..., Outcome], lab_root: Path, no_pictures: None
) -> None:
    """At this rate, the losses of some seeds are no numbers at the end, and those of others are."""
    sweep = ["adapter=full", "optimizer=sgd", "optimizer.lr=1e7", "seed=0,1,2,3,4,5"]
    outcome = run_cli("-m", *QUICK, "epochs=2", *sweep, "study=diverging", root=lab_root)
    assert outcome.code != 0
    (arm,) = arms_of(runs_of(lab_root, "diverging"))
    assert arm.name == "full"
    assert arm.tried == 6
    assert arm.count(Status.DIVERGED) == len(arm.lost) > 0
    assert arm.count(Status.FINISHED) == len(arm.runs) > 0
    assert {run.replicate for run in arm.lost} | set(arm.replicates) == {
        Replicate(seed, seed) for seed in range(6)
    }
    for run in arm.lost:
        assert "is nan in epoch" in run.reason or "is inf in epoch" in run.reason
        assert "try a lower optimizer.lr" in run.reason
        assert "Error" not in run.reason


@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_arms_are_called_what_their_commands_say(
    launcher: str, run_cli: Callable[..., Outcome], lab_root: Path, no_pictures: None
) -> None:
    study = [f"study=growing_{launcher}", *QUICK, f"hydra/launcher={launcher}"]
    study += ONE_PROCESS[launcher]
    grown = [
        (["adapter=lora,head", "seed=0,1"], {"lora", "head"}),
        (["adapter=lora", "adapter.rank=2,4"], {"lora rank=2", "lora rank=4"}),
        # The rate of QUICK is that of the first arm, which keeps its name.
        (["optimizer.lr=3e-3,1e-2", "resume=true"], {"lora optimizer.lr=3e-3"}),
        (
            ["adapter.targets=[layers.0],all-linear", "epochs=2"],
            {"lora targets=[layers.0]"},
        ),
    ]
    known: dict[str, str] = {}
    for arguments, new in grown:
        outcome = run_cli("-m", *study, *arguments, root=lab_root)
        assert outcome.code == 0, outcome.err
        now = {arm.first.arm: arm.name for arm in arms_of(runs_of(lab_root, study[0][6:]))}
        assert {arm: now[arm] for arm in known} == known
        assert {now[arm] for arm in now.keys() - known} == new
        known = now


def test_a_reference_is_named_in_one_pair_of_quotes(
    run_cli: Callable[..., Outcome], lab_root: Path, no_pictures: None
) -> None:
    sweep = ["adapter=lora", "adapter.rank=2,4", "study=named", "tracking.experiment=mine"]
    assert run_cli("-m", *QUICK, *sweep, root=lab_root).code == 0
    asked = ["study=named", "experiment=mine"]
    for reference in ("lora rank=4", "rank=4", "lora-r4-a16", "'lora rank=4'"):
        told = run_cli(*asked, f"reference={reference}", program=cli.report, root=lab_root)
        assert told.code == 0, told.err
        (line,) = [line for line in told.out.splitlines() if "│" in line and "reference" in line]
        assert "lora rank=4" in line
    error = run_cli(*asked, "reference=lora", program=cli.report, root=lab_root).error
    assert error == (
        "reference=lora is 2 arms: lora rank=2, lora rank=4; name one in full, such as "
        "'reference=lora rank=2'"
    )
    error = run_cli(*asked, "reference=123456", program=cli.report, root=lab_root).error
    assert error.startswith("reference=123456 is no arm; allowed: lora rank=2, lora rank=4")


def test_tags_say_what_was_told_and_tested_on(lab_root: Path, no_pictures: None) -> None:
    common = ("tracking=mlflow", "study=tags", "base=scratch", "adapter=head", "epochs=1")
    runs = {}
    for options in (("limit=64",), ("limit=96",), ("limit={train:48,test:64}",)):
        single.run(tiny(lab_root, *common, *options))
    runs = {run.params.get("limit", "each"): run for run in runs_of(lab_root, "tags")}
    assert all("options" not in run.tags for run in runs.values())  # from Python nothing is told
    assert same_examples(runs["64"], runs["each"]) == ""
    assert same_examples(runs["64"], runs["96"]) == "other test examples: 64 and 96"


def test_a_cut_makes_a_replicate(tmp_path: Path) -> None:
    usual = compose(tmp_path)
    for options in (("dataset.validation_seed=7",), ("dataset.validation_seed=3", "seed=2")):
        other = compose(tmp_path, *options)
        assert config_hash(other) != config_hash(usual)
        assert arm_hash(other) == arm_hash(usual)
    # A base that was cut in its own way is another base, unless its cut follows the target's.
    other = compose(tmp_path, "base.source=mnist")
    assert isinstance(other.base, TrainedBase)
    assert other.base.dataset is not None
    cut = replace(other.base.dataset, validation_seed=7)
    recut = replace(other, base=replace(other.base, dataset=cut))
    assert arm_hash(recut) != arm_hash(other)


def test_all_data_sets_ship_the_usual_cut(tmp_path: Path) -> None:
    from adapterlab.runs.identity import USUAL_CUT

    files = sorted((conf_folder.CONF / "dataset").glob("*.yaml"))
    assert len(files) > 10
    for path in files:
        assert f"validation_seed: {USUAL_CUT}\n" in path.read_text(), path.name
