"""Fixtures of the tests of whole runs; the helpers behind them are in lab.py."""

import gc
import io
import logging
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import omegaconf
import pytest
from _pytest.logging import catching_logs
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf, grammar_parser

# Under --import-mode=importlib a test folder is not importable by itself.
sys.path.insert(0, str(Path(__file__).parent))

# Before PEFT or transformers, also in the process that collects what test processes say.
import adapterlab.base.torchvision_compat  # noqa: F401

# isort: split

from adapterlab.app import cli
from adapterlab.base import files, workers
from adapterlab.base.garbage_collection import collect_seldom
from adapterlab.config.hydra_versions import BEFORE_1_4
from adapterlab.drawing.pictures import Pictures
from adapterlab.tracking import client
from adapterlab.tracking.stores import sqlite
from lab import Outcome, as_program
from temporary import IN_MEMORY, in_memory

MIGRATE = sqlite._migrate

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
        folder = Path(tempfile.mkdtemp(prefix="adapterlab-", dir=IN_MEMORY))
        folder.chmod(0o711)  # databases are another user's, who must reach theirs
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
        patch.setattr(sqlite, "_migrate", MIGRATE)
        with sqlite.whole(db):
            pass
    return db


@pytest.fixture(scope="session", autouse=True)
def stores_are_copied(request: pytest.FixtureRequest) -> Iterator[None]:
    """Copy one store where this process would have another made, which takes a second.

    Processes that tests start make theirs.
    """

    def migrate(path: Path) -> None:
        if path.stat().st_size > 0:
            MIGRATE(path)
        else:
            shutil.copyfile(request.getfixturevalue("new_store"), path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "_migrate", migrate)
        patch.setattr(client, "set_up_beside", client.set_up)
        yield


@pytest.fixture(scope="session", autouse=True)
def conf_is_read_once() -> Iterator[None]:
    """Parse each file of conf/, and of Hydra's, once: a third of the time of composing.

    So are their interpolations: the trees that come of them are read, and not changed. Processes
    that tests start read them for themselves.
    """
    read: dict[str, bytes] = {}
    original = OmegaConf.load

    def load(file_: Any) -> Any:
        if isinstance(file_, Path):
            text = file_.read_text()
        elif isinstance(file_, io.TextIOBase):
            text = file_.read()
            file_.seek(0)
        else:
            return original(file_)
        if text not in read:
            read[text] = pickle.dumps(original(file_))
        return pickle.loads(read[text])  # a quarter of the time of a deep copy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", staticmethod(load))
        parse = lru_cache(maxsize=10_000)(grammar_parser.parse)
        for module in (omegaconf.base, omegaconf._utils):
            patch.setattr(module, "parse", parse)
        yield


@pytest.fixture(scope="session", autouse=True)
def commands_are_composed_once() -> Iterator[None]:
    """Have each command composed for its run alone: half of the time of composing.

    Hydra 1.3 composes it before only to look for `hydra.mode`, which nothing in conf/ sets, and
    copies its store each time. Processes that tests start do both.
    """
    initialize = GlobalHydra.initialize

    def initialized(instance: GlobalHydra, hydra: Any) -> None:
        get_mode = hydra.get_mode

        def mode(config_name: str | None, overrides: list[str]) -> Any:
            named = any("hydra.mode" in override for override in overrides)
            return get_mode(config_name, overrides) if named else None

        if BEFORE_1_4:
            hydra.get_mode = mode
        initialize(instance, hydra)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GlobalHydra, "initialize", initialized)
        patch.setattr(ConfigStore, "__deepcopy__", lambda store, _: store, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def choices_are_listed_where_asked_for() -> Iterator[None]:
    """Make what interpolations in lists of defaults are resolved by where a list has any.

    Hydra 1.3 makes it, an OmegaConf of all choices, for each file that it composes: a quarter of
    the time of composing. Processes that tests start do.
    """
    with pytest.MonkeyPatch.context() as patch:
        if BEFORE_1_4:
            from hydra._internal import defaults_list

            made = defaults_list._create_interpolation_map

            def if_asked(overrides: Any, defaults: list[Any], self_added: bool) -> Any:
                asked = any(default.is_interpolation() for default in defaults)
                return made(overrides, defaults, self_added) if asked else None

            patch.setattr(defaults_list, "_create_interpolation_map", if_asked)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Do not wait for the disk: what tests kill are processes, whose files the system still writes.

    Processes that tests start wait for it.
    """

    def flush(path: Path) -> None:
        path.stat()  # it has to be there

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "flush_one", flush)
        yield


@pytest.fixture(scope="session", autouse=True)
def logs_are_heard_at_the_root() -> Iterator[None]:
    """Have pytest hear what reaches the root logger, as before 9.2: a millisecond less a test.

    It looks through some six hundred loggers six times a test for those that pass nothing on to the
    root, and hangs its handlers on them as well: sixty, all of libraries.
    """
    everywhere = catching_logs.__enter__

    def at_the_root(catching: catching_logs[Any]) -> Any:
        if catching.level is not None:
            return everywhere(catching)
        logging.getLogger().addHandler(catching.handler)
        catching.attached_loggers.append(logging.getLogger())
        return catching.handler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catching_logs, "__enter__", at_the_root)
        yield


@pytest.fixture(scope="session", autouse=True)
def small_things_wait() -> Iterator[None]:
    """Keep the process for small things, which else ends when it has had nothing to do for long.

    It loads for seconds, and tests ask for it every other minute.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "IDLE_SECONDS", 3600)
        yield


@pytest.fixture
def stores_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have them made by MLflow's migrations after all, as outside of tests."""
    monkeypatch.setattr(sqlite, "_migrate", MIGRATE)


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
