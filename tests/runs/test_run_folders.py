"""A run's folder while others are at it, and what is left in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapterlab.base.files import own_number, replacing
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.runs.folders.undelivered import sync
from adapterlab.tracking.servers import journal
from lab import tiny


def test_starting_anew_takes_along_what_others_have_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file manager leaves files in folders; a kill in between leaves no run that had finished."""
    folder = RunFolder(tmp_path / "run")
    for name in ("figures/.DS_Store", ".found-x/0/file", "source_predictions.parquet", "data_hash"):
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_text("x")
    (folder.path / "elsewhere").symlink_to(tmp_path)
    folder.result.write_text("{}")
    unlink, removed = Path.unlink, list[str]()

    def told(path: Path, **how: bool) -> None:
        removed.append(path.name)
        unlink(path, **how)

    monkeypatch.setattr(Path, "unlink", told)
    folder.start(tiny(tmp_path), "abc", keep=False)
    assert removed[0] == "result.json"
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.yaml", "data_hash"]
    assert tmp_path.is_dir()


def test_processes_of_one_number_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers that share a disk have a process 1 each."""
    with replacing(tmp_path / "report.html") as part:
        part.write_text("x")
        assert part.name != f"report.html.{os.getpid()}.part"
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    code = "import os; os.getpid = lambda: 1; from adapterlab.base import files; "
    code += "print(files.own_number())"
    monkeypatch.setattr(os, "getpid", lambda: 1)
    theirs = subprocess.check_output([sys.executable, "-c", code], text=True, env=environ)
    assert theirs.strip().isdigit()
    assert theirs.strip() != own_number()


def test_a_journal_is_whole_or_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is killed while it takes up what an earlier one could not deliver."""
    folder = tmp_path / "mlruns" / "runs" / "s" / "r"
    address = journal.Address("id", "http://there", "r")
    first = journal.Journal(folder, address)
    first.write({"what": "log", "metrics": {"a": 1.0}})
    first.close()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            journal.Journal(folder, address)
    again = journal.Journal(folder, address)
    again.write({"what": "end"})
    left = journal.read(folder)
    assert left is not None
    assert [line["what"] for line in left[1]] == ["log", "end"]
    again.took(2)
    again.write({"what": "log"})
    left = journal.read(folder)
    assert left is not None
    assert left[1] == [{"what": "log"}]


def test_sync_says_what_it_cannot_read_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlruns = tmp_path / "mlruns"
    for name in ("of-another-user", "torn"):
        (folder := mlruns / "runs" / "s" / name).mkdir(parents=True)
        (folder / journal.NAME).touch()
    lock = RunFolder.lock

    def locked(folder: RunFolder, *, wait: bool) -> object:
        if folder.path.name == "torn":
            return lock(folder, wait=wait)
        raise PermissionError(13, "Permission denied", folder.path / ".lock")

    monkeypatch.setattr(RunFolder, "lock", locked)
    kept = sync(mlruns).kept
    whys = {path.name: why for path, why in kept.items()}
    assert "Permission denied" in whys["of-another-user"]
    assert whys["torn"].endswith("resume=true logs it anew")
