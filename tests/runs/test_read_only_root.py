"""A root that may only be read: what is kept in it is found, and what is not is made again."""

import errno
import os
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adapterlab.base.cache import Entry, filled, stored
from adapterlab.base.files import NOT_WRITABLE
from adapterlab.runs.folders.folder import RunFolder
from lab import alone_in_a_fork, tiny

HERE = torch.tensor([1.0, 2.0])


def _entry() -> Entry:
    return Entry({"it": HERE}, {"made": "here"})


def _fill(values: Tensor) -> None:
    values.copy_(HERE)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root with one entry of either kind in its cache, which nobody may write in."""
    stored(tmp_path / "cache", "kept", "key", _entry)
    filled(tmp_path / "cache" / "kept.safetensors", (2,), torch.float32, _fill)
    folders = [tmp_path / "cache", tmp_path]
    for file in (tmp_path / "cache").iterdir():
        file.chmod(0o444)
    for folder in folders:
        folder.chmod(0o555)
    for folder in tmp_path.parents:
        if os.geteuid() == 0 and folder.owner() == "root" and "pytest" in str(folder):
            folder.chmod(0o755)
    yield tmp_path
    for folder in reversed(folders):
        folder.chmod(0o755)


def _as_nobody(root: Path) -> None:
    alone_in_a_fork()
    if os.geteuid() == 0:
        os.seteuid(65534)
    before = sorted(root.rglob("*"))
    cache, never = root / "cache", []

    def build() -> Entry:
        never.append("built")
        return _entry()

    assert torch.equal(stored(cache, "kept", "key", build).tensors["it"], HERE)
    assert never == []
    assert stored(cache, "other", "key", build).facts == {"made": "here"}
    assert torch.equal(stored(root / "no cache", "other", "key", build).tensors["it"], HERE)
    assert never == ["built", "built"]
    for name, there in (("kept", True), ("other", False)):
        values, found = filled(cache / f"{name}.safetensors", (2,), torch.float32, _fill)
        assert found is there
        assert torch.equal(values, HERE)
    assert sorted(root.rglob("*")) == before
    os._exit(0)


def test_the_cache_is_read_and_what_it_lacks_is_made(root: Path) -> None:
    child = get_context("fork").Process(target=_as_nobody, args=(root,))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_an_entry_that_cannot_be_locked_for_other_reasons_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        stored(tmp_path / "file" / "cache", "kept", "key", _entry)


@pytest.mark.parametrize("number", NOT_WRITABLE)
def test_a_base_that_has_finished_is_read_there_and_no_run_begins(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("adapterlab.runs.folders.folder.FileLock.acquire", refuse)
    folder = RunFolder.of(tiny(tmp_path))
    for wait in (True, False):
        with pytest.raises(OSError, match=os.strerror(number)), folder.lock(wait=wait):
            pytest.fail("it has not finished")
    monkeypatch.setattr(RunFolder, "finished", lambda self: "its result")
    with folder.lock(wait=True):
        pass
    with pytest.raises(OSError, match=os.strerror(number)), folder.lock(wait=False):
        pytest.fail("a run would be written here")
    number = errno.ENOSPC
    with pytest.raises(OSError, match=os.strerror(number)), folder.lock(wait=True):
        pytest.fail("a disk that is full is another matter")
