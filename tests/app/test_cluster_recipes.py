"""The files of docs/recipes: what others carry out is our command line, and it can be meant."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapterlab.app import cli
from lab import CHECKOUT, Outcome

RECIPES = CHECKOUT / "docs" / "recipes"
NAMES = sorted(path.name for path in RECIPES.iterdir())


def of_kubernetes(recipe: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the command of each container, as Kubernetes writes it."""
    for one in recipe["spec"]["template"]["spec"]["containers"]:
        known = {variable["name"]: variable.get("value", "3") for variable in one["env"]}
        yield [
            re.sub(r"\$\((\w+)\)", lambda found: known[found[1]], word)  # noqa: B023
            for word in (*one["command"], *one["args"])
        ]


def of_skypilot(recipe: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the commands of what a shell carries out."""
    for line in recipe["run"].replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        yield [re.sub(r"\$(\w+)", lambda found: recipe["envs"][found[1]], word) for word in words]


def of_comments(text: str) -> Iterator[list[str]]:
    """Yield our commands among those that a file says it is used by."""
    for line in text.splitlines():
        if line.startswith("#   python "):
            yield shlex.split(line.removeprefix("#   "))


def commands(name: str) -> list[list[str]]:
    text = (RECIPES / name).read_text()
    recipe = yaml.safe_load(text)
    of = of_kubernetes if "kind" in recipe else of_skypilot
    return [*of(recipe), *of_comments(text)]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_can_be_meant(
    name: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    found = commands(name)
    trains = 0
    for python, script, *options in found:
        assert python.rpartition("/")[2] == "python"
        assert (CHECKOUT / script).is_file()
        if script == "src/train.py":
            here = ("plan=true", "hardware=cpu", "tracking.uri=null")
            planned = run_cli(*options, *here, root=tmp_path)
            assert planned.code == 0, planned
            assert "What is trained together" in planned.out
            trains += 1
        else:
            program = getattr(cli, Path(script).stem)
            assert run_cli(*options, "--cfg", "job", program=program, root=tmp_path).code == 0
    assert trains == 1
    assert len(found) == 2


def test_all_are_named_where_people_look() -> None:
    page = (CHECKOUT / "docs" / "cluster.md").read_text()
    assert NAMES
    for name in NAMES:
        assert f"(recipes/{name})" in page
