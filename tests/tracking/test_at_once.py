"""Calls of a client that are one transaction: one commit, all or nothing, and as if it were not."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from sqlalchemy import event
from sqlalchemy.engine import Engine

from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.tracking import mlflow_run
from adapterlab.tracking.client import connect
from adapterlab.tracking.link import RunLink
from adapterlab.tracking.stores.at_once import at_once
from lab import alone_in_a_fork, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = ("tracking=mlflow", "base=scratch", "adapter=head", "limit=32", "epochs=2")

Counted = Callable[[], int]


@pytest.fixture
def commits() -> Iterator[Counted]:
    """Count the commits that have something to write since it was last asked."""
    wrote: set[int] = set()
    found: Counter[str] = Counter()

    def execute(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().split(None, 1)[0].upper() in ("INSERT", "UPDATE", "DELETE"):
            wrote.add(id(conn))

    def commit(conn: Any) -> None:
        if id(conn) in wrote:
            wrote.discard(id(conn))
            found["commits"] += 1

    def counted() -> int:
        return found.pop("commits", 0)

    event.listen(Engine, "before_cursor_execute", execute)
    event.listen(Engine, "commit", commit)
    yield counted
    event.remove(Engine, "before_cursor_execute", execute)
    event.remove(Engine, "commit", commit)


@pytest.fixture
def client(lab_root: Path) -> Any:
    return connect(None, lab_root / "mlruns")


@pytest.fixture
def run_id(client: Any, request: pytest.FixtureRequest) -> str:
    experiment = client.create_experiment(f"at-once-{request.node.name}")
    return str(client.create_run(experiment).info.run_id)


def test_what_is_called_is_read_at_once_and_committed_once(
    client: Any, run_id: str, commits: Counted
) -> None:
    def work() -> str:
        client.set_tag(run_id, "a", "1")
        client.log_batch(run_id, metrics=[Metric("m", 1.0, 1, 0), Metric("n", 2.0, 1, 0)])
        assert client.get_run(run_id).data.tags["a"] == "1"
        assert client.get_run(run_id).data.metrics == {"m": 1.0, "n": 2.0}
        client.set_tag(run_id, "a", "2")
        assert client.get_run(run_id).data.tags["a"] == "2"
        client.set_tag(run_id, "b", "1")
        client.delete_tag(run_id, "b")
        at_once(client, lambda: client.set_terminated(run_id, "KILLED"))  # a part of it
        return "done"

    commits()
    assert at_once(client, work) == "done"
    assert commits() == 1
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags.get("a"), run.data.tags.get("b")) == (
        "KILLED",
        "2",
        None,
    )
    client.set_tag(run_id, "c", "1")  # by itself again
    assert commits() == 1


def test_what_goes_wrong_goes_wrong_as_without_it(client: Any, run_id: str) -> None:
    calls = []

    def work() -> None:
        calls.append("call")
        client.set_tag(run_id, f"a{len(calls)}", "1")
        client.delete_tag(run_id, "never")

    with pytest.raises(MlflowException, match="No tag with name: never"):
        at_once(client, work)
    assert calls == ["call", "call"]
    tags = client.get_run(run_id).data.tags
    assert ("a1" in tags, "a2" in tags) == (False, True)  # the second time each call by itself


def test_what_has_been_sent_before_is_taken_again(client: Any, run_id: str) -> None:
    """MLflow takes back what it has written where a metric is there, and looks which."""
    old, new = Metric("m", 1.0, 1, 1), Metric("m", 2.0, 2, 2)
    client.log_batch(run_id, metrics=[old])

    def work() -> None:
        client.set_tag(run_id, "a", "1")
        client.log_batch(run_id, metrics=[old, new])

    at_once(client, work)
    points = client.get_metric_history(run_id, "m")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 2.0)]
    assert client.get_run(run_id).data.tags["a"] == "1"


def test_an_interrupt_leaves_nothing_of_it(client: Any, run_id: str) -> None:
    def work() -> None:
        client.set_tag(run_id, "a", "1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        at_once(client, work)
    assert "a" not in client.get_run(run_id).data.tags
    client.set_tag(run_id, "b", "1")
    assert client.get_run(run_id).data.tags["b"] == "1"


def test_other_threads_have_sessions_of_their_own(client: Any, run_id: str) -> None:
    seen: list[bool] = []

    def work() -> None:
        client.set_tag(run_id, "a", "1")
        thread = Thread(target=lambda: seen.append("a" in client.get_run(run_id).data.tags))
        thread.start()
        thread.join(30)

    at_once(client, work)
    assert seen == [False]
    assert "a" in client.get_run(run_id).data.tags


def test_what_is_no_sqlite_store_is_called_plainly() -> None:
    assert at_once(object(), lambda: 3) == 3


def configured(root: Path, study: str) -> Config:
    return tiny(root, *OPTIONS, f"study={study}")


def test_a_run_waits_for_the_disk_four_times(lab_root: Path, commits: Counted) -> None:
    """For its study, for its beginning, for its figures, for its end."""
    single.run(configured(lab_root, "counted-before"))  # makes the experiment
    commits()
    single.run(configured(lab_root, "counted"))
    assert commits() == 4


def _killed_while_it_begins(root: Path, at: str) -> None:
    alone_in_a_fork()

    def kill(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    owner = {"remember": RunLink, "data": mlflow_run.MLflowTracker}[at]
    setattr(owner, at, kill)
    single.run(configured(root, f"killed-{at}"))


@pytest.mark.parametrize("at", ["remember", "data"])
def test_a_process_killed_while_a_run_begins_leaves_no_part_of_it(
    at: str, lab_root: Path, client: Any
) -> None:
    single.run(configured(lab_root, "killed-before"))
    process = get_context("fork").Process(target=_killed_while_it_begins, args=(lab_root, at))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    query = f"tags.study = 'killed-{at}' and tags.kind = 'run'"
    assert not client.search_runs([experiment], query)
    config = configured(lab_root, f"killed-{at}")
    link = RunFolder.of(config).link
    assert (link.run_id() is None) == (at == "remember")
    result = single.run(config)
    (run,) = client.search_runs([experiment], query)
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    assert MlflowClient(client.tracking_uri).get_run(result.run_id).inputs.dataset_inputs
