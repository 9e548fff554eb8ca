"""Heads that say numbers in their own unit, and those that cannot."""

import pytest
import torch
from torch import nn

from adapterlab.adapters import LoRA
from adapterlab.base.errors import ConfigError
from adapterlab.data.targets import Scale
from adapterlab.models import MLP, wrapped
from adapterlab.runs.own_unit import for_a_while, in_own_unit, standardised

SCALE = Scale(7.0, 0.3)


def network() -> nn.Module:
    return MLP((4,), 1, widths=(3,))


def test_a_scale_is_undone_taken_up_and_left_as_it_was_to_the_last_bit() -> None:
    model, x = network(), torch.randn(5, 4)
    before = model(x)
    with for_a_while(model, SCALE):
        torch.testing.assert_close(model(x), before * 0.3 + 7)
    assert torch.equal(model(x), before)
    in_own_unit(model, SCALE)
    standardised(model, SCALE)
    torch.testing.assert_close(model(x), before)


def test_a_head_that_cannot_is_told_what_can() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.top = nn.Linear(4, 4), nn.Linear(4, 1, bias=False)

    bare = wrapped(Bare, head="top", blocks=["body"], generator=torch.Generator())
    adapted = LoRA(rank=1, head="adapt", targets=["head"]).apply(network()).model
    for model, said in ((bare, "no linear layer with a bias"), (adapted, "head .* is adapted")):
        for change in (in_own_unit, standardised):
            change(model, Scale())
            with pytest.raises(ConfigError, match=rf"{said}.*; loss\.standardize=false learns"):
                change(model, SCALE)
