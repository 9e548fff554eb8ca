"""Frozen means frozen: at rate 0 nothing changes but the statistics of norms that are trained."""

import pytest
import torch
from adapter_cases import CLASSES, ROWS, Case, assert_same, build, inputs, snapshot
from convolutional import convolutional, statistics_of_trained_norms
from torch import nn
from transformer_cases import ROWS as TRANSFORMER_ROWS
from transformer_cases import encoder, tokens

from adapterlab.adapters import AdaptedModel, BitFit, Full, Head, LastLayers, LoRA, Strategy
from adapterlab.models import MLP

STEPS = 5
DROPOUT = 0.3


def noisy(strategy: Strategy, *, frozen_dropout: bool = False) -> AdaptedModel:
    def make() -> nn.Module:
        return convolutional(CLASSES, DROPOUT, frozen_dropout=frozen_dropout)

    return strategy.apply(build(make))


def step_at_rate_zero(adapted: AdaptedModel) -> None:
    optimizer = torch.optim.SGD(adapted.trainable().values(), lr=0.0)
    adapted.train()
    for step in range(STEPS):
        loss = nn.functional.cross_entropy(
            adapted(3 + inputs(seed=step)), torch.arange(16) % CLASSES
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("frozen_dropout", [False, True], ids=["quiet", "noisy"])
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.fits("convolutional")])
def test_nothing_changes_but_the_statistics_of_trained_norms(
    name: str, frozen_dropout: bool
) -> None:
    adapted = noisy(ROWS[name].strategy, frozen_dropout=frozen_dropout)
    before, logits = snapshot(adapted.model), adapted.eval()(inputs())
    step_at_rate_zero(adapted)
    after = snapshot(adapted.model)
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert changed == statistics_of_trained_norms(adapted)
    assert changed <= adapted.state().keys()
    if not changed:
        assert torch.equal(adapted.eval()(inputs()), logits)


@pytest.mark.parametrize("name", TRANSFORMER_ROWS)
def test_nothing_changes_in_a_transformer(name: str) -> None:
    model = encoder("bert", dropout=DROPOUT)
    adapted, batch = TRANSFORMER_ROWS[name].strategy.apply(model), tokens(model)
    before, logits = snapshot(adapted.model), adapted.eval()(batch)
    adapted.train()
    for _ in range(2):
        adapted(batch).sum().backward()
        torch.optim.SGD(adapted.trainable().values(), lr=0.0).step()
    assert_same(snapshot(adapted.model), before)
    assert torch.equal(adapted.eval()(batch), logits)


def test_state_holds_what_training_can_change(case: Case) -> None:
    adapted = case.adapted()
    buffers = statistics_of_trained_norms(adapted)
    saved = adapted.frozen_state(saved=True).keys()
    assert adapted.state().keys() == adapted.trainable().keys() | buffers | saved


@pytest.mark.parametrize(
    ("strategy", "drops"),
    [
        (Full(), {0, 1, 2}),
        (Full(head="freeze"), {0, 1, 2}),
        (LastLayers(n=1), {2}),
        (Head(), set()),
        (BitFit(), set()),
        (LoRA(rank=2), set()),
    ],
    ids=["full", "full-frozen-head", "last", "head", "bitfit", "lora"],
)
def test_dropout_of_frozen_layers_is_off_unless_asked_for(
    strategy: Strategy, drops: set[int]
) -> None:
    def dropping(frozen_dropout: bool) -> set[int]:
        model = noisy(strategy, frozen_dropout=frozen_dropout).train().model
        layers = [model.get_submodule(f"model.layers.{i}.drop") for i in range(3)]
        return {i for i, layer in enumerate(layers) if layer.training}

    assert dropping(frozen_dropout=False) == drops
    assert dropping(frozen_dropout=True) == {0, 1, 2}


def test_the_mode_holds_from_the_start() -> None:
    adapted = noisy(Head())
    assert torch.equal(adapted(inputs()), adapted(inputs()))


def test_the_dropout_between_an_mlps_layers_stays_on() -> None:
    adapted = Head(head="train").apply(MLP((5,), CLASSES, widths=(8,), dropout=0.5)).train()
    assert adapted.model.get_submodule("dropout").training
