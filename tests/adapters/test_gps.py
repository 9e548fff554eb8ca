"""GPS: which weights of each output are chosen, by which loss, what is refused, and packs."""

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from adapter_cases import FEATURES, MODELS, build, perturb
from torch import Tensor, nn
from transformer_cases import encoder, tokens

from adapterlab.adapters import GPS, Head, LoRA, SHiRA, Strategy, plan
from adapterlab.adapters.budget import fit
from adapterlab.adapters.methods.gps import before_head, contrastive, largest_of_rows
from adapterlab.adapters.methods.shira import in_rows
from adapterlab.base.errors import ConfigError
from adapterlab.models import MLP
from adapterlab.packing import share_frozen
from adapterlab.packing.trial import try_out

DOUBLE = torch.float64


@dataclass
class Batch:
    inputs: Any
    labels: Tensor


def batches(count: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(8, FEATURES, generator=generator, dtype=DOUBLE) for _ in range(count)]
    return [Batch(x, torch.arange(8) % 3) for x in rows]


def test_the_largest_of_each_row() -> None:
    score = Tensor([[1, 5, 3], [2, 2, 2], [9, 0, 8]])
    assert largest_of_rows(score, 1).tolist() == [1, 3, 6]
    assert largest_of_rows(score, 2).tolist() == [1, 2, 3, 4, 6, 8]
    assert largest_of_rows(score, 7).tolist() == list(range(9))


def test_the_contrastive_loss_by_hand() -> None:
    """Features at right angles: two of one class alike, one of another, which has no partner."""

    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2, 2).double()
            self.head_modules, self.blocks = ("head",), ()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x)

    x = torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.0, 1.0]], dtype=DOUBLE)
    loss = contrastive(Head().apply(Features()), Batch(x, torch.tensor([0, 0, 1])))
    other = torch.tensor([1 / 0.07, 0.0], dtype=DOUBLE)
    torch.testing.assert_close(loss, other.logsumexp(0) - 1 / 0.07)


@pytest.mark.parametrize("score", ["contrastive", "cross_entropy"])
def test_each_output_has_its_largest_gradients(score: Any) -> None:
    base = build(MODELS["mlp"], dtype=DOUBLE)
    strategy = GPS(connections=2, score=score)
    assert strategy.first_batches == 8
    adapted = strategy.apply(copy.deepcopy(base)).eval()
    found = strategy.first_values(adapted, batches(), torch.Generator())
    assert not any(p.requires_grad for n, p in adapted.model.named_parameters() if "base" in n)
    for batch in batches():
        if score == "cross_entropy":
            F.cross_entropy(base(batch.inputs), batch.labels).backward()
            continue
        z = F.normalize(before_head(base, batch.inputs), dim=1)
        of_each = []
        for i in range(8):
            others = [j for j in range(8) if j != i]
            logs = (z[others] @ z[i] / 0.07).log_softmax(0)
            alike = [n for n, j in enumerate(others) if batch.labels[j] == batch.labels[i]]
            of_each.append(-logs[alike].mean())
        torch.stack(of_each).mean().backward()
    assert found.keys() == {f"layers.{i}.shira_indices" for i in range(3)}
    assert found.keys() <= adapted.state().keys()
    for i, layer in enumerate(base.layers):
        places = in_rows(found[f"layers.{i}.shira_indices"], layer.weight)
        order = layer.weight.grad.abs().argsort(dim=1, descending=True, stable=True)
        expected = order[:, :2].sort(1).values
        assert (places.view(-1, 2) % layer.weight.shape[1]).tolist() == expected.tolist()


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "gpt2"])
def test_texts_are_contrasted_by_their_own_tokens(architecture: str) -> None:
    """What padding holds, and how much of it there is, chooses nothing."""
    base = encoder(architecture, dtype=DOUBLE)
    batch = {name: tensor.clone() for name, tensor in tokens(base).items()}
    features = before_head(base.eval(), batch)
    assert features.ndim == 2
    batch["input_ids"] = torch.where(batch["attention_mask"] > 0, batch["input_ids"], 7)
    torch.testing.assert_close(before_head(base, batch), features)
    adapted = GPS().apply(base).eval()
    labels = torch.arange(len(batch["input_ids"])) % 2
    found = adapted.strategy.first_values(adapted, [Batch(batch, labels)], torch.Generator())
    assert found.keys() == adapted.frozen_state(saved=True).keys()


def test_masks_of_data_are_each_lanes_own() -> None:
    base = build(MODELS["mlp"], dtype=DOUBLE)
    models = [GPS(connections=1 + i % 2).apply(copy.deepcopy(base)) for i in range(3)]
    for model, batch in zip(models, batches(), strict=True):
        found = model.strategy.first_values(model, [batch], torch.Generator())
        for name, places in found.items():
            model.state()[name].copy_(places)
        perturb(model)
    share_frozen(models)
    assert try_out(models, batches()[0].inputs, torch.arange(8) % 3) == [0, 1, 2]


def test_a_budget_and_a_plan() -> None:
    with torch.device("meta"):
        model = MLP((20,), 10, widths=(50, 30))
    fitted = fit(GPS(head="freeze"), model, 250)
    assert (fitted.trained, fitted.dial) == (3 * 80, "connections")
    assert fit(GPS(head="freeze"), model, 10**6).trained == 20 * 50 + 50 * 30
    found = plan(GPS(connections=6).apply(build(MODELS["mlp"])))
    assert {layer.name: layer.method for layer in found.layers if layer.adapter} == {
        "layers.0": "GPS, 5 of 5 weights of each output",
        "layers.1": "GPS, 6 of 8 weights of each output",
        "layers.2": "GPS, 6 of 6 weights of each output",
    }


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match=r"adapter\.connections=0 must be 1 or more"):
        GPS(connections=0)
    with pytest.raises(ConfigError, match=r"adapter\.batches=0 must be 1 or more"):
        GPS(batches=0)
    with pytest.raises(ConfigError, match=r"head=adapt needs adapter\.score=cross_entropy: the co"):
        GPS(head="adapt")
    assert GPS(head="adapt", score="cross_entropy").apply(build(MODELS["mlp"]))
    with pytest.raises(ConfigError, match=r"adapter\.score=contrast; .*did you mean contrastive"):
        GPS(score="contrast")  # type: ignore[arg-type]
    adapted = GPS().apply(build(MODELS["mlp"], dtype=DOUBLE)).eval()
    single = Batch(batches()[0].inputs[:3], torch.arange(3))
    with pytest.raises(ConfigError, match="no batch has two; allowed: a larger batch_size, or"):
        adapted.strategy.first_values(adapted, [single], torch.Generator())


@pytest.mark.parametrize("strategy", [GPS(), SHiRA(rank=1, mask="snip"), LoRA(init="lora_ga")])
def test_gradients_are_of_classes(strategy: Strategy) -> None:
    adapted = strategy.apply(build(MODELS["mlp"], dtype=DOUBLE)).eval()
    x = batches()[0].inputs
    for labels, what in ((torch.zeros(8), "numbers"), (torch.zeros(8, 3).long(), "several labels")):
        with pytest.raises(ConfigError, match=f"this task has {what}; allowed: task=single_label"):
            strategy.first_values(adapted, [Batch(x, labels)], torch.Generator())
