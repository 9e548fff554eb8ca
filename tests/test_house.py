"""The house as CONTRIBUTING shows it is the one that stands, and that import-linter holds."""

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

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


def documents() -> list[Path]:
    """What a reader is told now; docs/experiments.md is a log of what was there at the time."""
    pages = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *CHECKOUT.glob("docs/*.md")]
    return [page for page in pages if page.name != "experiments.md"]


def test_python_in_documents_compiles_and_imports_what_is_there() -> None:
    """Of what a snippet imports from the package, each name exists; read, not imported."""
    snippets = [
        (page.name, snippet)
        for page in documents()
        for snippet in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.M)
    ]
    assert len(snippets) >= 6
    taken = [
        (page, node.module, alias.name)
        for page, snippet in snippets
        for node in ast.walk(ast.parse(snippet, page))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adapterlab")
        for alias in node.names
    ]
    assert len(taken) >= 5
    assert [one for one in taken if one[2] not in _names(one[1])] == []


def test_programs_that_documents_call_are_there() -> None:
    """Each ``python scripts/...`` of a page, and of a script's own words."""
    called = {
        (path.name, program)
        for path in (*documents(), *(CHECKOUT / "scripts").rglob("*.py"))
        for program in re.findall(r"python ((?:scripts|src)/[\w/]+\.py)", path.read_text())
    }
    assert len(called) > 60
    assert [one for one in called if not (CHECKOUT / one[1]).is_file()] == []


def test_links_between_documents_lead_somewhere() -> None:
    """To a file that is there, and to a heading that it has."""
    pages = [*documents(), CHECKOUT / "CHANGELOG.md", CHECKOUT / "mlruns" / "README.md"]
    links = [
        (page, link)
        for page in (*pages, *CHECKOUT.glob("notebooks/*.ipynb"), CHECKOUT / "docs/experiments.md")
        for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page))
        if not link.startswith("http")
    ]
    assert len(links) > 180
    dead = []
    for page, link in links:
        name, _, anchor = link.partition("#")
        place = page.parent / name if name else page
        if not place.exists() or (anchor and anchor not in _anchors(place)):
            dead.append((page.name, link))
    assert dead == []


def test_the_tree_of_the_readme_names_every_program_and_page() -> None:
    tree = (CHECKOUT / "README.md").read_text().partition("## The tree")[2].partition("\n## ")[0]
    named = {line.split()[0]: line for line in tree.splitlines() if line.strip()}
    of_others = {"adapters_parity.py", "results_studies.py"}  # a check beside, a part of results.py
    programs = {path.name for path in CHECKOUT.glob("scripts/*.py")} - of_others
    assert programs == {*re.findall(r"\w+\.py", named["scripts/"])}
    pages = {path.stem for path in CHECKOUT.glob("docs/*.md")}
    assert pages == {*re.findall(r"\w+", named["docs/"].removeprefix("docs/"))}


def test_every_kind_of_fault_has_a_place_on_its_page() -> None:
    page = (CHECKOUT / "docs" / "reliability.md").read_text()
    kinds = [
        path for path in CHECKOUT.glob("scripts/faults/*.py") if "\ndef tries(" in path.read_text()
    ]
    assert len(kinds) > 10
    for kind in kinds:
        assert f"<!-- begin {kind.stem} -->" in page
        assert f"<!-- end {kind.stem} -->" in page


def test_programs_say_what_is_wrong_with_their_options_in_one_line() -> None:
    """By `app.script_options`; what the benchmarks' sides are given, the benchmarks wrote."""
    programs = [path for path in CHECKOUT.glob("scripts/**/*.py") if path.parent.name != "sides"]
    assert len(programs) > 50
    own = [path.name for path in programs if "ArgumentParser(" in path.read_text()]
    assert own == []


def test_nothing_is_committed_that_only_this_machine_has() -> None:
    """A link to an environment replaces the environment of whoever merges it."""
    listed = subprocess.run(
        ["git", "ls-files", "--stage"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    files = [line.split("\t") for line in listed.stdout.splitlines()]
    assert len(files) > 500
    assert [name for mode, name in files if mode.startswith("120000")] == []
    assert [name for _, name in files if name.endswith((".whl", ".gz", ".zip", ".db"))] == []


def _prose(page: Path) -> str:
    """A document without its code."""
    text = page.read_text()
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """What a document's headings are called in links, as GitHub calls them."""
    anchors: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", shown).strip().replace(" ", "-")
        anchors[name] = anchors.get(name, -1) + 1
    return {f"{name}-{n}" if n else name for name, most in anchors.items() for n in range(most + 1)}


def _names(module: str | None) -> set[str]:
    """What a module, or a package's ``__init__.py``, defines or imports at its top."""
    place = CHECKOUT / "src" / str(module).replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    if place.is_dir():
        names |= {path.stem for path in place.iterdir()}
    return names
