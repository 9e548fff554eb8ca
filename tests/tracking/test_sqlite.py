"""A sqlite store is made whole or not at all, upgraded as a copy, and refused in one line."""

import os
import random
import shutil
import sqlite3
import stat
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from adapterlab.base.errors import AdapterLabError
from adapterlab.tracking.client import connect
from adapterlab.tracking.stores import schema, sqlite, sqlite_files
from adapterlab.tracking.stores.schema import head
from adapterlab.tracking.stores.sqlite import StoreError, lock_of, whole
from adapterlab.tracking.stores.uris import default_uri, sqlite_file, sqlite_uri
from faults import store
from faults.old_stores import half_made, old_store, revision_of, revisions, runs_of
from faults.trying import Setting


@pytest.fixture(autouse=True)
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is at work on these stores."""
    monkeypatch.setattr(sqlite, "QUIET", 0.0)


@pytest.fixture(autouse=True)
def as_outside_of_tests(stores_are_made: None) -> None:
    """A new store is not a copy of another one."""


@pytest.fixture
def made(new_store: Path) -> Path:
    """A new store, to be copied."""
    return new_store


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of an older MLflow, with two runs, to be copied."""
    db = tmp_path_factory.mktemp("old") / "mlflow.db"
    old_store(db, revisions()[-20], 2)
    return db


@pytest.fixture
def soon(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a copy where MLflow would set a new store up once more."""
    monkeypatch.setattr(sqlite, "_migrate", lambda path: shutil.copy2(made, path))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def made_whole(db: Path) -> None:
    with whole(db):
        assert revision_of(db) == head()


def test_a_new_store_leaves_nothing_beside_it(made: Path) -> None:
    assert names(made.parent) == [".mlflow.lock", "mlflow.db"]
    assert revision_of(made) == head()


def test_one_that_is_whole_is_left_alone(made: Path, tmp_path: Path) -> None:
    db = shutil.copy2(made, tmp_path / "mlflow.db")
    before = db.read_bytes()
    made_whole(db)
    assert db.read_bytes() == before
    assert names(tmp_path) == [".mlflow.lock", "mlflow.db"]


def test_what_a_killed_process_left_is_no_hindrance(made: Path, tmp_path: Path, soon: None) -> None:
    """An old lock, and a store that was being made aside, with its journal."""
    db = tmp_path / "mlflow.db"
    lock_of(db).write_text("12345")
    (tmp_path / "mlflow.db.new").write_bytes(made.read_bytes()[:5000])
    (tmp_path / "mlflow.db.new-journal").write_bytes(b"\0" * 600)
    made_whole(db)
    assert names(tmp_path) == [".mlflow.lock", "mlflow.db"]


def test_an_error_while_it_is_made_leaves_no_store(
    tmp_path: Path, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_files, "put", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made_whole(tmp_path / "mlflow.db")
    assert names(tmp_path) == [".mlflow.lock"]


def test_runs_of_an_older_store_are_kept_and_so_is_the_store(
    old: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = shutil.copy2(old, tmp_path / "mlflow.db")
    db.chmod(0o660)
    made_whole(db)
    assert runs_of(db) == runs_of(old)
    kept = tmp_path / f"mlflow.db.before-{revisions()[-20]}"
    assert kept.read_bytes() == old.read_bytes()
    assert stat.S_IMODE(db.stat().st_mode) == 0o660
    assert str(kept) in caplog.messages[-1]
    made_whole(db)
    assert names(tmp_path) == [".mlflow.lock", "mlflow.db", kept.name]


def test_an_older_store_with_a_log_beside_it(old: Path, tmp_path: Path) -> None:
    db = shutil.copy2(old, tmp_path / "mlflow.db")
    with closing(sqlite3.connect(db)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE runs SET status = 'FAILED'")
        other.commit()
    made_whole(db)
    assert {row[1] for row in runs_of(db)} == {"FAILED"}
    assert not [name for name in names(tmp_path) if name.endswith(("-wal", "-shm"))]


def test_an_upgrade_that_is_stopped_changes_nothing(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = shutil.copy2(old, tmp_path / "mlflow.db")
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_files, "put", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            made_whole(db)
    assert db.read_bytes() == old.read_bytes()
    made_whole(db)
    assert runs_of(db) == runs_of(old)


def test_nobody_writes_while_a_store_is_upgraded(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = shutil.copy2(old, tmp_path / "mlflow.db")
    monkeypatch.setattr(sqlite_files, "BUSY", 0.1)
    with closing(sqlite3.connect(db)) as other:
        other.execute("UPDATE runs SET status = 'FAILED'")
        with pytest.raises(StoreError, match="has to be upgraded, and cannot be: database is lock"):
            made_whole(db)
        other.rollback()
        seen = other.execute("SELECT count(*) FROM runs").fetchone()
        made_whole(db)
        assert seen == (2,)
        # Whoever had it open before does not write to a file that nobody will read.
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            other.executescript("UPDATE runs SET status = 'KILLED'; COMMIT")
    assert {row[1] for row in runs_of(db)} == {"FINISHED"}


def test_a_half_made_store_without_runs_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = tmp_path / "mlflow.db"
    half_made(db, revisions()[12])
    before = db.read_bytes()
    client = connect(sqlite_uri(db), tmp_path)
    assert [each.name for each in client.search_experiments()] == ["Default"]
    assert (tmp_path / "mlflow.db.half-made").read_bytes() == before
    assert "mlflow.db.half-made, and made anew" in caplog.messages[-1]


def test_a_half_made_store_with_runs_stays_and_is_explained(tmp_path: Path) -> None:
    db = tmp_path / "mlflow.db"
    half_made(db, revisions()[12], runs=3)
    before = db.read_bytes()
    with pytest.raises(StoreError, match=r"holds runs \(3\), so it was left as it is") as caught:
        made_whole(db)
    assert "\n" not in str(caught.value)
    assert db.read_bytes() == before
    assert names(tmp_path) == [".mlflow.lock", "mlflow.db"]


def test_a_table_that_a_killed_migration_was_filling_is_no_loss(old: Path, tmp_path: Path) -> None:
    """Killed before it took its place, and after the place was free."""
    db = shutil.copy2(old, tmp_path / "mlflow.db")
    with closing(sqlite3.connect(db)) as half, half:
        half.execute("CREATE TABLE _alembic_tmp_metrics (key TEXT)")
        half.execute("ALTER TABLE params RENAME TO _alembic_tmp_params")
    made_whole(db)
    assert runs_of(db) == runs_of(old)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("folder", "should be the store's file, and is none"),
        ("text", "cannot be read as a store: file is not a database"),
        ("another's", "is the database of another program (tables: studies, trials)"),
        ("newer", "was last used by a newer MLflow than the"),
        ("cut", "cannot be read as a store: database disk image is malformed"),
    ],
)
def test_what_is_no_store_of_ours_is_refused_in_one_line(
    kind: str, words: str, made: Path, tmp_path: Path
) -> None:
    db = tmp_path / "mlflow.db"
    if kind == "folder":
        db.mkdir()
    elif kind == "text":
        db.write_text("notes of a meeting\n" * 100)
    elif kind == "cut":
        db.write_bytes(made.read_bytes()[:6000])
    elif kind == "another's":
        with closing(sqlite3.connect(db)) as other, other:
            other.execute("CREATE TABLE studies (id)")
            other.execute("CREATE TABLE trials (id)")
    else:
        shutil.copy2(made, db)
        with closing(sqlite3.connect(db)) as other, other:
            other.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = None if db.is_dir() else db.read_bytes()
    with pytest.raises(AdapterLabError) as caught:
        connect(None, tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before is None or db.read_bytes() == before
    assert set(names(tmp_path)) <= {".mlflow.lock", "mlflow.db"}


def test_an_empty_file_is_no_store_yet(tmp_path: Path, soon: None) -> None:
    db = tmp_path / "mlflow.db"
    db.touch()
    made_whole(db)
    assert names(tmp_path) == [".mlflow.lock", "mlflow.db"]


@pytest.mark.parametrize("name", ["two words", "job%2Fmain", "what?", "a#b", "größe", "100%"])
def test_a_root_by_any_name(name: str, made: Path, tmp_path: Path) -> None:
    mlruns = tmp_path / name / "mlruns"
    mlruns.mkdir(parents=True)
    shutil.copy2(made, mlruns / "mlflow.db")
    client = connect(None, mlruns)
    client.create_experiment("here")
    assert sqlite_file(default_uri(mlruns)) == mlruns / "mlflow.db"
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as written:
        assert written.execute("SELECT name FROM experiments").fetchall()[-1] == ("here",)
    assert names(tmp_path) == [name]


def test_a_link_to_a_store_stays_a_link(old: Path, tmp_path: Path) -> None:
    real, root = tmp_path / "disk", tmp_path / "root"
    real.mkdir()
    root.mkdir()
    shutil.copy2(old, real / "store.db")
    (root / "mlflow.db").symlink_to(real / "store.db")
    (tmp_path / "again").symlink_to(root)
    for mlruns in (root, tmp_path / "again"):
        found = connect(None, mlruns).search_runs(["1"])
        assert len(found) == 2
    assert (root / "mlflow.db").is_symlink()
    assert names(root) == ["mlflow.db"]
    assert revision_of(real / "store.db") == head()


def _read_as_nobody(folder: Path) -> None:
    """What a user may do who may only read: find a store, and make none."""
    os.seteuid(65534)
    with whole(folder / "mlflow.db"):
        pass
    with pytest.raises(StoreError, match=r"the store cannot be made: .*Permission denied"):
        made_whole(folder / "other.db")
    os._exit(0)


def test_a_store_in_a_folder_that_is_read_only_can_be_read(made: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody who may not write")
    for folder in (made.parent, *made.parents):
        if folder.owner() == "root" and "pytest" in str(folder):
            folder.chmod(0o755)
    child = get_context("fork").Process(target=_read_as_nobody, args=(made.parent,))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_processes_that_are_killed_leave_a_store_that_opens(tmp_path: Path) -> None:
    trials = list(store.tries(Setting(random.Random(0), tmp_path, 2)))
    assert [trial.what for trial in trials if not trial.held] == []
    assert len({trial.fault for trial in trials}) == 2


def test_the_last_migration_is_the_one_that_alembic_finds() -> None:
    assert head() == str(schema._scripts().get_current_head())
    first = 'revision = "a1"\ndown_revision = None\n'
    text = first + "revision: str = 'b2'\ndown_revision: str = 'a1'\n"
    assert schema._named("revision", text) == ["a1", "b2"]
    assert schema._named("down_revision", text) == ["a1"]
