"""The law of packs on transformers: their own dropout, attention included, is a lane's own too."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformer_cases import ARCHITECTURES, CLASSES, ROWS, encoder, tokens

from adapterlab.adapters import AdaptedModel, Combined, LoRA, Prompt, PromptedEncoder
from adapterlab.packing import CannotPackError, PackedModel, share_frozen, signature

BOUND = 1e-11

STEPS = 8


def lane_models(architecture: str, strategy: str, frozen_dropout: bool) -> list[AdaptedModel]:
    models = []
    for i in range(2):
        row = ROWS[strategy]
        base = encoder(
            architecture, dtype=torch.float64, dropout=0.1, frozen_dropout=frozen_dropout
        )
        models.append(row.lane(row.strategy, i).apply(base, seed=i).train())
    return models


def trains_embeddings(model: AdaptedModel) -> bool:
    return any(isinstance(m, nn.Embedding) and m.weight.requires_grad for m in model.modules())


CASES = [
    *((strategy, architecture, True) for strategy in ROWS for architecture in ARCHITECTURES),
    *((strategy, list(ARCHITECTURES)[i % 3], False) for i, strategy in enumerate(ROWS)),
]
"""Every row on every architecture, with the dropout of frozen parts; and on one without it."""


@pytest.mark.parametrize(("strategy", "architecture", "frozen_dropout"), CASES)
def test_a_lane_trains_as_its_model_does_alone(
    strategy: str, architecture: str, frozen_dropout: bool
) -> None:
    models = lane_models(architecture, strategy, frozen_dropout)
    if ROWS[strategy].alone or trains_embeddings(models[0]):
        which = "" if ROWS[strategy].alone else "Embedding "
        with pytest.raises(CannotPackError, match=f"{which}has no batched counterpart"):
            PackedModel(models, [0, 0])
        return
    if frozen_dropout and any(isinstance(m, PromptedEncoder) for m in models[0].modules()):
        with pytest.raises(CannotPackError, match="they train different parameters"):
            PackedModel(models, [0, 0])
        return
    share_frozen(models)
    pack = PackedModel(models, [0, 0]).train()
    seeds = [3, 4]
    pack.reseed(seeds, seeds)
    inputs = tokens(models[0])
    labels = torch.arange(6) % CLASSES
    optimizer = torch.optim.SGD([p for p in pack.parameters() if p.requires_grad], lr=0.005)
    losses = []
    for _ in range(STEPS):
        logits = pack(inputs, rows=6)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat(2), reduction="none")
        loss = loss.view(2, -1).mean(1)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        losses.append(loss.detach())
    for k, own in enumerate(lane_models(architecture, strategy, frozen_dropout)):
        torch.manual_seed(seeds[k])
        own.reseed(seeds[k])
        optimizer = torch.optim.SGD(own.trainable().values(), lr=0.005)
        expected = []
        for _ in range(STEPS):
            loss = F.cross_entropy(own(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            expected.append(loss.detach())
        together = torch.stack(losses)[:, k]
        torch.testing.assert_close(together, torch.stack(expected), rtol=BOUND, atol=BOUND)
        state = pack.lane_state(k)
        for name, parameter in own.trainable().items():
            torch.testing.assert_close(state[name], parameter.data, rtol=BOUND, atol=BOUND)


@pytest.mark.parametrize(
    ("lengths", "dropout", "one"),
    [((3, 3), 0.2, True), ((3, 5), 0.0, True), ((3, 5), 0.2, False)],
)
def test_dropout_of_adapters_behind_prompts(
    lengths: tuple[int, int], dropout: float, one: bool
) -> None:
    """A longer prompt in the pack is more to drop: the masks of the others would be other ones."""
    signatures = []
    for length in lengths:
        parts = {
            "lora": LoRA(rank=2, dropout=dropout),
            "prompt": Prompt(num_virtual_tokens=length),
        }
        signatures.append(signature(Combined(parts=parts).apply(encoder("bert"))))
    assert (signatures[0].ground == signatures[1].ground) == one
