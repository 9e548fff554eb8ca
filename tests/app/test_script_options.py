"""Programs in scripts/ that are asked for what they have not: a line, and no work."""

import argparse
import importlib
import sys
from pathlib import Path

import pytest

from adapterlab.app.script_options import Parser, at_least, positive, several, share, shares


def test_numbers_are_read() -> None:
    assert at_least(2)("2") == 2
    assert several(1)("1,50") == (1, 50)
    assert shares("0.5,0.97") == (0.5, 0.97)
    assert positive("1e-3") == 0.001
    assert share("0") == 0


@pytest.mark.parametrize("text", ["1", "-3", "x", "2.5", ""])
def test_what_is_no_number_or_too_small_is_refused(text: str) -> None:
    for read in (at_least(2), several(2)):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number, 2 or more"):
            read(text)


@pytest.mark.parametrize("text", ["0", "1", "nan", "half"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"{text}: expected a number between"):
        shares(f"0.5,{text}")


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "half"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    for read in (positive, share):
        with pytest.raises(argparse.ArgumentTypeError, match=f"{text}: expected a number"):
            read(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--stduies 3", "--stduies is not an option; allowed: --help, --studies, --kind (did you "),
        ("--studies x", "--studies: x: expected a whole number, 1 or more"),
        ("--kind c", "--kind: invalid choice: 'c' (choose from"),
        ("more", "more is not an option; allowed: --help, --studies, --kind"),
    ],
)
def test_a_mistake_is_one_line(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser()
    parser.add_argument("--studies", type=at_least(1))
    parser.add_argument("--kind", choices=("a", "b"))
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(given.split())
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")


@pytest.mark.parametrize(
    ("program", "given", "said"),
    [
        ("packs", "--only nosuch", "--only: there is no 'nosuch'; allowed: mlp, peft, lightning,"),
        ("packs", "--only presets --presets depht", "(did you mean depth?)"),
        ("packs", "--only mlp epochs=2", "epochs=2: options are of presets, which --only leaves"),
        ("methods", "--only step", "--only: there is no 'step'; allowed: steps, packs (did you"),
        ("methods", "--models nosuch", "--models: there is no 'nosuch'; allowed: mlp, minilm"),
        ("methods", "--only packs --methods hra,dorra", "(did you mean dora?)"),
        ("methods", "--methods hra", "--methods: there is no 'hra'; allowed: "),
        ("memory", "--models nosuch", "--models: there is no 'nosuch'; allowed: mlp, minilm"),
        ("memory", "--lanes 2,x", "--lanes: x: expected a whole number, 1 or more"),
        ("memory", "--models mlp --lanes 2 optimizer.rate=1", "optimizer.rate"),
        ("texts", "--dataset nosuch", "nosuch"),
        ("texts", "--repeats 0", "--repeats: 0: expected a whole number, 1 or more"),
        ("writers", "--runs 20,many", "--runs: many: expected a whole number, 1 or more"),
        ("bench", "--rows nosuch", "--rows: there is no 'nosuch'; allowed: "),
        ("growth", "--axes lane", "(did you mean lanes?)"),
        ("torture", "nosuch", "there is no kind 'nosuch'; allowed: attacks, caches,"),
        ("torture", "kills --to README.md", "--to: README.md has no place for kills: <!-- begin"),
        ("make_task_sets", "sets --data wrong", "--data: wrong holds no emotion/train*.parquet;"),
        ("metrics", "--like nosuch", "--like: nosuch is in the name of no test split; allowed: "),
    ],
)
def test_programs_refuse_before_any_work(
    program: str,
    given: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("README.md").touch()
    module = importlib.import_module(program)
    monkeypatch.setattr(sys, "argv", [f"{program}.py", *given.split()])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        module.main(*([given.split()] if program == "make_task_sets" else []))
    assert ended.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert said in line
