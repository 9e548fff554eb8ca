"""What tests of single layers share: shaking what is trained, and parity with PEFT."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adapterlab.adapters import AdaptedModel, LoRA
from adapterlab.adapters.formats.peft import load_peft, save_peft
from adapterlab.models import ClassifierModel

CLOSE = {"rtol": 1e-10, "atol": 1e-12}

_THEIR_NAMES = {
    "lora_A": "lora_A.default.weight",
    "lora_B": "lora_B.default.weight",
    "magnitude": "lora_magnitude_vector.default.weight",
}


@torch.no_grad()
def perturb(adapted: AdaptedModel, seed: int = 2) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapted.trainable().values():
        parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def as_peft_has_it(
    strategy: LoRA, make: Callable[[], ClassifierModel], x: Tensor, folder: Path
) -> tuple[AdaptedModel, Any]:
    """Assert that logits, gradients and file are PEFT's; return our model and theirs.

    Args:
        strategy: it adapts ``layers.0``.
        make: a model of three classes, the same each time.
        x: its inputs.
        folder: for the file.
    """
    peft = pytest.importorskip("peft")
    base = make()
    ours = strategy.apply(copy.deepcopy(base))
    perturb(ours)
    save_peft(ours, folder)
    theirs = peft.PeftModel.from_pretrained(base.model, folder, is_trainable=True).double()
    for logits in (ours(x), theirs(x)):
        (logits * torch.tensor([1.0, -2.0, 0.5])).square().sum().backward()
    torch.testing.assert_close(theirs(x), ours(x), **CLOSE)
    their_gradients = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    for own, parameter in ours.model.model.layers[0].named_parameters(recurse=False):
        gradient = their_gradients[f"base_model.model.layers.0.{_THEIR_NAMES[own]}"]
        assert parameter.grad.abs().max() > 1e-9
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-11)
    fresh = strategy.apply(make())
    load_peft(fresh, folder)
    torch.testing.assert_close(fresh(x), ours(x), **CLOSE)
    return ours, theirs
