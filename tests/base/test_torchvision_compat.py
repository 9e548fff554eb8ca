"""Runs the shim against stand-ins for torchvision, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

MISMATCHED = """
import torch
try:
    torch.ops.torchvision.nms, torch.ops.torchvision.qnms
except AttributeError:
    raise RuntimeError("operator torchvision::nms does not exist") from None
"""
BROKEN = 'raise RuntimeError("another trouble")'


def run(stand_in: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Import the shim twice, then torchvision; prints how many libraries were declared."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(f"from torchvision import ops\n{stand_in}")
    (package / "ops.py").write_text("")
    program = f"""
import sys, importlib
sys.path.insert(0, {str(folder)!r})
from adapterlab.base import torchvision_compat
declared = len(torchvision_compat._declared)
importlib.reload(torchvision_compat)
import torchvision.ops
print(declared)
"""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("stand_in", "declared"), [("", "0"), (MISMATCHED, "1")])
def test_operators_are_declared_only_where_they_are_missing(
    tmp_path: Path, stand_in: str, declared: str
) -> None:
    done = run(stand_in, tmp_path)
    assert done.stdout.strip() == declared, done.stderr


def test_other_troubles_are_not_hidden(tmp_path: Path) -> None:
    done = run(BROKEN, tmp_path)
    assert done.returncode == 1
    assert "another trouble" in done.stderr
