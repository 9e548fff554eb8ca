"""`--help` by our own words, and what becomes of a command whose output nobody reads."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from adapterlab.app import cli
from adapterlab.app.cancel_command import cancel
from adapterlab.app.help import help_asked
from adapterlab.app.predict_command import predict
from adapterlab.app.prune_command import prune
from adapterlab.app.status_command import status
from adapterlab.app.sync_command import sync
from adapterlab.base.interrupts import UNREAD
from lab import CHECKOUT, Outcome, environment

PROGRAMS = (
    *(cli.train, cli.evaluate, cli.export, cli.report, cli.selfcheck),
    *(predict, prune, status, cancel, sync),
)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_it_is_what_hydra_would_print(
    program: Callable[[], None],
    run_cli: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = run_cli("--help", program=program)
    monkeypatch.setattr(cli, "help_asked", lambda arguments: None)
    hydras = run_cli("--help", program=program)
    assert ours == hydras
    assert ours.code == 0
    assert ours.out.count("\n") > 10


def test_it_shows_what_is_chosen(run_cli: Callable[..., Outcome]) -> None:
    shown = run_cli("--help", "run=mine", "split=validation", program=cli.evaluate).out
    assert "run: mine\nsplit: validation\n" in shown
    assert "${oc.env:ADAPTERLAB_ROOT," in shown
    resolved = run_cli("--help", "run=mine", "--resolve", program=cli.evaluate).out
    assert "run: mine\n" in resolved
    assert "${" not in resolved


def test_a_mistake_beside_it_is_said(run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli("--help", "adapter=lorra")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: adapter=lorra does not exist; allowed: ")
    assert outcome.err.endswith("(did you mean lora?)\n")


@pytest.mark.parametrize(
    "arguments",
    [["adapter=lora"], ["--hydra-help"], ["--help", "--config-dir", "own"], ["--help", "-m"]],
    ids=" ".join,
)
def test_all_else_is_hydras(arguments: list[str]) -> None:
    assert help_asked(arguments) is None


@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"]], ids=" ".join)
def test_output_that_nobody_reads_ends_a_command(flags: list[str], tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    ended = subprocess.run(
        [sys.executable, CHECKOUT / "src" / "train.py", *flags],
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
        timeout=120,
    )
    os.close(writes)
    assert (ended.returncode, ended.stderr) == (UNREAD, "")


@pytest.mark.parametrize("program", [*CHECKOUT.glob("conf/*.yaml")], ids=lambda path: path.stem)
def test_no_option_is_called_as_a_folder_of_choices(program: Path) -> None:
    """Hydra would look for the value in the folder: `tracking=false` for a file of that name."""
    options = yaml.safe_load(program.read_text())
    groups = {path.name for path in CHECKOUT.glob("conf/*/")} - {"hydra"}
    assert not groups & options.keys()
