"""The house as CONTRIBUTING shows it is the one that stands, and that import-linter holds."""

import re
import tomllib

from lab import CHECKOUT

PACKAGE = CHECKOUT / "src" / "adapterlab"


def test_the_list_of_rooms_is_true() -> None:
    section = (CHECKOUT / "CONTRIBUTING.md").read_text().partition("## The house")[2]
    shown = re.findall(r"^\| `(\w+)/` \| (.+) \|$", section.partition("\n## ")[0], re.MULTILINE)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    contract, *_ = project["tool"]["importlinter"]["contracts"]
    assert [room for room, _ in shown] == contract["layers"][::-1]
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(contract["layers"])
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


def test_no_module_and_no_file_of_tests_is_longer_than_350_lines() -> None:
    code = [
        path for room in ("src", "tests", "scripts") for path in (CHECKOUT / room).rglob("*.py")
    ]
    assert len(code) > 400
    lines = {path: path.read_text().count("\n") for path in code}
    assert {path.name: count for path, count in lines.items() if count > 350} == {}


def test_files_of_tests_have_names_of_their_own() -> None:
    """Two of one name are one module for pytest, and the second is not run."""
    names = [path.name for path in (CHECKOUT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_files_that_documents_name_are_there() -> None:
    """Paths of code in backquotes: ``packing/layers.py``."""
    documents = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *CHECKOUT.glob("docs/*.md")]
    named = {
        (path.name, name)
        for path in documents
        if path.name != "experiments.md"  # a log: it names what was there at the time
        for name in re.findall(r"`((?:\w+/)+\w+\.py)`", path.read_text())
    }
    assert len(named) > 8
    roots = (CHECKOUT, CHECKOUT / "src", PACKAGE)
    gone = [one for one in named if not any((root / one[1]).is_file() for root in roots)]
    assert [one for one in gone if not one[1].endswith("/NAME.py")] == []
