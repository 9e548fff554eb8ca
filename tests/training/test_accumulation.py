"""Gradient accumulation: several batches of a run alone are one step."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.identity import config_hash
from adapterlab.runs.single import run
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")


def small(root: Path, *overrides: str) -> Config:
    limit = "limit={train:80,validation:48,test:48}"
    return tiny(root, "model=mlp", "dataset=digits_rotated", "base=scratch", limit, *overrides)


@pytest.mark.parametrize("size", [32, 16])
def test_two_batches_are_one_of_twice_their_size(size: int, tmp_path: Path) -> None:
    """80 rows: the last step has one batch of 16, or of 8."""
    options = ("adapter=full", "optimizer.lr=0.01")
    whole = run(small(tmp_path, *options, f"batch_size={size}"))
    half = run(small(tmp_path, *options, f"batch_size={size // 2}", "accumulate=2"))
    assert whole.folder != half.folder
    plain = run(small(tmp_path, *options, f"batch_size={size // 2}"))
    torch.testing.assert_close(logits(half), logits(whole), rtol=1e-4, atol=1e-4)
    assert (logits(plain) - logits(whole)).abs().max() > 1e-2


def logits(result: RunResult) -> torch.Tensor:
    table = pq.read_table(result.folder / "predictions.parquet")
    return torch.tensor(table["logits"].to_pylist(), dtype=torch.float64)


def test_a_step_of_one_batch_leaves_the_hash_as_it_was(tmp_path: Path) -> None:
    assert config_hash(small(tmp_path)) == config_hash(small(tmp_path, "accumulate=1"))
    assert config_hash(small(tmp_path)) != config_hash(small(tmp_path, "accumulate=2"))
