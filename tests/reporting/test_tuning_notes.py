"""How options were chosen, in sentences, from the tags that the tuned sweeper writes."""

from dataclasses import replace
from typing import Any

import pytest
from tuning_runs import Logged, compared, tuning_run

from adapterlab.reporting.sentences.tuning import (
    on_failures,
    on_pruned,
    on_seeds,
    on_superseded,
    on_tuning,
    superseded,
)

LUCK = (
    "values were chosen by one tuning seed: the luck of that is in no interval, so verdicts are on "
    "arms with these very values, and equal ways that were given unlike ones may well differ "
    "(more hydra.sweeper.tuning_seeds help)"
)


def test_what_was_tuned_is_said_as_what_it_was() -> None:
    """Only the rank was tuned: learning rates were not, and are shared."""
    runs = [
        compared("adapter=lora", "lora", {"adapter.rank": "8"}, trials=3),
        compared("adapter=dora", "dora", {"adapter.rank": "2"}, trials=3),
    ]
    assert on_tuning(runs) == [
        "adapter.rank was tuned on validation in study x-tuning, 3 trials an arm: "
        "adapter=lora 8, adapter=dora 2",
        LUCK,
        "all strategies share one learning rate, 0.01: tuned for each, they might rank otherwise "
        "(experiment=compare tunes)",
    ]


def test_rates_and_several_options() -> None:
    rates = [
        compared("adapter=head", "head", {"optimizer.lr": "0.01"}),
        compared("adapter=full", "full", {"optimizer.lr": "0.001"}),
    ]
    assert on_tuning(rates, {"adapter=head": "the head"}) == [
        "learning rates were tuned on validation in study x-tuning, 6 trials an arm: "
        "the head 0.01, adapter=full 0.001",
        LUCK,
    ]
    both = compared("adapter=lora", "lora", {"optimizer.lr": "0.01", "adapter.rank": "8"}, trials=1)
    assert on_tuning([both]) == [
        "adapter.rank and optimizer.lr were tuned on validation in study x-tuning, 1 trial an "
        "arm: adapter=lora adapter.rank=8 optimizer.lr=0.01"
    ]


def test_arms_that_were_not_tuned_or_on_another_grid() -> None:
    given = Logged("g", {"arm": "g", "strategy": "frozen"}, {"optimizer.lr": "0.01"})
    runs = [
        compared("adapter=head", "head", {"optimizer.lr": "0.01"}, trials=4, grid="b"),
        compared("adapter=full", "full", {"optimizer.lr": "0.001"}, trials=3, grid="a"),
        given,
    ]
    said = on_tuning(runs)
    assert said == [
        "learning rates of 2 of 3 arms were tuned on validation in study x-tuning, 4/3 trials an "
        "arm: adapter=head 0.01, adapter=full 0.001",
        LUCK,
        "arms were not tuned alike, on different grids: adapter=head (4 trials); adapter=full (3 "
        "trials). Tune all of them on one (resume=true skips what has finished)",
    ]
    assert on_tuning([given]) == []
    assert on_tuning([]) == []


@pytest.mark.parametrize(
    ("chosen", "seeds", "said"),
    [("0.01", "1", None), ("0.001", "3", "by 3 tuning seeds"), ("0.001", "10", None)],
)
def test_the_luck_of_a_choice_is_said(chosen: str, seeds: str, said: str | None) -> None:
    """Equal ways that were given unlike values were told apart in 27% of simulated studies."""
    runs = [
        compared("adapter=head", "head", {"optimizer.lr": "0.01"}, **{"tuned.seeds": seeds}),
        compared("adapter=full", "full", {"optimizer.lr": chosen}, **{"tuned.seeds": seeds}),
    ]
    found = [one for one in on_tuning(runs) if one.startswith("values were chosen")]
    assert found == ([] if said is None else [LUCK.replace("by one tuning seed", said)])


def test_the_best_at_an_edge_is_in_the_report() -> None:
    edge = {"tuned.edge": "optimizer.lr=0.1 is the largest that was tried"}
    run = compared("adapter=head", "head", {"optimizer.lr": "0.1"}, **edge)
    assert on_tuning([run])[1:] == [
        "adapter=head: the best optimizer.lr=0.1 is the largest that was tried; beyond it may be "
        "better ones"
    ]
    others = [
        compared(f"adapter={name}", name, {"optimizer.lr": "0.1"}, **edge)
        for name in ("lora", "dora")
    ]
    lower = {"tuned.edge": "optimizer.lr=0.001 is the smallest that was tried"}
    full = compared("adapter=full", "full", {"optimizer.lr": "0.001"}, **lower)
    assert on_tuning([run, full, *others])[2:] == [
        "adapter=head, adapter=lora, adapter=dora: the best optimizer.lr=0.1 is the largest that "
        "was tried; beyond it may be better ones",
        "adapter=full: the best optimizer.lr=0.001 is the smallest that was tried; beyond it may "
        "be better ones",
    ]


def test_what_was_chosen_anew_is_left_out_and_said() -> None:
    old = [
        compared("adapter=head", "head", {"optimizer.lr": "0.1"}, name=f"old{n}",
                 **{"tuned.superseded": "optimizer.lr=0.2"})
        for n in range(2)
    ]  # fmt: skip
    runs = [*old, compared("adapter=head", "head", {"optimizer.lr": "0.2"}, name="new")]
    assert superseded(runs) == {"old0", "old1"}
    assert on_superseded(runs) == [
        "2 runs are left out: adapter=head was tuned again, and is run with optimizer.lr=0.2 in "
        "place of optimizer.lr=0.1"
    ]
    assert on_superseded(runs[2:]) == []


def test_a_seed_of_both_stages_in_two_commands_is_said() -> None:
    trials = [tuning_run("adapter=lora", 0.1, 0.8, seed=seed) for seed in (0, 1)]
    runs = [
        compared("adapter=lora", "lora", {"optimizer.lr": "0.1"}, seed=str(seed))
        for seed in range(1, 4)
    ]
    runs.append(compared("adapter=full", "full", {"optimizer.lr": "0.1"}, seed="0"))
    (said,) = on_seeds(runs, trials)
    assert said.startswith("1 run is compared on a seed that values were chosen by (seed 1): such")
    assert on_seeds(runs[1:], trials) == []


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ("fff", ["adapter=full: all 3 tuning runs failed, so it is not in the comparison (no)"]),
        ("f", ["adapter=full: its only tuning run failed, so it is not in the comparison (no)"]),
        ("fok", ["adapter=full: 2 of 3 tuning runs failed (no)"]),
        ("ooo", []),
    ],
)
def test_an_arm_whose_trials_failed_leaves_a_trace(statuses: str, said: list[str]) -> None:
    status = {"f": "failed", "k": "killed", "o": "finished"}
    runs: list[Any] = [
        tuning_run("adapter=full", lr, 0.5, status=status[letter], error="Diverged: no")
        for lr, letter in zip((0.1, 0.2, 0.3), statuses, strict=False)
    ]
    old = tuning_run("adapter=full", 0.9, 0.5, at="2020", status="failed", error="Old: old")
    assert on_failures([*runs, old]) == said


def test_trials_that_were_pruned_are_said_with_what_that_may_do() -> None:
    trials = [tuning_run("adapter=full", lr, 0.5) for lr in (0.1, 0.2, 0.3)]
    for run in trials[1:]:
        run.tags["trial.pruned"] = "median 2"
    trials[1:] = [replace(run, status="pruned") for run in trials[1:]]
    (said,) = on_pruned(trials)
    assert said.startswith("2 of 3 tuning runs were pruned by median")
    assert "where good values begin slowly, arms are compared at worse ones" in said
    assert on_pruned(trials[:1]) == []


def test_a_failure_without_a_reason_says_so() -> None:
    assert on_failures([tuning_run("adapter=full", 0.1, 0.5, status="killed")]) == [
        "adapter=full: its only tuning run failed, so it is not in the comparison (no reason was "
        "logged)"
    ]
