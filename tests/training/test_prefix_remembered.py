"""What a trial of a prefix showed is remembered for the same code and weights, and for no other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adapterlab.adapters import Head, LastLayers, LoRA
from adapterlab.training.prefix import frozen_prefix, of_images, remembered
from adapterlab.training.prefix.of_images import use_image_prefix
from small_images import classifier
from small_images import data as images
from small_texts import data, encoder, prefix


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gather the trials that are made."""
    made: list[str] = []
    for module in (frozen_prefix, of_images):
        real: Callable[..., Any] = module._try_out

        def counted(*arguments: Any, real: Callable[..., Any] = real) -> Any:
            made.append(real.__module__.rpartition(".")[2])
            return real(*arguments)

        monkeypatch.setattr(module, "_try_out", counted)
    return made


def test_the_same_texts_are_tried_once(trials: list[str], tmp_path: Path) -> None:
    first = prefix(Head().apply(encoder()), data(encoder()), tmp_path)
    again = prefix(Head().apply(encoder(), seed=3), data(encoder(), order_seed=9), tmp_path)
    assert (first.found, again.found) == (False, True)
    assert (again.depth, again.first_token_only) == (first.depth, first.first_token_only)
    assert len(trials) == 1


def test_the_same_images_are_tried_once(trials: list[str], tmp_path: Path) -> None:
    given: Any = {"max_gib": 1.0, "epochs": 3, "device": torch.device("cpu")}
    found = []
    for seed in (0, 1):
        batches = images()
        adapted = Head().apply(classifier("resnet"), seed=seed).train()
        options = given | {"cache": tmp_path, "precision": "64-true"}
        found.append(use_image_prefix(adapted, batches, **options).found)
        assert adapted.training
        (batch, *_) = batches.batches("validation")
        assert batch.inputs["depth"] == 3
    assert found == [False, True]
    assert trials == ["of_images"]


def another_weight(model: nn.Module) -> None:
    with torch.no_grad():
        next(model.parameters())[0, 0] += 0.1


def another_forward(model: nn.Module) -> None:
    layer = next(module for module in model.modules() if isinstance(module, nn.LayerNorm))
    layer.forward = lambda inputs: nn.LayerNorm.forward(layer, inputs)  # type: ignore[method-assign]


def a_hook(model: nn.Module) -> None:
    model.register_forward_hook(lambda *_: None)


class Unversioned(nn.Dropout):
    """Of a module that has no version."""


Unversioned.__module__ = "lab"


def code_without_a_version(model: nn.Module) -> None:
    model.add_module("own", Unversioned())


@pytest.mark.parametrize(
    "change", [another_weight, another_forward, a_hook, code_without_a_version]
)
def test_what_is_not_the_same_is_tried(
    change: Callable[[nn.Module], None], trials: list[str], tmp_path: Path
) -> None:
    for _ in range(2):
        prefix(Head().apply(encoder()), data(encoder()), tmp_path)
    assert len(trials) == 1
    model = encoder()
    change(model)
    assert prefix(Head().apply(model), data(model), tmp_path).depth
    assert len(trials) == 2


def test_so_are_other_code_strategies_precisions_and_texts(
    trials: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix(Head().apply(encoder()), data(encoder()), tmp_path)
    prefix(LastLayers(n=1).apply(encoder()), data(encoder()), tmp_path)
    prefix(LoRA(rank=2, layers="last 1").apply(encoder()), data(encoder()), tmp_path)
    prefix(Head().apply(encoder()), data(encoder()), tmp_path, precision="bf16-mixed")
    prefix(Head().apply(encoder().double()), data(encoder()), tmp_path)
    assert len(trials) == 5
    monkeypatch.setattr(remembered, "version_tags", lambda: {"code_hash": "another"})
    prefix(Head().apply(encoder()), data(encoder()), tmp_path)
    assert len(trials) == 6


def test_what_is_off_is_tried_each_time(trials: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        adapted = LastLayers(n=1).apply(classifier("swin"))
        given: Any = {"max_gib": 1.0, "epochs": 3, "device": torch.device("cpu")}
        off = use_image_prefix(adapted, images(), cache=tmp_path, precision="64-true", **given)
        assert "cannot go on from layer 1" in off.why
    assert len(trials) == 2
