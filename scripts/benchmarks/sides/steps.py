"""Steps of training, ours and PEFT's, of `methods.py`: `["mlp", "lora", "PEFT"]` on a line."""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import asked
import methods
import torch


def turn_of(model: str, method: str, side: str) -> Callable[[], object]:
    """Return some steps that are ready to go."""
    ours, theirs = methods.METHODS[method]
    return methods.ready(model, ours() if side == "AdapterLab" else theirs)


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked.answer(turn_of)
