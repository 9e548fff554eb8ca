"""A context for the loaders, and files for them to find."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import idx_bytes

from adapterlab.data.sources import LoadContext, download
from adapterlab.data.sources.text_files import text_files
from adapterlab.data.splits import TextSplits


@pytest.fixture
def context(tmp_path: Path) -> LoadContext:
    return LoadContext((tmp_path / "here",), tmp_path / "download", tmp_path / "cache")


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    """A folder for texts of a user's own."""
    folder = tmp_path / "mail"
    folder.mkdir()
    return folder


@pytest.fixture
def load(context: LoadContext, mail: Path) -> Callable[..., TextSplits]:
    """Reads texts of a user's own, by default those in `mail`."""

    def load(path: Path = mail, **options: Any) -> TextSplits:
        return text_files(context, path, **options)

    return load


@pytest.fixture
def write_idx(tmp_path: Path) -> Callable[..., Path]:
    """Writes a complete idx data set of given sizes; returns its folder."""

    def write(name: str, train: int = 12, test: int = 4) -> Path:
        raw = tmp_path / "here" / name / "raw"
        raw.mkdir(parents=True)
        for prefix, n in (("train", train), ("t10k", test)):
            images = np.arange(n * 6, dtype=np.uint8).reshape(n, 2, 3)
            (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(images))
            labels = (np.arange(n) % 10).astype(np.uint8)
            (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
        return raw

    return write


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection fails at once, as on a machine without a network."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(download.socket, "getaddrinfo", refuse)
    monkeypatch.setattr(download.socket, "create_connection", refuse)
