"""Options that float32 cannot hold are refused before anything is trained, in one line."""

from pathlib import Path

import pytest

from adapterlab.base.errors import ConfigError
from adapterlab.runs.check import check
from lab import tiny


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["optimizer.lr=1e300"], r"optimizer\.lr=1e\+300 is no float32; at most 3\.4e\+38 is"),
        (["optimizer.weight_decay=1e39"], r"optimizer\.weight_decay=1e\+39 is no float32"),
        (["optimizer.clip_norm=1e39"], r"optimizer\.clip_norm=1e\+39 is no float32"),
        (["optimizer.eps=1e39"], r"optimizer\.eps=1e\+39 is no float32"),
        (["optimizer.eps=1e-300"], r"optimizer\.eps=1e-300 is zero as a float32; 1\.2e-38 or more"),
        (["optimizer.lr=1e38"], r"optimizer\.lr=1e\+38: adamw's first step, .* = 1e\+39, is no"),
        (["optimizer=sgd", "optimizer.lr=1e300"], r"optimizer\.lr=1e\+300 is no float32"),
        (["base.optimizer.lr=1e300"], r"base\.optimizer\.lr=1e\+300 is no float32"),
        (["hardware.precision=bf16-mixed", "optimizer.lr=1e300"], "is no float32"),
    ],
)
def test_refused(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        check(tiny(tmp_path, *options))


@pytest.mark.parametrize(
    "options",
    [
        ["optimizer.lr=1e300", "hardware.precision=64-true"],
        ["optimizer=sgd", "optimizer.lr=1e38"],
        ["optimizer.eps=1e-30", "optimizer.clip_norm=1e38"],
    ],
)
def test_what_the_precision_holds_is_allowed(options: list[str], tmp_path: Path) -> None:
    assert check(tiny(tmp_path, *options)) is not None
