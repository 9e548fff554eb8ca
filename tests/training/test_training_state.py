"""Where a training stands: best epoch, patience, end; the same for both loops."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_roles import OPTIONS

from adapterlab.training.outcome import TrainingDivergedError
from adapterlab.training.training_state import UNSETTLED, TrainingState, metrics_of


def epochs(values: list[float], select_on: str) -> list[dict[str, float]]:
    metrics: list[dict[str, Any]] = [
        {"train/loss": 1.0, "val/loss": 1.0, f"val/{select_on}": value} for value in values
    ]
    return metrics


def settling(
    values: list[float], unsettled: list[float]
) -> tuple[TrainingState, list[tuple[int, int]]]:
    """Take in epochs of a method that settles; return after each the best, and the wait since."""
    state, stood = TrainingState(), []
    for metrics, of_it in zip(epochs(values, "accuracy"), unsettled, strict=True):
        state.take({**metrics, UNSETTLED: of_it}, "accuracy", OPTIONS)
        stood.append((state.best_epoch, state.waited))
    return state, stood


# (metric, its values, the best epoch, epochs since)
CASES: dict[str, tuple[str, list[float], int, int]] = {
    "the highest": ("accuracy", [0.5, 0.7, 0.6], 2, 1),
    "the lowest loss": ("loss", [0.5, 0.7, 0.4], 3, 0),
    "the first of equal ones": ("macro_f1", [0.5, 0.7, 0.7, 0.7], 2, 2),
    "what no float32 shows is no difference": ("accuracy", [0.5, 0.5 + 1e-9], 1, 1),
    "a loss beyond float32 comes first and is no better": ("loss", [1e300, 1e299, 2.0], 3, 0),
    "and nothing is": ("loss", [1e300, 1e299], 1, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_the_best_epoch(case: str) -> None:
    select_on, values, best, waited = CASES[case]
    state = TrainingState()
    for metrics in epochs(values, select_on):
        state.take(metrics, select_on, OPTIONS)
    assert (state.epochs, state.best_epoch, state.waited) == (len(values), best, waited)


@given(st.lists(st.floats(0, 1), max_size=12), st.sampled_from(["accuracy", "loss"]))
def test_a_history_tells_all_of_it(values: list[float], select_on: str) -> None:
    state, bests = TrainingState(), []
    for metrics in epochs(values, select_on):
        if state.take(metrics, select_on, OPTIONS):
            bests.append(state.epochs)
    assert TrainingState.after(state.history, select_on) == state
    assert bests == ([] if not values else sorted(set(bests)))
    assert (bests or [0])[-1] == state.best_epoch


def test_an_epoch_that_is_settled_comes_before_all_that_are_not() -> None:
    """Of each kind the best; without any that is settled, the best of the others."""
    state, stood = settling([0.5, 0.9, 0.1, 0.3, 0.2], [1.0, 1.0, 0.0, 0.0, 0.0])
    assert [best for best, _ in stood] == [1, 2, 3, 4, 4]
    assert TrainingState.after(state.history, "accuracy") == state
    first = TrainingState.after({k: state.history[k] for k in (1, 2)}, "accuracy")
    assert first.best_epoch == 2


def test_patience_begins_with_the_first_epoch_that_is_settled() -> None:
    """Or a training would end before it is what its method gives."""
    state, stood = settling([0.9, 0.5, 0.4, 0.3, 0.2], [1.0, 1.0, 1.0, 0.0, 0.0])
    assert [waited for _, waited in stood] == [0, 0, 0, 0, 1]
    assert TrainingState.after(state.history, "accuracy") == state


def test_the_end() -> None:
    state = TrainingState(epochs=3, waited=2)
    assert [state.is_over(epochs, None) for epochs in (4, 3)] == [False, True]
    assert [state.is_over(9, patience) for patience in (3, 2, 1)] == [False, True, True]


def test_an_epoch_that_diverged_is_not_taken_in() -> None:
    state = TrainingState()
    with pytest.raises(TrainingDivergedError, match="train/loss is nan in epoch 1"):
        state.take({"train/loss": float("nan"), "val/loss": 1.0}, "loss", OPTIONS)
    assert state == TrainingState()


def test_names_of_metrics() -> None:
    assert metrics_of({"loss": 1.0}, {"loss": 2.0, "accuracy": 0.5}, 0.1) == {
        "train/loss": 1.0, "val/loss": 2.0, "val/accuracy": 0.5, "train/lr": 0.1,
    }  # fmt: skip
