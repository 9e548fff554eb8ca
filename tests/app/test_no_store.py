"""Programs that read runs, at a root where nobody has trained: they say so, and make no store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapterlab.app import cli
from adapterlab.app.predict_command import predict
from adapterlab.app.prune_command import prune
from adapterlab.app.sync_command import sync
from lab import Outcome

READING: dict[str, tuple[Callable[[], None], list[str]]] = {
    "report": (cli.report, ["study=mine"]),
    "selfcheck": (cli.selfcheck, ["study=mine"]),
    "evaluate": (cli.evaluate, ["run=mine"]),
    "export": (cli.export, ["run=mine", "to=folder"]),
    "prune": (prune, ["run=mine"]),
    "predict": (predict, ["run=mine", "input=rows.csv", "output=answers.csv"]),
    "predict by an arm": (
        predict,
        ["study=mine", "arm_name=lora", "input=rows.csv", "output=answers.csv"],
    ),
    "sync": (sync, []),
}


@pytest.mark.parametrize("program", READING)
def test_a_root_without_runs_gets_no_store(
    program: str, run_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    main, options = READING[program]
    (tmp_path / "rows.csv").write_text("text\nsome words\n")
    outcome = run_cli(*[o.replace("=rows", f"={tmp_path}/rows") for o in options], program=main)
    assert outcome.code != 0
    assert ("there is no run in " if main is sync else "there is no store of runs at ") in (
        outcome.error
    )
    assert not options or outcome.error.startswith(options[0])
    assert not list(tmp_path.rglob("*.db"))
