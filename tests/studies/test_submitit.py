"""Packs as jobs of submitit, without Slurm: left alone, collected, and ended by signals."""

import errno
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from adapterlab.base.errors import AdapterLabError, MemoryLackError, RunLostError
from adapterlab.studies.engines import Work, submitit
from adapterlab.studies.engines.clusters import submitit_jobs
from adapterlab.studies.engines.clusters.on_node import Errand, Stopped
from adapterlab.studies.engines.clusters.submitit_jobs import Job
from adapterlab.studies.engines.submitit import Options, SubmititEngine
from adapterlab.studies.tasks import execution
from adapterlab.studies.tasks.adopted import alone_with_tasks, taken_up
from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.records import (
    Record,
    read_there,
    records,
    run_names,
    state_of,
    tasks_of,
    write,
)
from adapterlab.studies.tasks.sent import Sent
from adapterlab.tracking.stores.uris import default_uri
from engine_lab import metrics_of
from lab import TINY, Outcome, tiny

SWEEP = ("-m", "hydra/launcher=packed", *TINY[:2], *TINY[3:-1], "base=scratch", "adapter=full")
SUBMITIT = ("hydra.launcher.engine=submitit", "hydra.launcher.cluster=local")


@pytest.mark.usefixtures("no_pictures")
def test_a_study_is_left_alone_and_collected(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    seeds = ("init_seed=0", "order_seed=0,1")
    there = (*SWEEP, *seeds, *SUBMITIT, "hydra.launcher.processes=2", "study=there")
    left = run_cli(*there, "hydra.launcher.wait=false", root=tmp_path)
    assert left.code == 0, left
    assert "Submitted to this machine" in left.out
    assert "Study there" not in left.out
    refused = run_cli(*there, root=tmp_path)
    assert "task" in refused.error
    assert "resume=true takes them up" in refused.error
    collected = run_cli(*there, "resume=true", root=tmp_path)
    assert collected.code == 0, collected
    assert "Study there" in collected.out

    here = run_cli(*SWEEP, *seeds, "hydra.launcher.processes=1", "study=here", root=tmp_path)
    assert here.code == 0, here
    assert len(reference := metrics_of(tmp_path, "here")) == 2
    for name, metrics in metrics_of(tmp_path, "there").items():
        assert metrics == pytest.approx(reference.pop(name), rel=1e-4, abs=1e-6)
    assert not reference
    client = MlflowClient(default_uri(tmp_path / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    runs = client.search_runs([experiment], "tags.study = 'there'")
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    tasks = tasks_of(tmp_path / "mlruns", "there")
    assert {state_of(one, read_there(tasks, one.id)) for one in records(tasks)} == {"done"}


@pytest.fixture
def errand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Errand:
    monkeypatch.setattr(Errand, "_set_up", lambda errand: None)  # of a process of its own
    config = tiny(tmp_path, "study=there", "base=scratch")
    return Errand(Task((config, config), packed=True, id="t"), tmp_path / "tasks")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_task_ends_by_a_signal_after_its_runs(
    number: signal.Signals, errand: Errand, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []
    resumed: list[bool] = []

    def outcomes(task: Task, data: object, moved: Callable[[float], None]) -> list[Any]:
        resumed.append(task.configs[0].resume)
        moved(0.5)
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except SystemExit:
            heard.append("marked")
            os.kill(os.getpid(), signal.SIGTERM)  # once is enough
            raise
        return []

    monkeypatch.setattr(execution, "outcomes_of", outcomes)
    monkeypatch.setattr(submitit_jobs, "_fail_in_the_end", lambda: heard.append("failed"))
    before = signal.signal(signal.SIGUSR2, lambda *_: heard.append("requeued"))
    try:
        for attempt in range(1, 4):
            heard.clear()
            came_of = Job(errand)()
            assert isinstance(came_of, Stopped)
            assert number.name in came_of.why
            # After three attempts that came no epoch further, it is left to the command.
            again = number == signal.SIGUSR2 and attempt < 3
            assert heard == ["marked", *(["requeued"] if again else []), "failed"]
            there = read_there(errand.folder, "t")
            assert there is not None
            assert (there.state, there.attempts, there.idle) == ("stopped", attempt, attempt)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert resumed == [False, True, True]


def test_a_run_that_fails_fails_its_job(errand: Errand, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    lost = RunLostError("diverged")
    monkeypatch.setattr(execution, "outcomes_of", lambda *_: ["a", lost])
    monkeypatch.setattr(submitit_jobs, "_fail_in_the_end", lambda: heard.append("failed"))
    came_of = Job(errand)()
    assert isinstance(came_of, list)
    assert came_of[0] == "a"
    assert heard == ["failed"]
    there = read_there(errand.folder, "t")
    assert there is not None
    assert (there.state, there.error) == ("failed", "diverged")


def test_what_an_earlier_command_has_left(errand: Errand) -> None:
    (config, _), folder = errand.task.configs, errand.folder
    engine = SubmititEngine(Options(cluster="local", processes=1), Work(folder, "there"))
    own = Record("a", "submitit", "999999999", run_names([config]), True, "going", 1.0)
    write(folder, own)
    write(folder, replace(own, id="b", runs=("of-another-sweep",), submitted=2.0))
    asked: dict[str, Any] = {"configs": [config], "study": "there", "resume": False}
    # No process has that number, and there is no result.
    assert taken_up(folder, "submitit", engine, **asked) == []
    assert [record.state for record in records(folder)] == ["failed", "going"]
    second = alone_with_tasks(folder, "there")
    with (
        alone_with_tasks(folder, "there"),
        pytest.raises(AdapterLabError, match="another command waits for its tasks"),
        second,
    ):
        raise AssertionError


@pytest.mark.parametrize(
    ("word", "error"), [("CANCELLED", RunLostError), ("OUT_OF_MEMORY", MemoryLackError)]
)
def test_a_job_that_ends_without_a_word_is_lost(
    word: str, error: type[Exception], errand: Errand, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = errand.folder
    (commands := folder / "bin").mkdir(parents=True)
    said = {"srun": "", "sbatch": "Submitted batch job 17", "squeue": f"17_0|{word}\\n17_1|PENDING"}
    for name, line in said.items():
        (commands / name).write_text(f"#!/bin/sh\nprintf '{line}\\n'\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(submitit, "ASK_SECONDS", 1.0)
    monkeypatch.setattr(submitit, "GRACE_SECONDS", 1.5)  # over several looks, and one question
    look, away = Sent.look, [OSError(errno.ESTALE, "Stale file handle")]

    def looked(sent: Sent, folder: Path) -> None:
        if away:
            raise away.pop()
        look(sent, folder)

    monkeypatch.setattr(Sent, "look", looked)
    with closing(SubmititEngine(Options(mem_gb=1.5), Work(folder, "there"))) as engine:
        lost, waits = engine.submit(errand.task), engine.submit(replace(errand.task, id="u"))
        engine.send()
        assert (engine.name(lost), engine.name(waits)) == ("17_0", "17_1")
        with pytest.raises(error, match=f"job 17_0 ended as {word}; it has left no log"):
            lost.result(20)
        assert not waits.running()
    script = next((folder / "submitit").glob("*.sh")).read_text()
    for line in ("--array=0-1%2", "--mem=1536MB", "--signal=USR2@90", "--requeue"):
        assert f"#SBATCH {line}\n" in script
    assert "export PYTHONPATH=" in script
