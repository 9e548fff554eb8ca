"""Runs that several files of tests export, trained once."""

from pathlib import Path

import pytest
from exported import text_run

from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.single import run
from lab import tiny


@pytest.fixture(scope="session")
def text_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@pytest.fixture
def of_texts(text_root: Path, no_pictures: None) -> RunResult:
    return run(text_run(text_root, "adapter=lora", "resume=true"))


@pytest.fixture
def of_images(lab_root: Path, no_pictures: None) -> RunResult:
    return run(tiny(lab_root, "adapter=lora", "study=exported", "resume=true"))
