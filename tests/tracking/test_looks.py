"""Looks at a study, kept with its run in MLflow."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from adapterlab.base.errors import AdapterLabError
from adapterlab.evidence.sequential import levels
from adapterlab.tracking.client import connect
from adapterlab.tracking.looks import RULE, LookPlan, keep_plan, look_at, read_looks, require_plan
from adapterlab.tracking.servers.errors import unless_read_only
from adapterlab.tracking.study_run import log_report


@pytest.fixture
def store(lab_root: Path, request: pytest.FixtureRequest) -> tuple[Any, str, str]:
    """A client, a study with a run of its own, and its experiment."""
    client = connect(None, lab_root / "looks")
    name = request.node.name
    experiment = client.create_experiment(name)
    client.create_run(experiment, tags={"study": "mine", "kind": "study"})
    return client, "mine", name


def test_a_report_is_a_look_and_the_same_seeds_are_the_same(store: tuple[Any, str, str]) -> None:
    first, said = look_at(*store, [3, 3])
    assert (first.level, said) == (0.05, None)
    assert look_at(*store, [3, 3]) == (first, None)
    second, said = look_at(*store, [5, 3])
    assert second.level == levels([3, 5], 3)[1]
    assert said is not None
    assert "looks at 3 and 5 seeds an arm" in said
    assert look_at(*store, [5, 3]) == (second, said)
    assert read_looks(*store).looks == (first, second)
    assert read_looks(*store).plan is None


class _ReadOnly:
    """A client of a store that may be read: what it would write, sqlite refuses."""

    def __init__(self, client: Any, file: Path) -> None:
        self._client = client
        sqlite3.connect(file).execute("create table it (is_there)")
        self._connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def set_tag(self, *_: str) -> None:
        self._connection.execute("insert into it values (1)")

    def log_batch(self, *_: Any, **__: Any) -> None:
        self.set_tag()


def test_a_store_that_is_read_only_can_be_looked_at_and_reported(
    store: tuple[Any, str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = _ReadOnly(store[0], tmp_path / "store.db")
    look, _ = look_at(client, *store[1:], [3, 3])
    assert look.level == 0.05
    assert read_looks(*store).looks == ()
    log_report(client, *store[1:], tmp_path, ["Nothing."], {"some": ("arm", "name")}, {})
    assert caplog.messages == [
        "the store is read-only: that the study was looked at is not kept",
        "the store is read-only: MLflow has neither this report nor its names of runs",
    ]
    with pytest.raises(sqlite3.OperationalError, match="no such table"), unless_read_only(""):
        sqlite3.connect(tmp_path / "store.db").execute("insert into other values (1)")


def test_a_plan_is_kept_and_holds(store: tuple[Any, str, str]) -> None:
    plan = LookPlan(20, 0.05, "pocock")
    keep_plan(store[0], read_looks(*store), plan)
    assert read_looks(*store).plan == plan
    found = [look_at(*store, [n, n, n])[0].level for n in (3, 5, 8)]
    assert found == levels([3, 5, 8], 20, arms=3)
    require_plan(read_looks(*store), "mine", plan)
    with pytest.raises(
        AdapterLabError, match="study=mine was planned with at most 20 seeds an arm"
    ):
        require_plan(read_looks(*store), "mine", LookPlan(40, 0.05, "pocock"))


def test_a_plan_is_there_whole_or_not_at_all(store: tuple[Any, str, str]) -> None:
    """Two commands begin a sequential study: one reads while the other writes."""
    client, plan = store[0], LookPlan(20, 0.05, "pocock")
    before = read_looks(*store)
    seen: list[LookPlan | None] = []

    class Writing:
        """A client of which somebody reads the store at every write."""

        def __getattr__(self, name: str) -> Any:
            def call(*given: Any, **named: Any) -> Any:
                returned = getattr(client, name)(*given, **named)
                seen.append(read_looks(*store).plan)
                return returned

            return call

    keep_plan(Writing(), before, plan)
    assert plan in seen
    assert set(seen) <= {None, plan}
    # What an earlier version left of one when it was killed is none.
    client.delete_tag(before.run_id, RULE)
    assert read_looks(*store).plan is None
    keep_plan(client, read_looks(*store), plan)
    # The one that comes second has the plan of the first, whatever its own is.
    assert keep_plan(client, read_looks(*store), LookPlan(40, 0.05, "pocock")).plan == plan


def test_no_plan_comes_after_a_look(store: tuple[Any, str, str]) -> None:
    look_at(*store, [5, 5])
    with pytest.raises(
        AdapterLabError, match=r"before its looks were planned, with 5 seeds an arm"
    ):
        require_plan(read_looks(*store), "mine", LookPlan(20, 0.05, "pocock"))


def test_too_few_seeds_are_not_kept(store: tuple[Any, str, str]) -> None:
    assert look_at(*store, [2, 1])[1] is None
    assert read_looks(*store).looks == ()


def test_a_study_without_a_run_of_its_own_keeps_nothing(store: tuple[Any, str, str]) -> None:
    client, _, experiment = store
    for _ in range(2):
        look, said = look_at(client, "other", experiment, [3, 3])
        assert (look.level, said) == (0.05, None)
    assert look_at(client, "other", "no experiment", [4, 4])[0].level == 0.05
