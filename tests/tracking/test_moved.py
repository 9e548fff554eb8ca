"""A project that was moved or copied: where the files of its runs are from then on."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from adapterlab.app import cli
from adapterlab.tracking.client import _open_store, connect
from adapterlab.tracking.link import RunLink
from adapterlab.tracking.mlflow_run import tracked
from adapterlab.tracking.stores import moved
from adapterlab.tracking.stores.uris import default_uri
from lab import TINY, Outcome, compose

pytestmark = pytest.mark.usefixtures("no_pictures")

RunCli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def fresh_clients() -> None:
    """A later command is another process, which opens its store anew."""
    _open_store.cache_clear()


@pytest.fixture
def a(tmp_path: Path, empty_store: Path) -> Path:
    """A root with an empty store; making one takes two seconds."""
    root = tmp_path / "a b%"
    (root / "mlruns").mkdir(parents=True)
    shutil.copy(empty_store, root / "mlruns" / "mlflow.db")
    return root


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that MLflow has made."""
    mlruns = tmp_path_factory.mktemp("empty") / "mlruns"
    connect(None, mlruns)
    return mlruns / "mlflow.db"


def _logged(root: Path, number: int, *options: str) -> str:
    """Log a run with one file, as a process of its own; return its MLflow id."""
    _open_store.cache_clear()
    config = compose(root, "study=moves", *options)
    folder = config.mlruns / "runs" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    with tracked(config, RunLink(folder), name=f"run-{number}") as tracker:
        (folder / "kept.txt").write_text(str(number))
        tracker.artifact(folder / "kept.txt", "code")
        assert tracker.run_id is not None
        return tracker.run_id


def _read(root: Path, run_id: str, to: Path, uri: str | None = None) -> str:
    _open_store.cache_clear()
    to.mkdir(exist_ok=True)
    client = connect(uri, root / "mlruns")
    return Path(client.download_artifacts(run_id, "code/kept.txt", str(to))).read_text()


def _location(root: Path, experiment: str = "adapterlab") -> str:
    found = MlflowClient(default_uri(root / "mlruns")).get_experiment_by_name(experiment)
    assert found is not None
    return str(found.artifact_location)


def _unmarked(root: Path) -> None:
    """Make a store one of an older version, which marked no experiment."""
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as store:
        store.execute("DELETE FROM experiment_tags WHERE key = ?", (moved.BESIDE_STORE,))
        store.commit()


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("how", ["moved", "copied"])
def test_files_of_runs_follow_a_moved_or_copied_project(
    a: Path, tmp_path: Path, how: str, older: bool, caplog: pytest.LogCaptureFixture
) -> None:
    b = tmp_path / "b %3F"
    first = _logged(a, 1)
    if older:
        _unmarked(a)
    before = (a / "mlruns" / "mlflow.db").read_bytes()
    if how == "moved":
        a.rename(b)
    else:
        shutil.copytree(a, b)
    caplog.clear()
    second = _logged(b, 2)
    assert caplog.text.count("was moved or copied here") == 1
    assert str(a / "mlruns" / "artifacts") in caplog.text
    assert _location(b) == (b / "mlruns" / "artifacts").as_uri()
    assert (b / "mlruns" / "artifacts" / second / "artifacts" / "code" / "kept.txt").is_file()
    assert [_read(b, run, tmp_path / "to") for run in (first, second)] == ["1", "2"]
    assert caplog.text.count("was moved or copied here") == 1  # said once, not by every command
    if how == "moved":
        assert not a.exists()
    else:
        assert (a / "mlruns" / "mlflow.db").read_bytes() == before
        assert _read(a, first, tmp_path / "to") == "1"
        shutil.rmtree(a)
        assert _read(b, first, tmp_path / "to") == "1"


def test_a_moved_project_is_evaluated_exported_reported_and_resumed(
    a: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    b = tmp_path / "b"
    options = [option for option in TINY if option != "tracking=none"]
    done = run_cli(*options, "study=moves", "seed=0", root=a)
    assert done.code == 0, done
    client = MlflowClient(default_uri(a / "mlruns"))
    (run,) = client.search_runs(["1"], "tags.kind = 'run'")
    run_id = run.info.run_id
    a.rename(b)
    for program, arguments in (
        (cli.evaluate, (f"run={run_id}", "hardware=cpu")),
        (cli.export, (f"run={run_id}", f"to={tmp_path / 'out'}", "hardware=cpu")),
        (cli.report, ("study=moves",)),
    ):
        _open_store.cache_clear()
        said = run_cli(*arguments, program=program, root=b)
        assert said.code == 0, said
        assert ("was moved or copied here" in said.err) == (program is cli.evaluate)
    _open_store.cache_clear()
    again = run_cli(*options, "study=moves", "seed=0", "resume=true", root=b)
    assert "this run had finished: nothing was trained" in again.err
    assert not a.exists()


def test_a_project_is_followed_before_any_run_has_a_file(a: Path, tmp_path: Path) -> None:
    b = tmp_path / "b"
    config = compose(a, "study=moves")
    folder = config.mlruns / "runs" / "1"
    folder.mkdir(parents=True)
    with tracked(config, RunLink(folder), name="run-1"):
        pass
    shutil.copytree(a, b)
    second = _logged(b, 2)
    assert (b / "mlruns" / "artifacts" / second).is_dir()
    assert not (a / "mlruns" / "artifacts" / second).exists()


def test_files_that_were_left_behind_stay_where_they_are(
    a: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    b = tmp_path / "b"
    first, second = _logged(a, 1), _logged(a, 2)
    shutil.copytree(a, b)
    shutil.rmtree(b / "mlruns" / "artifacts" / first)
    third = _logged(b, 3)
    assert "files are in the old place still, and are kept there: 1" in caplog.text
    found = [_read(b, run, tmp_path / "to") for run in (first, second, third)]
    assert found == ["1", "2", "3"]
    shutil.rmtree(a)
    assert _read(b, second, tmp_path / "to") == "2"


@pytest.mark.parametrize("gone", [False, True])
def test_files_that_lie_elsewhere_on_purpose_stay_there(
    a: Path, tmp_path: Path, gone: bool
) -> None:
    b, elsewhere = tmp_path / "b", tmp_path / "disk" / "mlruns" / "artifacts"
    first = _logged(a, 1, f"tracking.artifacts={elsewhere}")
    a.rename(b)
    if gone:  # a disk that is not mounted just now
        (tmp_path / "disk").rename(tmp_path / "unmounted")
    else:
        shutil.copytree(elsewhere, b / "mlruns" / "artifacts")  # somebody's copy
    assert _location(b) == elsewhere.as_uri()
    connect(None, b / "mlruns")
    assert _location(b) == elsewhere.as_uri()
    if gone:
        (tmp_path / "unmounted").rename(tmp_path / "disk")
    assert _read(b, first, tmp_path / "to") == "1"


def test_links_to_a_project_or_its_store_move_nothing(
    a: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    link = tmp_path / "link"
    first = _logged(a, 1)
    link.symlink_to(a)
    second = _logged(link, 2)
    other = tmp_path / "other" / "mlruns"
    other.mkdir(parents=True)
    (other / "mlflow.db").symlink_to(a / "mlruns" / "mlflow.db")
    third = _logged(other.parent, 3)
    assert "was moved" not in caplog.text
    assert [_read(a, run, tmp_path / "to") for run in (first, second, third)] == ["1", "2", "3"]
    moved_to = tmp_path / "b"
    a.rename(moved_to)
    link.unlink()
    link.symlink_to(moved_to)  # the old name still leads there
    assert _read(link, first, tmp_path / "to") == "1"


def test_a_store_of_ones_own_that_moves_with_its_root_is_followed_and_a_shared_one_is_not(
    a: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    b, c = tmp_path / "b", tmp_path / "c"
    own = a.with_name("a")
    a.rename(own)
    (own / "mlruns" / "mlflow.db").rename(own / "own.db")
    shutil.copy(own / "own.db", tmp_path / "shared.db")
    first = _logged(own, 1, f"tracking.uri=sqlite:///{own}/own.db")
    own.rename(b)
    uri = f"sqlite:///{b}/own.db"
    assert _read(b, first, tmp_path / "to", uri) == "1"
    assert caplog.text.count("was moved or copied here") == 1
    caplog.clear()
    shared = f"sqlite:///{tmp_path}/shared.db"
    second = _logged(b, 2, f"tracking.uri={shared}")
    shutil.copytree(b, c)
    assert _read(c, second, tmp_path / "to", shared) == "2"
    assert "was moved" not in caplog.text


def test_a_moved_store_that_cannot_be_written_says_so(
    a: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _logged(a, 1)
    b = tmp_path / "b"
    a.rename(b)
    before = (b / "mlruns" / "mlflow.db").read_bytes()

    def read_only(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)

    monkeypatch.setattr("adapterlab.tracking.stores.sqlite_files.connected", read_only)
    moved.follow_files(b / "mlruns" / "mlflow.db", b / "mlruns" / "mlflow.db")
    assert "places of its runs' files cannot be corrected: attempt to write" in caplog.text
    assert (b / "mlruns" / "mlflow.db").read_bytes() == before
