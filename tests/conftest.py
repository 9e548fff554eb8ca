"""Fixtures of the tests of whole runs; the helpers behind them are in lab.py."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Under --import-mode=importlib a test folder is not importable by itself.
sys.path.insert(0, str(Path(__file__).parent))

from adapterlab.app import cli
from adapterlab.drawing.pictures import Pictures
from lab import Outcome, as_program


@pytest.fixture(scope="session")
def lab_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One root for the session, so that the tests train a base once."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes most of the time of a tiny run, and of a report."""
    monkeypatch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
    # Another process would draw them after all.
    monkeypatch.setattr("adapterlab.runs.pack.PicturesBeside", Pictures)
    monkeypatch.setattr("adapterlab.runs.pack.get_ready", lambda: None)
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
