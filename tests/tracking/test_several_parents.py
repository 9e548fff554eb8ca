"""Machines without a shared root that begin a study at the same moment: one run stands for it."""

import time
from pathlib import Path
from typing import Any

import pytest

from adapterlab.tracking.client import connect
from adapterlab.tracking.study_run import PARENT, end_multirun, find_study_run, open_study_run

PROCESS = "0badcafe-0badcafe-17-99"


def multirun(began: int, name: str) -> str:
    return f"{began}-{name}-{PROCESS}"


class Late:
    """The client of a machine that is slow: while it makes a run, another machine does."""

    def __init__(self, client: Any, meanwhile: Any) -> None:
        self._client, self._meanwhile = client, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_run(self, *arguments: Any, **how: Any) -> Any:
        self._meanwhile()
        return self._client.create_run(*arguments, **how)


@pytest.mark.parametrize("slow_began", [-1000, 1000])
def test_two_roots_on_one_store(slow_began: int, lab_root: Path, tmp_path: Path) -> None:
    client = connect(None, lab_root / "mlruns")
    study, now = f"two-roots-{slow_began > 0}", int(time.time() * 1000)
    experiment = client.create_experiment(study)
    fast, slow = multirun(now, "fast"), multirun(now + slow_began, "slow")
    locks = [tmp_path / "a.lock", tmp_path / "b.lock"]
    opened: list[str] = []

    def child(parent: str) -> str:
        tags = {"study": study, "kind": "run", PARENT: parent}
        run_id = client.create_run(experiment, tags=tags).info.run_id
        client.set_terminated(run_id)
        return str(run_id)

    def meanwhile() -> None:
        opened.append(open_study_run(client, experiment, study, locks[0], fast))
        client.set_tag(opened[0], "study.looks", "[]")
        children.append(child(opened[0]))

    children: list[str] = []
    late = Late(client, meanwhile)
    opened.append(open_study_run(late, experiment, study, locks[1], slow))
    children.append(child(opened[1]))
    children.append(child(opened[0]))  # the other goes on with what it knows
    end_multirun(client, study, study, fast, "FINISHED")
    end_multirun(client, study, study, slow, "FINISHED")
    own = client.search_runs([experiment], "tags.kind = 'study'")
    assert [run.info.run_id for run in own] == [opened[1]]
    assert (opened[0] == opened[1]) == (slow_began > 0)
    assert own[0].info.status == "FINISHED"
    assert own[0].data.tags["study.looks"] == "[]"
    parents = {client.get_run(run_id).data.tags[PARENT] for run_id in children}
    assert parents == {opened[1]}
    found = find_study_run(client, study, study)
    assert found is not None
    assert found.info.run_id == opened[1]


def test_of_two_that_began_together_all_name_the_same(lab_root: Path) -> None:
    client = connect(None, lab_root / "mlruns")
    experiment = client.create_experiment("together")
    tags = {"study": "together", "kind": "study"}
    made = [client.create_run(experiment, start_time=5, tags=tags).info.run_id for _ in range(3)]
    found = find_study_run(client, "together", "together")
    assert found is not None
    assert found.info.run_id == min(made)
