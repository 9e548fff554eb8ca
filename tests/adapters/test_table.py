"""What a new strategy is easily left out of: the table of laws, and the page of strategies."""

import inspect
import re
from pathlib import Path
from pydoc import locate
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from adapter_cases import ROWS
from omegaconf import OmegaConf
from transformer_cases import ROWS as ROWS_OF_TEXTS

import adapterlab.adapters
from adapterlab.adapters import Combined, Strategy

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "conf" / "adapter").glob("*.yaml"))

NO_ROW = {"Strategy", "Continued"}
"""What others derive from, and what is of a file in PEFT's format (`test_continued.py`)."""

OF_FILES = {"defaults", "name", "label", "_target_", "parts", "dial_of"}
"""In files of conf/adapter: what people and Hydra need, and what a combination is made of."""


def test_every_strategy_has_a_row_for_the_laws() -> None:
    exported = [getattr(adapterlab.adapters, name) for name in adapterlab.adapters.__all__]
    strategies = {s.__name__ for s in exported if isinstance(s, type) and issubclass(s, Strategy)}
    rows = {**ROWS, **ROWS_OF_TEXTS}
    held = [row.strategy for row in rows.values()]
    held += [p for one in held if isinstance(one, Combined) for p in one.parts.values()]
    assert strategies - {type(one).__name__ for one in held} - NO_ROW == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_strategy_is_on_the_page(file: Path) -> None:
    assert OmegaConf.load(file).name == file.stem
    page = (ROOT / "docs" / "strategies.md").read_text()
    assert re.search(rf"[`=,]{file.stem}[`, ]", page)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_file_has_every_option_with_the_default_that_the_class_has(file: Path) -> None:
    node: Any = OmegaConf.to_container(OmegaConf.load(file))
    options = inspect.signature(_strategy(file)).parameters
    written = {key: value for key, value in node.items() if key not in OF_FILES}
    assert written.keys() == options.keys() - OF_FILES
    for name, value in written.items():
        default = options[name].default
        as_written = [*default] if isinstance(default, tuple) else default
        assert value == as_written or str(value).startswith("${"), name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_comments_name_every_choice(file: Path) -> None:
    """As ``init: kaiming  # kaiming, gaussian, ...``; of heads the class says what is allowed."""
    strategy, text = _strategy(file), file.read_text()
    choices = {name: _choices(hint) for name, hint in get_type_hints(strategy).items()}
    choices["head"] = {*strategy.allowed_heads}
    if strategy is Combined or file.stem == "lora_fa":
        del choices["head" if strategy is Combined else "init"]  # as far as its parts, or it, can
    for name, allowed in choices.items():
        said = re.search(rf"^{name}: .*#.*(?:\n +#.*)*", text, re.MULTILINE)
        if said and allowed:
            assert allowed <= {*re.findall(r"\w+", said[0])}, name
    if "adapt" not in strategy.allowed_heads:
        assert not re.search(r"^head: .*\badapt\b", text, re.MULTILINE)


def _strategy(file: Path) -> type[Strategy]:
    strategy: type[Strategy] = locate(OmegaConf.load(file)._target_)
    return strategy


def _choices(hint: Any) -> set[str]:
    """The names that an option's type allows, also within a union."""
    if get_origin(hint) is Literal:
        return {*get_args(hint)}
    return {name for part in get_args(hint) for name in _choices(part)}
