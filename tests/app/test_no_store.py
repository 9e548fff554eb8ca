"""Where there is no store, or none can be: programs that read runs make none, and say so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapterlab.app import cli
from adapterlab.app.predict_command import predict
from adapterlab.app.prune_command import prune
from adapterlab.app.sync_command import sync
from adapterlab.base.errors import ConfigError
from adapterlab.tracking.client import connect, require_store
from lab import TINY, Outcome, tiny

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


def test_a_user_without_a_home_logs_nothing_to_mlflow(
    tmp_path: Path, run_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that is started as another user: MLflow cannot be imported there."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    config = tiny(tmp_path, "tracking=mlflow")
    for ask in (lambda: require_store(config), lambda: connect(None, tmp_path)):
        with pytest.raises(ConfigError, match=r"HOME is not set, .* tracking=none"):
            ask()
    for told in (["--help"], [*TINY, "plan=true"], [*TINY, "tracking=none"]):
        outcome = run_cli(*told, root=tmp_path)
        assert outcome.code == 0, outcome
