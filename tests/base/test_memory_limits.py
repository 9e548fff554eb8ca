"""What cannot fit is refused before anything of it is there; what may fit is not."""

import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from adapterlab.base import memory_limits
from adapterlab.base.errors import ConfigError, out_of_memory
from adapterlab.base.memory_limits import fitting, machine_bytes, require_bytes
from adapterlab.runs.memory import rows_of_batch, sizes_in
from lab import Outcome, compose

RunCli = Callable[..., Outcome]

ABSURD = {
    "rank": ("adapter.rank=10000000000", "adapter.rank=10000000000: its weights alone would take"),
    "rank of a pattern": ("adapter.rank_pattern={layers.0:10000000000}", "rank_pattern={'layers.0"),
    "widths": ("model.widths=[1000000000000]", "model.widths=[1000000000000]", "GiB of memory"),
    "widths whose product is no number": (
        "model.widths=[10000000000,10000000000]",
        "model.widths=[10000000000, 10000000000]",
    ),
    "shape of the base's images": (
        "base=scratch dataset.shape=[1,1000000,1000000]",
        "images of [1, 1000000, 1000000]",
    ),
    "shape of the target's images": (
        "dataset.shape=[1,1000000,1000000]",
        "dataset.shape=[1, 1000000, 1000000]: 1,437 images would take",
    ),
    "layers": (
        "dataset=emotion model=bert_tiny model.num_layers=100000000",
        "model.num_layers=100000000",
        "19,660,801,114,112 weights would take",
    ),
    "vocabulary": (
        "dataset=emotion model=bert_tiny model.vocab_size=1000000000000",
        "model.vocab_size=1000000000000",
    ),
    "threads": ("hardware.threads=999999999999", "hardware.threads=999999999999", "1000000000"),
    "threads that a machine dies of": ("hardware.threads=100000", "cores of this machine"),
    "workers": ("hardware.workers=1000", "hardware.workers=1000 is too many", "allowed: up to"),
    "padding": ("dataset.crop=1000000", "dataset.crop=1000000: images of 8x8", "allowed: 0 to 7"),
    "limit": ("limit=1000000000000000000", "limit=1000000000000000000", "1000000000"),
    "epochs": ("epochs=10000000000000000000000", "less than or equal to 1000000000"),
    "seed": ("seed=100000000000000000000", "seed=100000000000000000000", "less than"),
    "mean in whole pixel values": ("dataset.mean=[127]", "dataset.mean.0=127", "equal to 1"),
    "margin of all points": ("margin=100", "margin=100", "less than 100"),
    "alpha": ("adapter.alpha=1e400", "adapter.alpha=inf", "finite"),
    "root of nothing": ("root=", "root=''", "at least 1 character"),
}


@pytest.mark.parametrize("what", ABSURD)
def test_a_size_that_cannot_be_meant_gets_one_line(what: str, run_cli: RunCli) -> None:
    overrides, *parts = ABSURD[what]
    outcome = run_cli(*overrides.split(" "))
    for part in parts:
        assert part in outcome.error
    assert outcome.out == ""


def test_weights_are_counted_before_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limits, "machine_bytes", lambda: 4 * 1_000)
    with fitting("model.widths=[9]"), torch.device("meta"):
        nn.Linear(9, 100)  # 900 weights and 100 more
    with (
        pytest.raises(ConfigError, match=r"^model.widths=\[9\]: its weights alone would take "),
        fitting("model.widths=[9]"),
        torch.device("meta"),
    ):
        nn.Linear(9, 101)
    nn.Linear(9, 1_000)  # and nothing is counted afterwards


def test_a_parameter_that_two_layers_share_is_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_limits, "machine_bytes", lambda: 4 * 100)
    with fitting("x=1"), torch.device("meta"):
        first, second = nn.Linear(10, 10, bias=False), nn.Module()
        second.weight = first.weight


def test_what_moments_need_counts(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    """11,146 weights fit into 64 KiB; with gradients and two moments of 11,146 they do not."""
    monkeypatch.setattr(memory_limits, "machine_bytes", lambda: 2**16)
    full = ("plan=true", "adapter=full", "base=scratch")
    assert run_cli("plan=true", "adapter=head", "base=scratch").code == 0
    assert "with gradients and moments of" in run_cli(*full).error
    assert run_cli(*full, "optimizer=sgd").code == 2
    monkeypatch.setattr(memory_limits, "machine_bytes", lambda: 2**17)
    assert run_cli(*full, "optimizer=sgd").code == 0


def _halve() -> None:
    before = machine_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (before // 2, resource.RLIM_INFINITY))
    assert machine_bytes() == before // 2, (machine_bytes(), before)


def test_a_machine_s_memory_is_what_its_limits_leave() -> None:
    child = multiprocessing.get_context("fork").Process(target=_halve)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert 0 < machine_bytes() < 2**60
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_what_fits_exactly_is_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limits, "machine_bytes", lambda: 100)
    require_bytes(100, "x=1", "it")
    with pytest.raises(ConfigError, match=r"^x=1: it would take "):
        require_bytes(101, "x=1", "it")


def test_sizes_are_named() -> None:
    node = {"name": "mlp", "widths": [64, 32], "dropout": 0.1, "flag": True, "alpha": 16}
    assert sizes_in(node, "model") == "model.widths=[64, 32]"
    assert sizes_in({"name": "head", "head": "train"}, "adapter") == "adapter=head"


def test_only_a_large_batch_is_looked_at(tmp_path: Path) -> None:
    from adapterlab.data.splits import ImageSplit

    train = ImageSplit(
        torch.zeros(10_000, 1, 2, 2, dtype=torch.uint8), torch.zeros(10_000, dtype=torch.int64)
    )
    usual = compose(tmp_path, "batch_size=64")
    assert rows_of_batch(usual, train) is None
    large = compose(tmp_path, "batch_size=1000000")
    assert rows_of_batch(large, train) == (8_000, 1)
    assert rows_of_batch(compose(tmp_path, "batch_size=1000000", "limit=100"), train) is None


def test_a_batch_that_cannot_fit(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapterlab.runs.memory._SMALL_BATCH", 64)
    room = 8 * 2**20  # for the weights, which with all that is kept for them take 3.3 MiB
    monkeypatch.setattr(memory_limits, "machine_bytes", lambda: room)
    options = ("base=scratch", "adapter.rank=1", "model.widths=[8000]", "batch_size=2000")
    line = run_cli(*options, "tracking=none").error
    assert line.startswith("batch_size=2000: the outputs of 1,149 rows that gradients need would")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "out of memory; a smaller batch_size, model or adapter needs less"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 5368709120 bytes. Error code 12"
            ),
            "out of memory: 5.00 GiB more were asked for; a smaller batch_size, model or adapter "
            "needs less",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total"),
            "out of memory: 20.00 MiB more were asked for; a smaller batch_size, model or adapter "
            "needs less",
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
    ],
)
def test_memory_that_runs_out_is_said(error: BaseException, line: str | None) -> None:
    assert out_of_memory(error) == line
