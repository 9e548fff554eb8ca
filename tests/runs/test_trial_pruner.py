"""Trials that are stopped early: by Optuna's own rules, by what rivals have reached, for good."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from adapterlab.base.errors import ConfigError, TrialPrunedError
from adapterlab.config.bookkeeping import Rule, TrialPruner
from adapterlab.runs.trial_pruner import Rivals, Standpoint, TrialJudge, make_pruner
from adapterlab.training.training_state import UNSETTLED, TrainingState
from lab import tiny

CURVES = {
    "a": [0.50, 0.60, 0.70, 0.80],
    "b": [0.30, 0.40, 0.50, 0.60],
    "c": [0.55, 0.61, 0.72, 0.79],
    "d": [0.20, 0.25, 0.90, 0.95],
    "e": [0.52, 0.58, 0.69, 0.70],
    "f": [0.10, 0.11, 0.12, 0.13],
}


def rivals(folder: Path, rule: Rule, **options: object) -> Rivals:
    asked = TrialPruner(rule=rule, among="arm", options=dict(options))
    return Rivals(folder / "arm.jsonl", asked, "accuracy", "data")


def at(run: str, epoch: int, curves: Mapping[str, list[float]] = CURVES) -> Standpoint:
    values = dict(enumerate(curves[run][:epoch], 1))
    return Standpoint(run, values, over=epoch == len(curves[run]))


def by_optuna(pruner: optuna.pruners.BasePruner, sign: float = 1.0) -> dict[str, int]:
    """Return when Optuna itself stops each trial, one trial after the other."""
    study = optuna.create_study(direction="maximize" if sign > 0 else "minimize", pruner=pruner)
    stopped = {}
    for run, curve in CURVES.items():
        trial = study.ask()
        for epoch, value in enumerate(curve, 1):
            trial.report(sign * value, epoch)
            if trial.should_prune() and epoch < len(curve):
                stopped[run] = epoch
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, sign * curve[-1])
    return stopped


@pytest.mark.parametrize(
    ("rule", "options", "pruner"),
    [
        ("median", {"n_startup_trials": 2}, optuna.pruners.MedianPruner(n_startup_trials=2)),
        (
            "median",
            {"n_startup_trials": 1, "n_warmup_steps": 3},
            optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=3),
        ),
        (
            "successive_halving",
            {"reduction_factor": 2},
            optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        ),
    ],
)
def test_one_after_the_other_is_stopped_as_by_optuna(
    rule: Rule, options: dict[str, object], pruner: optuna.pruners.BasePruner, tmp_path: Path
) -> None:
    own = rivals(tmp_path, rule, **options)
    stopped: dict[str, int] = {}
    for run, curve in CURVES.items():
        for epoch in range(1, len(curve) + 1):
            if run not in stopped:
                stopped |= own.judge([at(run, epoch)])
    assert stopped == by_optuna(pruner)
    assert stopped
    assert len(stopped) < len(CURVES)


def test_of_those_that_come_to_a_rung_together_the_best_goes_on(tmp_path: Path) -> None:
    """Whatever the order of the lanes; the least is best of a loss."""
    for number, order in enumerate((list(CURVES), list(reversed(CURVES)))):
        own = rivals(tmp_path / str(number), "successive_halving")
        stopped = own.judge([at(run, 1) for run in order])
        assert set(CURVES) - set(stopped) == {"c"}
    asked = TrialPruner(rule="successive_halving", among="arm")
    loss = Rivals(tmp_path / "loss.jsonl", asked, "loss", "data")
    assert set(CURVES) - set(loss.judge([at(run, 1) for run in CURVES])) == {"f"}
    assert loss.value("f") == 0.10


def test_another_process_judges_by_all_that_was_written_before(tmp_path: Path) -> None:
    """Two processes, and one that comes later, decide as one would have."""
    whole = rivals(tmp_path / "one", "median", n_startup_trials=2)
    two = [rivals(tmp_path / "two", "median", n_startup_trials=2) for _ in range(2)]
    for epoch in range(1, 5):
        for number, run in enumerate(CURVES):
            if run not in whole.stopped:
                expected = whole.judge([at(run, epoch)])
                assert two[number % 2].judge([at(run, epoch)]) == expected
    later = rivals(tmp_path / "two", "median", n_startup_trials=2)
    assert later.known() == whole.known()
    assert {run: later.value(run) for run in later.known()} == {
        run: max(CURVES[run][:epoch]) for run, epoch in whole.known().items()
    }


def test_a_judge_that_was_killed_while_it_wrote_is_gone_on_from(tmp_path: Path) -> None:
    """Half a line is dropped; an epoch that was judged is not judged again."""
    first = rivals(tmp_path, "successive_halving")
    stopped = first.judge([at(run, 1) for run in "abcd"])
    journal = tmp_path / "arm.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"run": "e", "ep')
    again = rivals(tmp_path, "successive_halving")
    assert again.judge([at(run, 1) for run in "abcd"]) == stopped
    assert journal.read_bytes() == whole
    again.judge([at("e", 1)])
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["run"] for line in lines[1:]] == ["c", "a", "b", "d", "e"]
    assert lines[0]["rule"] == "successive_halving"


def test_a_run_that_goes_on_from_elsewhere_brings_its_epochs_along(tmp_path: Path) -> None:
    own = rivals(tmp_path, "median", n_startup_trials=1)
    own.judge([at("c", 4)])
    assert own.judge([at("b", 3)]) == {"b": 1}  # it would have been stopped after the first
    assert own.judge([at("a", 4)]) == {"a": 1}


def test_another_rule_begins_anew(tmp_path: Path) -> None:
    rivals(tmp_path, "successive_halving").judge([at(run, 1) for run in CURVES])
    assert rivals(tmp_path, "successive_halving").known()
    assert not rivals(tmp_path, "median").known()
    assert not rivals(tmp_path, "median", n_startup_trials=1).known()


def test_what_has_failed_is_no_rival_and_what_has_ended_is_not_stopped(tmp_path: Path) -> None:
    own = rivals(tmp_path, "median", n_startup_trials=1)
    own.judge([at("d", 1)])
    own.fail("d")
    own.fail("d")
    assert own.judge([at("f", 4)]) == {}
    assert own.judge([at("f", 4)]) == {}
    assert own.judge([at("b", 1)]) == {}  # above the only one that has ended
    assert own.known() == {}


def test_epochs_before_a_method_has_settled_stop_nothing_and_are_no_best(tmp_path: Path) -> None:
    """They have more weights than the method gives: the first to be cut would be the first out."""
    asked = TrialPruner(rule="successive_halving", among="arm")
    judge = TrialJudge("data")
    configs = [
        replace(tiny(tmp_path, "epochs=4", f"seed={seed}"), trial_pruner=asked) for seed in range(2)
    ]
    unsettled = {n: {"val/accuracy": 0.9, UNSETTLED: 1.0} for n in (1, 2)}
    first, second = (unsettled | {3: {"val/accuracy": n, UNSETTLED: 0.0}} for n in (0.6, 0.5))
    for epoch in (1, 2):
        history = {n: {**one, "val/accuracy": 0.1} for n, one in unsettled.items() if n <= epoch}
        judge.after_epoch(configs[0], TrainingState.after(unsettled, "accuracy"))
        judge.after_epoch(configs[1], TrainingState.after(history, "accuracy"))
    assert not (tmp_path / "mlruns/studies/single/pruner/arm.jsonl").read_text().count("epoch")
    judge.after_epoch(configs[0], TrainingState.after(first, "accuracy"))
    with pytest.raises(TrialPrunedError) as stopped:
        judge.after_epoch(configs[1], TrainingState.after(second, "accuracy"))
    assert (stopped.value.epoch, stopped.value.best) == (3, 0.5)


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (
            "medain",
            {},
            r"pruner=medain; allowed: median, successive_halving, null \(did you mean m",
        ),
        ("median", {"n_startup": 3}, "median n_startup=3: .* unexpected keyword"),
        ("successive_halving", {"reduction_factor": 1}, "reduction_factor=1: The value of `reduc"),
        ("successive_halving", {"min_resource": "x"}, "min_resource=x: The value of `min_resourc"),
    ],
)
def test_a_mistake_is_one_line(rule: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_pruner(rule, options)


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"takes Optuna, .* pip install '.\[sweeps\]'"):
        make_pruner("median", {})
