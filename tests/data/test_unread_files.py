from pathlib import Path

import pytest

from adapterlab.base.errors import DataError
from adapterlab.data.sources.unread_files import require_kind, role_of, unread


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("dev.csv", "validation"),
        ("valid.parquet", "validation"),
        ("val.jsonl", "validation"),
        ("Validation.CSV", "validation"),
        ("test.jsonl", "test"),
        ("training.tsv", "train"),
        ("train-00000-of-00002.parquet", "train"),
        ("train_1.csv", "train"),
        ("test_set.json", "test"),
        ("dev.csv.gz", "validation"),
        ("val.zip", "validation"),
        ("devices.csv", None),
        ("training.md", None),
        ("trained.csv", None),
        ("labels.csv", None),
        ("test.py", None),
        (".dev.csv", None),
    ],
)
def test_names_of_splits(name: str, role: str | None) -> None:
    assert role_of(name) == role


@pytest.fixture
def mail(tmp_path: Path) -> dict[str, Path]:
    files = {name: tmp_path / f"{name}.csv" for name in ("train", "test")}
    for file in files.values():
        file.touch()
    return files


def test_a_split_under_another_name_is_refused(tmp_path: Path, mail: dict[str, Path]) -> None:
    (tmp_path / "dev.csv").touch()
    message = f"{tmp_path}/dev.csv is not read: the validation split is {tmp_path}/validation.csv; "
    with pytest.raises(DataError, match=message):
        unread(tmp_path, mail, ".csv")
    (tmp_path / "validation.csv").touch()
    mail["validation"] = tmp_path / "validation.csv"
    (note,) = unread(tmp_path, mail, ".csv")
    assert note == "test.csv, train.csv, validation.csv are read, dev.csv beside them not"


def test_what_was_published_is_only_said(tmp_path: Path, mail: dict[str, Path]) -> None:
    (tmp_path / "valid.parquet").touch()
    (note,) = unread(tmp_path, mail, ".csv", refuse=False)
    assert note == "test.csv, train.csv are read, valid.parquet beside them not"


def test_folders_and_other_files_are_nobodys_split(tmp_path: Path, mail: dict[str, Path]) -> None:
    (tmp_path / "val.csv").mkdir()
    (tmp_path / "README.txt").touch()
    assert unread(tmp_path, mail, ".csv") == ()


def test_what_a_name_leads_to(tmp_path: Path, mail: dict[str, Path]) -> None:
    assert require_kind(mail["train"], "file")
    assert require_kind(tmp_path, "folder")
    assert not require_kind(tmp_path / "val", "folder")
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    for path, kind, message in (
        (tmp_path, "file", "is a folder; wanted: a file"),
        (mail["train"], "folder", "is a file; wanted: a folder"),
        (loop, "file", "loop.csv is a link that leads nowhere; wanted: a file"),
    ):
        with pytest.raises(DataError, match=message):
            require_kind(path, kind)  # type: ignore[arg-type]
