"""A full disk is one line, a failed run, and a run that resumes when there is room."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from safetensors import SafetensorError

from adapterlab.base import files, full_disk
from adapterlab.base.files import PART, sweep, write_bytes, write_tensors, write_text, write_torch
from adapterlab.base.full_disk import FullDiskError, is_full, keep_room, last_words, said_where_full
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.tracking.stores.uris import default_uri
from lab import TINY, Outcome, tiny

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def full_from(number: int) -> Iterator[list[Path]]:
    """Let there be no room from the n-th file on that is written, counted from 0."""
    written: list[Path] = []

    def flush(path: Path) -> None:
        written.append(path)
        if len(written) > number:
            raise FULL

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "flush_one", flush)
        yield written


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "bytes": lambda path, number: write_bytes(path, bytes([number])),
    "text": lambda path, number: write_text(path, f"é\r\n{number}"),
    "torch": lambda path, number: write_torch(path, {"a": torch.tensor(number)}),
    "tensors": lambda path, number: write_tensors(path, {"a": torch.tensor(number)}, {"b": "c"}),
}


class TestFiles:
    @pytest.mark.parametrize("kind", WRITERS)
    def test_what_was_there_stays_when_there_is_no_room(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "a"
        WRITERS[kind](path, 1)
        before = path.read_bytes()
        with full_from(0), pytest.raises(FullDiskError, match=rf"^{path} could not be written: "):
            WRITERS[kind](path, 2)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]
        WRITERS[kind](path, 2)
        assert path.read_bytes() != before

    def test_what_killed_writers_left_is_swept(self, tmp_path: Path) -> None:
        for name in ("a.json.12.part", "deep/b.12.part", "mine.part", "c"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        sweep(tmp_path)
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
        assert left == {"mine.part", "c"}

    def test_the_limit_of_a_file_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        with pytest.raises(FullDiskError, match="takes no file so large"), said_where_full(path):
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


ERRORS: dict[str, BaseException] = {
    "of the system": FULL,
    "of a quota": OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    "of SQLite": sqlite3.OperationalError("database or disk is full"),
    "of safetensors": SafetensorError(
        "Error while serializing: I/O error: No space left on device (os error 28)"
    ),
    "of a copied folder": shutil.Error([("a", "b/c", "[Errno 28] No space left on device: 'a'")]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_full_disks_are_told_whoever_meets_them(case: str) -> None:
    assert is_full(ERRORS[case])
    wrapped = RuntimeError("it could not be logged")
    wrapped.__cause__ = ERRORS[case]
    with pytest.raises(FullDiskError, match=r"is full|is used up"), said_where_full():
        raise wrapped


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), ValueError("full"), KeyError()])
def test_other_errors_are_left_alone(error: Exception) -> None:
    with pytest.raises(type(error)), said_where_full():
        raise error


def test_the_last_words_have_room(tmp_path: Path) -> None:
    keep_room(tmp_path / "mlruns")
    reserve = tmp_path / "mlruns" / ".reserve"
    assert reserve.stat().st_size == full_disk.RESERVE_BYTES
    said: list[bool] = []

    def say() -> None:
        said.append(reserve.exists())
        if reserve.exists():
            raise FULL

    last_words(tmp_path / "mlruns", say)
    assert said == [True, False]


ARGUMENTS = (
    *(option for option in TINY if option not in ("tracking=none", "base.epochs=2")),
    *("base=scratch", "study=full", "resume=true"),
)


def figures(root: Path, number: int) -> dict[str, Any]:
    result = RunFolder.of(_config(root, number)).finished()
    assert result is not None
    return {name: v for name, v in result.metrics.items() if not name.startswith("cost/")}


def _config(root: Path, number: int) -> Any:
    return tiny(root, "tracking=mlflow", "base=scratch", "study=full", f"seed={number}")


@pytest.mark.usefixtures("no_pictures")
def test_every_write_of_a_run_may_find_the_disk_full(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    """Counted through in steps, and the last; `scripts/torture.py disk` fills real ones."""
    run: Callable[..., Outcome] = lambda: run_cli(*ARGUMENTS, "seed=0", root=lab_root)  # noqa: E731
    assert run().code == 0
    whole, folder = figures(lab_root, 0), RunFolder.of(_config(lab_root, 0))
    client = MlflowClient(default_uri(lab_root / "mlruns"))
    for number in range(0, 100, 5):
        shutil.rmtree(folder.path)
        with full_from(number) as written:
            outcome = run()
        if outcome.code == 0:  # it writes no more than so many files
            break
        assert outcome.code == 1, outcome
        (line,) = (line for line in outcome.err.splitlines() if line.startswith("error: "))
        name = written[number].name.rpartition(PART)[0].rpartition(".")[0]
        assert f"{name} could not be written: " in line
        assert "Traceback" not in outcome.err
        assert not list(folder.path.rglob(f"*{PART}"))
        last = folder.link.run_id()
        if last is not None:
            assert client.get_run(last).info.status == "FAILED"
        assert run().code == 0
        assert figures(lab_root, 0) == whole
    assert number >= 10
