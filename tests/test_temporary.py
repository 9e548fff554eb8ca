"""Temporary files of tests lie in memory only where they all fit and can be carried out."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import temporary
from temporary import GIB, in_memory


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that would do."""
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOSUID))
    monkeypatch.setattr(temporary.shutil, "disk_usage", lambda _: SimpleNamespace(free=8 * GIB))
    available = SimpleNamespace(available=8 * GIB)
    monkeypatch.setattr(temporary.psutil, "virtual_memory", lambda: available)
    monkeypatch.setattr(temporary, "machine_bytes", lambda: 16 * GIB)
    assert in_memory(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("os.statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOSUID | os.ST_NOEXEC)),
        ("os.access", lambda *_: False),
        ("temporary.shutil.disk_usage", lambda _: SimpleNamespace(free=64 * 2**20)),
        ("temporary.psutil.virtual_memory", lambda: SimpleNamespace(available=GIB)),
        ("temporary.machine_bytes", lambda: 4 * GIB),
    ],
)
def test_where_files_do_not_belong(
    what: str, instead: Any, roomy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what, instead)
    assert not in_memory(roomy)


def test_a_system_without_such_a_folder(tmp_path: Path) -> None:
    assert not in_memory(tmp_path / "shm")


def test_what_tests_that_are_over_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, over = (tmp_path / f"{temporary.NAMED}{pid}-abc" for pid in (1, 2))
    others = tmp_path / "adapterlab-run"
    for folder in (going, over, others):
        folder.mkdir()
    monkeypatch.setattr(temporary.psutil, "pid_exists", lambda pid: pid != 2)
    made = temporary.new_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([going, others, made])
    assert made.name.startswith(f"{temporary.NAMED}{os.getpid()}-")
