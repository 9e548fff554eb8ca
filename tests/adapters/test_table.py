"""What a new strategy is easily left out of: the table of laws, and the page of strategies."""

import re
from pathlib import Path

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
