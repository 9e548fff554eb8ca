"""A command line as people write it, and what is said of one that cannot be understood."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterlab.app.command_line import in_order, parser_of_flags
from adapterlab.app.explaining import not_an_override, one_line
from adapterlab.base.errors import ConfigError
from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import BEFORE_1_4, program
from faults.command_lines import MUTATIONS, lines, made, mutated
from faults.commands import complaint, judged
from faults.trying import Ended, Setting
from faults.untrained import untrained
from lab import Outcome

RunCli = Callable[..., Outcome]

TRIED = 11

NO_TARGET = "Error locating target 'nope.x'" if BEFORE_1_4 else "Target 'nope.x' is not in the"


class ParserMadeError(Exception):
    """Hydra has made its parser: there is no more to see."""


def parser_of_hydra(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    seen: list[argparse.ArgumentParser] = []

    def parse(parser: argparse.ArgumentParser) -> None:
        seen.append(parser)
        raise ParserMadeError

    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, parse)
    with pytest.raises(ParserMadeError):
        program(conf_folder.CONF, "train")(lambda _: None)()
    return seen[0]


def test_flags_are_those_of_the_installed_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(parser: argparse.ArgumentParser) -> set[object]:
        return {
            (
                *sorted(action.option_strings),
                action.dest,
                action.nargs,
                *sorted(action.choices or ()),
            )
            for action in parser._actions
        }

    assert told(parser_of_flags()) == told(parser_of_hydra(monkeypatch))


def test_flags_may_stand_anywhere() -> None:
    given = ["dataset=digits", "-m", "seed=0,1", "-c", "job", "epochs=1"]
    with pytest.raises(ConfigError, match="--multirun and --cfg do not go together"):
        in_order(given, conf_folder.CONF)
    assert in_order(["dataset=digits", "-m", "seed=0,1"], conf_folder.CONF) == [
        "-m",
        "dataset=digits",
        "seed=0,1",
    ]
    given = ["adapter=dora", "--cfg", "job", "-p", "adapter", "adapter.rank=2"]
    assert in_order(given, conf_folder.CONF) == [*given[1:5], "adapter=dora", "adapter.rank=2"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--nope"], "unrecognized arguments: --nope; --hydra-help lists the flags"),
        (["--cfg=nope"], "argument --cfg/-c: invalid choice: 'nope'"),
        (["--resolve"], "--resolve goes with --cfg or --help"),
        (["--package=adapter"], "--package=adapter goes with --cfg"),
        (["--experimental-rerun=x.pickle"], "--experimental-rerun runs what a pickle says"),
        (["--shell-completion"], "--shell-completion takes install=SHELL"),
        (["dataset=[-1]"], "dataset=[-1] should be the name of a choice; allowed: ag_news"),
        (["adapter=[lora,dora]"], "adapter=[lora,dora] should be the name of a choice"),
        (["-m", "adapter=lora,3"], "adapter=lora,3 should be the name of a choice"),
        (["hydra/launcher=null"], "hydra/launcher=null should be the name of a choice"),
        (["=x"], "=x is not of the form option=value"),
        (["seed=" + "9" * 5_000], "a number or a nesting that is too long to be read"),
    ],
    ids=lambda value: value[0][:20] if isinstance(value, list) else "",
)
def test_flags_and_groups_that_are_wrong(arguments: list[str], line: str, run_cli: RunCli) -> None:
    assert line in run_cli(*arguments).error


def test_a_group_may_be_left_out_where_none_is_needed() -> None:
    for option in ("arm=null", "experiment=[demo]", "-m", "adapter=lora,dora", "~adapter"):
        assert in_order([option], conf_folder.CONF) == [option]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("optimizer.lr=${oc.env:NOPE_X}", "optimizer.lr: Environment variable 'NOPE_X' not found"),
        ("seed=${default_root:1}", "seed: default_root() takes 0 positional arguments"),
        ("optimizer.lr='${'", "optimizer.lr=${ is not of the form option=value: not understood"),
        ("hydra.job.env_set.x=1", "hydra.job.env_set.x is not an option; hydra.job.env_set has no"),
        ("hydra.job.chdir=x", "hydra.job.chdir=x: "),
        ("+hydra.callbacks.x._target_=nope.x", NO_TARGET),
    ],
)
def test_what_hydra_objects_to_names_the_option(option: str, said: str, run_cli: RunCli) -> None:
    line = run_cli(option.replace("'", "")).error
    assert line.startswith(said), line
    assert "HYDRA_FULL_ERROR" not in line


def test_a_package_that_is_none_is_one_line(run_cli: RunCli) -> None:
    assert run_cli("--cfg", "job", "-p", "nope").error == "package 'nope' not found in config"


def test_an_error_is_a_line_that_a_terminal_shows() -> None:
    assert one_line("a\n  b\x1b[31m\udcff") == "a b\\x1b[31m\\udcff"
    assert one_line("x=" + "y" * 10_000 + " is wrong") == "x=" + "y" * 58 + "... is wrong"
    assert len(one_line("a " * 5_000)) < 2_000


def test_an_argument_without_a_sign_of_equality_is_no_override() -> None:
    assert not_an_override("epochs", "missing EQUAL at '<EOF>'") == (
        "epochs is not of the form option=value"
    )


REFUSED = (
    ["adapter.rank=0,1"],
    ["hydra/launcher=packed", "adapter.rank=0,1"],
    ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "adapter.rank=0,1"],
    ["hydra/launcher=packed", "adapter.rank=1,2", "hydra.launcher.memory_gib=nan"],
    ["hydra/launcher=joblib", "adapter.rank=1,2", "hydra.launcher.n_jobs=0"],
    ["adapter.rank=1,2", "hydra.sweeper.max_batch_size=0"],
    ["adapter.rank=1,2", "hydra.launcher=null"],
    ["hydra/sweeper=optuna", "optimizer.lr=interval(0.1,1)", "hydra.sweeper.n_trials=0"],
    ["hydra/sweeper=sequential", "adapter=lora,head", "hydra.sweeper.looks=['3']"],
    [
        "hydra/sweeper=sequential",
        "hydra.sweeper.arms=['adapter=lora','adapter=lora adapter.rank=8']",
    ],
    ["hydra/sweeper=tuned", "hydra.sweeper.arms=['adapter=[1]']"],
    ["hydra/sweeper=union", "hydra.sweeper.sweeps=[1]"],
)


@pytest.mark.parametrize("arguments", REFUSED, ids=lambda a: a[-1][-40:])
def test_nothing_follows_a_refusal_of_a_sweep(
    arguments: list[str], run_cli: RunCli, tmp_path: Path
) -> None:
    outcome = run_cli("-m", "base=scratch", "tracking=none", *arguments)
    assert outcome.error  # one line, and only that
    assert outcome.out == ""
    assert not list(tmp_path.rglob("mlflow.db"))


def test_what_is_wrong_with_an_end_is_seen() -> None:
    """The judge of the trials below would not let everything pass."""
    assert complaint(Ended(2, "", "error: x\n")) is None
    assert complaint(Ended(0, "", "warning: x\n")) is None
    assert "not one line" in str(complaint(Ended(2, "", "error: x\nand a table\n")))
    assert "without an error line" in str(complaint(Ended(2, "", "usage: x\n")))
    assert "a traceback" in str(
        complaint(Ended(1, "", "Traceback (most recent call last):\nTypeError: x\n"))
    )
    assert "after it was carried out" in str(complaint(Ended(2, "│ a │\n", "error: x\n")))
    assert "killed" in str(complaint(Ended(-11, "", "")))


def test_mutated_command_lines_are_carried_out_or_refused(tmp_path: Path) -> None:
    import random

    setting = Setting(random.Random("in the suite"), tmp_path, TRIED)
    root = made(tmp_path / "root")
    names = list(MUTATIONS)
    right = lines(None)
    with untrained(tmp_path) as process:
        for number in range(setting.count):
            mutation = names[number % len(names)]
            line = mutated(setting.rng, setting.rng.choice(right), mutation)
            trial = judged(mutation, line, process.command(root, *line.arguments))
            assert trial.held, trial.what
