"""Where Slurm's `srun` is on PATH, a run by itself says nothing of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import TINY, Outcome


@pytest.mark.usefixtures("no_pictures")
def test_a_run_says_nothing_of_slurm(
    tmp_path: Path, run_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}{os.pathsep}{os.environ['PATH']}")
    # A job of two tasks, which Lightning's environment for Slurm would refuse.
    for name, value in {"JOB_ID": "7", "JOB_NAME": "study", "NTASKS": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    outcome = run_cli(
        *TINY[:2],
        *TINY[3:],
        "base=scratch",
        "adapter=full",
        "hardware.trainer=lightning",
        root=tmp_path,
    )
    assert outcome.code == 0, outcome
    monkeypatch.delenv("SLURM_NTASKS")
    again = run_cli(
        *TINY[:2],
        *TINY[3:],
        "base=scratch",
        "adapter=head",
        "hardware.trainer=lightning",
        root=tmp_path,
    )
    assert again.code == 0, again
    assert "srun" not in outcome.err + again.err
    assert all(": epoch " in line for line in again.err.splitlines()), again.err
