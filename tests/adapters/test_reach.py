"""How much of a body adapters reach, and adapters that no gradient can come to."""

import pytest
import torch
from torch import nn
from transformer_cases import encoder, tokens

from adapterlab.adapters import BitFit, Combined, DoRA, LoRA, plan
from adapterlab.adapters.plan import never_learning, refuse_idle
from adapterlab.base.errors import ConfigError


def test_the_share_of_the_body_that_adapters_reach() -> None:
    assert plan(LoRA(rank=2).apply(encoder("gpt2"))).reached == 1.0
    assert plan(BitFit().apply(encoder("gpt2"))).reached is None
    squeezed = plan(LoRA(rank=2).apply(encoder("squeezebert")))
    assert squeezed.reached == pytest.approx(0.15384615)
    assert squeezed.beside == ("Conv1d",)
    both = LoRA(rank=2, targets=["all-linear", "all-conv"])
    assert plan(both.apply(encoder("squeezebert"))).reached == 1.0
    block = 12 * 32**2 * 2 / 3  # of a feed-forward layer twice as wide
    query = plan(DoRA(rank=2, targets="query").apply(encoder("bert"))).reached
    assert query == pytest.approx(2 * 32**2 / (2 * block + 32**2))


def test_an_adapter_beside_the_logits_never_learns() -> None:
    model = encoder("bert")
    model.model.bert.spare = nn.Linear(32, 32)
    parts = {"lora": LoRA(rank=2, targets=["query", "*spare"]), "biases": DoRA(targets="value")}
    adapted = Combined(parts=parts).apply(model)
    dead = never_learning(adapted, tokens(adapted))
    assert dead == ("model.bert.spare",)
    assert adapted.training
    with pytest.raises(ConfigError, match=r"model\.bert\.spare: no part of the logits"):
        refuse_idle(dead)
    assert never_learning(BitFit().apply(encoder("bert")), {}) == ()


def test_it_is_found_without_weights() -> None:
    with torch.device("meta"):
        model = encoder("bert")
        model.model.bert.spare = nn.Linear(32, 32)
    ids = torch.zeros(2, 4, dtype=torch.long, device="meta")
    assert never_learning(LoRA(rank=2).apply(model), {"input_ids": ids}) == ("model.bert.spare",)
