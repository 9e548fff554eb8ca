"""Runs the shim against stand-ins for torchvision, each in a process that has loaded none."""

import json
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


BARE = """
import json, os, sys, traceback
import torch
stand_ins, program = json.loads(sys.argv[1]), sys.argv[2]
for folder in stand_ins:
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        open(folder + "/code", "w").write(str(code))
        continue
    for number, end in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{end}", os.O_WRONLY | os.O_CREAT), number)
    sys.path.insert(0, folder)
    exec(program)
    sys.exit()
"""
"""Has loaded torch, and not torchvision; goes on with a program in a fork for each folder."""

PROGRAM = """
import importlib
from adapterlab.base import torchvision_compat
declared = len(torchvision_compat._declared)
importlib.reload(torchvision_compat)
import torchvision.ops
print(declared)
"""
"""Imports the shim twice, then torchvision; prints how many libraries were declared."""

STAND_INS = {"sound": "", "mismatched": MISMATCHED, "broken": BROKEN}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process with each of the stand-ins has printed, and its exit code."""
    folder = tmp_path_factory.mktemp("stand-ins")
    for name, stand_in in STAND_INS.items():
        package = folder / name / "torchvision"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"from torchvision import ops\n{stand_in}")
        (package / "ops.py").write_text("")
    places = json.dumps([str(folder / name) for name in STAND_INS])
    subprocess.run([sys.executable, "-c", BARE, places, PROGRAM], check=True)
    return folder


@pytest.mark.parametrize(("stand_in", "declared"), [("sound", "0"), ("mismatched", "1")])
def test_operators_are_declared_only_where_they_are_missing(
    folder: Path, stand_in: str, declared: str
) -> None:
    place = folder / stand_in
    assert (place / "out").read_text().strip() == declared, (place / "err").read_text()


def test_other_troubles_are_not_hidden(folder: Path) -> None:
    assert (folder / "broken" / "code").read_text() == "1"
    assert "another trouble" in (folder / "broken" / "err").read_text()
