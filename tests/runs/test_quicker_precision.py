"""Where a CPU has bfloat16, transformers are told of it."""

from pathlib import Path

import pytest
import torch

from adapterlab.runs.plan_warnings import quicker_precision
from lab import tiny

CPU = ("hardware.accelerator=cpu", "hardware.precision=auto")
TEXTS = ("model=distilbert", "base=scratch", "dataset=emotion", *CPU)


@pytest.mark.parametrize(
    ("options", "capabilities", "said"),
    [
        (TEXTS, {"avx512_bf16": True}, True),
        (TEXTS, {"amx_bf16": True, "avx512_bf16": False}, True),
        (TEXTS, {"amx_bf16": False}, False),
        (TEXTS, {}, False),
        ((*TEXTS, "hardware.precision=32-true"), {"amx_bf16": True}, False),
        (("model=mlp", *CPU), {"amx_bf16": True}, False),
    ],
)
def test_it_is_named_where_it_is(
    options: tuple[str, ...],
    capabilities: dict[str, bool],
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    sentence = quicker_precision(tiny(tmp_path, *options))
    assert (sentence is not None) == said
    if sentence is not None:
        assert "hardware.precision=bf16-mixed takes less time" in sentence


def test_an_older_torch_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert quicker_precision(tiny(tmp_path, *TEXTS)) is None
