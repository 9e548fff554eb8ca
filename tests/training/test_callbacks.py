"""Throughput without warm-up, and the progress that people read."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adapterlab.training.lightning import callbacks
from adapterlab.training.progress import Progress
from adapterlab.training.throughput import WARM_UP_STEPS, Throughput


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self, _: Any = None) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("adapterlab.training.throughput.now", clock)
    return clock


def epoch(throughput: Throughput, clock: Clock, batches: int, seconds: float, size: int) -> None:
    module: Any = SimpleNamespace(device=torch.device("cpu"))
    for index in range(batches):
        trainer: Any = SimpleNamespace(is_last_batch=index == batches - 1)
        batch: Any = SimpleNamespace(labels=torch.zeros(size))
        callbacks.Clock(throughput).on_train_batch_start(trainer, module, batch, index)
        clock.now += seconds
        callbacks.Clock(throughput).on_train_batch_end(trainer, module, None, batch, index)


def test_the_warm_up_is_left_out(clock: Clock) -> None:
    throughput = Throughput()
    epoch(throughput, clock, WARM_UP_STEPS, seconds=5.0, size=8)
    assert throughput.samples_per_second is None
    epoch(throughput, clock, 4, seconds=0.5, size=8)
    assert throughput.samples_per_second == pytest.approx(16.0)


def test_the_time_between_epochs_is_left_out(clock: Clock) -> None:
    throughput = Throughput()
    for _ in range(3):
        epoch(throughput, clock, WARM_UP_STEPS, seconds=0.25, size=8)
        clock.now += 100  # validation
    assert throughput.samples_per_second == pytest.approx(32.0)


def test_a_warm_up_that_ends_within_an_epoch(clock: Clock) -> None:
    throughput = Throughput()
    epoch(throughput, clock, WARM_UP_STEPS, seconds=9.0, size=4)
    clock.now += 100
    epoch(throughput, clock, 1, seconds=1.0, size=4)
    assert throughput.samples_per_second == pytest.approx(4.0)


def test_a_short_training_has_no_throughput_and_says_why() -> None:
    throughput = Throughput()
    assert throughput.samples_per_second is None
    assert f"no more than the {WARM_UP_STEPS} steps of warm-up" in throughput.why


def test_a_few_epochs_get_a_line_where_there_is_no_terminal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    progress = Progress("a-run", epochs=20, lines=5)
    progress.begin(40, 0)
    with caplog.at_level(logging.INFO, logger="adapterlab.training.progress"):
        for number in range(1, 21):
            progress.report(number, {"val/accuracy": number / 100, "val/loss": 0.5})
    progress.end()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 5
    assert lines[0] == "a-run: epoch 4/20, val/accuracy 0.0400, val/loss 0.5000"
    assert lines[-1].startswith("a-run: epoch 20/20")


def test_an_error_before_the_bar_is_open_is_no_second_error() -> None:
    Progress("a-run", epochs=1).end()
