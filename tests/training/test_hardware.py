from pathlib import Path

import numpy as np
import pytest
import torch

from adapterlab.base.errors import ConfigError
from adapterlab.training import hardware
from adapterlab.training.hardware import (
    PeakMemory,
    fingerprint,
    resolve_accelerator,
    resolve_precision,
)

needs_linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak RSS of a block needs Linux"
)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which torch reports one GPU: what it would compute is not asked here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Test GPU 80GB")


@pytest.mark.usefixtures("no_gpu")
def test_accelerator_without_a_gpu() -> None:
    assert resolve_accelerator("auto") == "cpu"
    assert resolve_accelerator("cpu") == "cpu"
    with pytest.raises(ConfigError, match=r"'gpu' .* go on with hardware=cpu$"):
        resolve_accelerator("gpu")


@pytest.mark.usefixtures("gpu")
def test_accelerator_with_a_gpu() -> None:
    assert resolve_accelerator("auto") == "gpu"
    assert resolve_accelerator("gpu") == "gpu"
    assert resolve_accelerator("cpu") == "cpu"


def test_unknown_accelerator_names_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match=r"'gpus' .*allowed: auto, cpu, gpu .*mean gpu"):
        resolve_accelerator("gpus")


@pytest.mark.parametrize(
    ("accelerator", "native_bf16", "precision"),
    [("gpu", True, "bf16-mixed"), ("gpu", False, "32-true"), ("cpu", True, "32-true")],
)
def test_auto_precision(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, native_bf16: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native_bf16)
    assert resolve_precision("auto", accelerator) == precision


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
def test_explicit_precision_is_kept(precision: str) -> None:
    assert resolve_precision(precision, "cpu") == precision
    assert resolve_precision(precision, "gpu") == precision


def test_16_mixed_needs_a_gpu() -> None:
    assert resolve_precision("16-mixed", "gpu") == "16-mixed"
    with pytest.raises(ConfigError, match=r"'16-mixed' needs a GPU; .*bf16-mixed$"):
        resolve_precision("16-mixed", "cpu")


def test_unknown_precision_names_what_is_allowed() -> None:
    with pytest.raises(
        ConfigError, match=r"'bf16' .*allowed: auto, 32-true, 64-true, bf16-mixed, 16-mixed"
    ):
        resolve_precision("bf16", "cpu")


@pytest.mark.usefixtures("no_gpu")
def test_fingerprint_of_a_cpu() -> None:
    facts = fingerprint()
    assert " ".join(facts) == (
        "cpu cores threads cpu_capability torch_build platform python torch lightning id"
    )
    assert all(facts.values())
    assert facts["torch"] == torch.__version__
    assert int(facts["cores"]) >= 1
    assert len(facts["id"]) == 8
    assert int(facts["id"], 16) >= 0
    assert fingerprint() == facts


@pytest.mark.usefixtures("gpu")
def test_fingerprint_tells_the_gpu_of_a_machine_from_its_cpu() -> None:
    assert fingerprint()["accelerator"] == "Test GPU 80GB"
    assert "accelerator" not in fingerprint("cpu")
    assert fingerprint("gpu")["id"] != fingerprint("cpu")["id"]


def test_fingerprint_id_changes_with_what_makes_costs_incomparable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = fingerprint()["id"]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 1234)
        assert fingerprint()["id"] != before
    with monkeypatch.context() as patch:
        patch.setattr("platform.python_version", lambda: "3.99.0")
        assert fingerprint()["id"] == before


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        ("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t: fpu\n", "AMD EPYC"),
        ("processor\t: 0\nCPU part\t: 0xd40\n", "aarch64"),
        (None, "aarch64"),
    ],
)
def test_cpu_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str | None, model: str
) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert fingerprint("cpu")["cpu"] == model


def touch_memory(mib: int) -> None:
    np.ones(mib * 2**20, dtype=np.uint8)


@needs_linux
def test_peak_memory_counts_what_was_freed_inside_and_not_before_the_block() -> None:
    touch_memory(192)
    with PeakMemory("cpu") as idle:
        pass
    with PeakMemory("cpu") as busy:
        touch_memory(128)

    assert (busy.kind, busy.why, idle.why) == ("rss", None, None)
    assert busy.mib is not None
    assert idle.mib is not None
    assert 120 < busy.mib - idle.mib < 160


@needs_linux
def test_peak_memory_of_a_block_that_raised() -> None:
    memory = PeakMemory("cpu")
    with pytest.raises(KeyError), memory:
        raise KeyError
    assert memory.mib is not None


@needs_linux
def test_peak_memory_of_overlapping_blocks_is_never_too_low() -> None:
    with PeakMemory("cpu") as outer:
        touch_memory(64)
        with PeakMemory("cpu") as inner:
            pass
    assert inner.mib is not None
    assert outer.mib is None
    assert outer.why == "another measurement began inside the block and reset the peak"


def test_peak_memory_is_missing_inside_the_block() -> None:
    with PeakMemory("cpu") as memory:
        assert memory.mib is None
        assert memory.why == "the block has not ended"


def test_peak_memory_says_why_it_was_not_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hardware, "_CLEAR_REFS", tmp_path / "none" / "clear_refs")
    with PeakMemory("cpu") as memory:
        pass
    assert memory.mib is None
    assert memory.why is not None
    assert "needs Linux" in memory.why
    assert "\n" not in memory.why


def test_peak_memory_without_the_counter_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t  200 kB\n")
    monkeypatch.setattr(hardware, "_CLEAR_REFS", tmp_path / "clear_refs")
    monkeypatch.setattr(hardware, "_STATUS", tmp_path / "status")
    with PeakMemory("cpu") as memory:
        pass
    assert memory.mib is None
    assert memory.why is not None
    assert "has no VmHWM" in memory.why


def test_peak_memory_on_a_gpu_is_the_allocators(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**20)
    with PeakMemory("gpu") as memory:
        assert calls == ["reset"]
    assert (memory.kind, memory.mib, memory.why) == ("cuda", 3.0, None)
