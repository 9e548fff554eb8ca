"""Fixtures of the tests of whole runs; the helpers behind them are in lab.py."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Under --import-mode=importlib a test folder is not importable by itself.
sys.path.insert(0, str(Path(__file__).parent))

# Before PEFT or transformers, also in the process that collects what test processes say.
import adapterlab.base.torchvision_compat  # noqa: F401

# isort: split

import cheaper
from adapterlab.app import cli
from adapterlab.base.garbage_collection import collect_seldom
from adapterlab.drawing.pictures import Pictures
from adapterlab.tracking.stores import sqlite
from lab import Outcome, as_program
from temporary import in_memory, new_folder

LONG = ("test_notebooks.py", "test_mlflow_ui.py", "test_launcher.py", "test_your_own.py")
"""Files with the longest tests."""

MANY = ("adapters", "packing", "evidence")
"""Rooms of thousands of tests of a hundredth of a second."""

TEMPORARY = pytest.StashKey[str]()
"""The folder in memory that these tests have made."""

collect_seldom()


def pytest_configure(config: pytest.Config) -> None:
    """Keep temporary files in memory where there is room, of tests and of what they start.

    Stores and checkpoints wait for the disk at each write: a third of the time of small runs. Other
    processes of the same tests are given the same folder.
    """
    if "TMPDIR" not in os.environ and in_memory():
        folder = new_folder()
        config.stash[TEMPORARY] = os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None  # asked again


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Give the memory back, unless there is something to look at."""
    if exitstatus == 0 and TEMPORARY in session.config.stash:
        shutil.rmtree(session.config.stash[TEMPORARY], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests and end with the shortest, so that two processes end together.

    `--dist worksteal` takes what is left at the end of the other's line.
    """

    def place(item: pytest.Item) -> int:
        if item.path.name in LONG:
            return LONG.index(item.path.name)
        return len(LONG) + (item.path.parent.name in MANY)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Let searches for garbage pass over what all tests import, which is most of what there is."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as MLflow's migrations make it, to be copied."""
    db = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "_migrate", cheaper.MIGRATE)
        with sqlite.whole(db):
            pass
    return db


@pytest.fixture(scope="session", autouse=True)
def everything_is_cheaper(request: pytest.FixtureRequest) -> Iterator[None]:
    """Do once in this process what runs and commands would do each time, see `cheaper`.

    It is one fixture, since pytest looks each of them up for each test.
    """
    with pytest.MonkeyPatch.context() as patch:
        cheaper.stores_are_copied(patch, lambda: request.getfixturevalue("new_store"))
        for way in cheaper.WAYS:
            way(patch)
        yield


@pytest.fixture
def stores_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have them made by MLflow's migrations after all, as outside of tests."""
    monkeypatch.setattr(sqlite, "_migrate", cheaper.MIGRATE)


@pytest.fixture(scope="session")
def lab_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One root for the session, so that the tests train a base once."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes most of the time of a tiny run, and of a report."""
    monkeypatch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
    # Another process would draw them after all.
    monkeypatch.setattr("adapterlab.runs.packs.pack.PicturesBeside", Pictures)
    monkeypatch.setattr("adapterlab.runs.packs.pack.get_ready", lambda: None)
    monkeypatch.setattr("adapterlab.reporting.report._draw", _draw_nothing)


def _draw_nothing(_: object, folder: Path) -> list[Any]:
    folder.mkdir(parents=True, exist_ok=True)
    return []


@pytest.fixture
def run_cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call a program of the command line in this process, as a user would in a shell."""

    def run(
        *arguments: str, program: Callable[[], None] = cli.train, root: Path = tmp_path
    ) -> Outcome:
        capfd.readouterr()
        code = 0
        with as_program(root, *arguments):
            try:
                program()
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run
