"""Where a store is, by its URI, and where the files of its runs go."""

from pathlib import Path

import pytest

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.base.redaction import public_uri
from adapterlab.tracking.stores import databases
from adapterlab.tracking.stores.uris import (
    artifact_location,
    default_uri,
    is_local,
    is_networked,
    sqlite_file,
)

MLRUNS = Path("/root of runs/mlruns")


@pytest.mark.parametrize(
    ("uri", "networked"),
    [
        ("sqlite:////tmp/mlflow.db", False),
        ("postgresql://lab@localhost/one", False),
        ("postgresql+psycopg://lab:p%40ss@127.0.0.1:5433/one", False),
        ("postgresql://lab@[::1]:5432/one", False),
        ("postgresql:///one", False),
        ("postgresql:///one?host=/var/run/postgresql", False),
        ("postgresql://lab@db.example/one", True),
        ("postgresql://lab@10.0.0.7/one", True),
        ("postgresql:///one?host=db.example", True),
        ("postgresql:///one?host=localhost:5432&host=db.example:5432", True),
        ("postgresql://lab@localhost/one?host=db.example", True),
        ("mysql+pymysql://lab@db.example/one", True),
    ],
)
def test_a_database_is_here_or_reached_over_a_network(
    uri: str, networked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    assert is_local(uri)
    assert is_networked(uri) is networked
    if networked:
        with pytest.raises(ConfigError, match="others would not reach the files of runs"):
            artifact_location(uri, None, MLRUNS)
        assert artifact_location(uri, "s3://bucket/lab", MLRUNS) == "s3://bucket/lab"
    else:
        place = artifact_location(uri, None, MLRUNS)
        assert place == "file:///root%20of%20runs/mlruns/artifacts"


def test_the_client_of_postgresql_takes_a_host_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    assert is_networked("postgresql:///one")
    assert not is_networked("postgresql://localhost/one")


def test_a_server_knows_the_place_of_files_itself() -> None:
    assert artifact_location("http://db.example:5000", None, MLRUNS) is None
    assert artifact_location(None, None, MLRUNS) == "file:///root%20of%20runs/mlruns/artifacts"


def test_a_folder_for_files_is_made_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = "postgresql://lab@db.example/one"
    assert artifact_location(uri, "some files", MLRUNS) == (tmp_path / "some files").as_uri()
    assert (tmp_path / "some files").is_dir()


def test_a_place_that_is_too_long_for_a_database_is_refused() -> None:
    mlruns = Path("/" + "x" * 150)
    assert artifact_location(None, None, mlruns) == f"file://{mlruns}/artifacts"
    with pytest.raises(ConfigError, match="is too long for a database, which takes 157"):
        artifact_location("postgresql://localhost/one", None, mlruns)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("postgres://lab:secret@h/one", "should begin with postgresql://"),
        ("postgresql+foo://lab:secret@h/one", "names no driver that SQLAlchemy knows"),
        ("postgresql+pg8000://lab:secret@h/one", "pip install 'adapterlab[postgresql]'"),
        ("mysql+oursql://lab:secret@h/one", "names no driver that SQLAlchemy knows"),
        ("mysql+aiomysql://lab:secret@h/one", "pip install mysqlclient"),
        ("postgresql://lab:secret@h:port/one", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_line_without_a_password(
    uri: str, words: str
) -> None:
    with pytest.raises(AdapterLabError) as caught, databases.ready(uri):
        pass
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["two words", "job%2Fmain", "what?", "a#b", "größe", "100%"])
def test_the_uri_of_a_file_leads_back_to_it(name: str, tmp_path: Path) -> None:
    assert sqlite_file(default_uri(tmp_path / name)) == tmp_path / name / "mlflow.db"


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:", "http://x", "postgresql://x/y"])
def test_what_is_no_file(uri: str) -> None:
    assert sqlite_file(uri) is None


def test_a_uri_is_shown_without_its_password() -> None:
    assert public_uri("postgresql://lab:p%40ss@h/one") == "postgresql://lab:***@h/one"
    assert public_uri("sqlite:////tmp/mlflow.db") == "sqlite:////tmp/mlflow.db"
