"""Fixtures of the packing tests, and the table of strategies that the adapter tests share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# Under --import-mode=importlib a test folder is not importable by itself.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "adapters")]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products only lose by a second thread, above all beside another test process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
