"""Dropout of what is frozen is off, unless it is asked for."""

import pytest
import torch
from torch import nn

from adapterlab.adapters import AdapterLayer, BitFit, DoRA, Full, Head, LastLayers, LoRA, Strategy
from adapterlab.models.hub import bert_tiny


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestFrozenDropout:
    """Which modules would drop anything while training."""

    @staticmethod
    def dropping(strategy: Strategy, *, frozen_dropout: bool = False) -> set[str]:
        model = bert_tiny(
            2, vocab_size=30, hidden_size=16, frozen_dropout=frozen_dropout, generator=seeded(0)
        )
        adapted = strategy.apply(model).eval().train()
        return {
            name.removeprefix("model.bert.")
            for name, module in adapted.model.named_modules()
            if isinstance(module, nn.Dropout) and module.training
        }

    EMBEDDINGS = frozenset({"embeddings.dropout"})
    HEAD = frozenset({"model.dropout"})

    @staticmethod
    def block(index: int) -> set[str]:
        parts = ("attention.self", "attention.output", "output")
        return {f"encoder.layer.{index}.{part}.dropout" for part in parts}

    def test_full_keeps_all_of_it(self) -> None:
        everything = self.EMBEDDINGS | self.block(0) | self.block(1)
        assert self.dropping(Full()) == everything | self.HEAD
        assert self.dropping(Full(head="freeze")) == everything

    def test_last_layers_keep_theirs(self) -> None:
        assert self.dropping(LastLayers(n=1)) == self.block(1) | self.HEAD

    @pytest.mark.parametrize(
        "strategy",
        [Head(), LoRA(rank=2), LoRA(rank=2, targets="query"), DoRA(rank=2), BitFit()],
        ids=lambda strategy: type(strategy).__name__,
    )
    def test_a_frozen_base_has_none(self, strategy: Strategy) -> None:
        assert self.dropping(strategy) == self.HEAD

    def test_an_adapted_head_has_none(self) -> None:
        assert self.dropping(LoRA(rank=2, head="adapt")) == set()

    def test_all_of_it_stays_if_asked_for(self) -> None:
        everything = self.dropping(Full())
        assert self.dropping(LoRA(rank=2), frozen_dropout=True) == everything

    def test_two_passes_in_training_give_the_same_features(self) -> None:
        inputs = {"input_ids": torch.arange(5, 25).view(2, 10)}
        for frozen_dropout, same in ((False, True), (True, False)):
            model = bert_tiny(
                2, vocab_size=30, hidden_size=16, frozen_dropout=frozen_dropout, generator=seeded(0)
            )
            adapted = LoRA(rank=2, head="adapt").apply(model).train()
            assert torch.equal(adapted(inputs), adapted(inputs)) is same

    def test_adapter_dropout_is_not_touched(self) -> None:
        model = bert_tiny(2, vocab_size=30, hidden_size=16, generator=seeded(0))
        strategy = LoRA(rank=2, head="adapt", dropout=0.5, init="both_normal", init_std=0.5)
        adapted = strategy.apply(model).train()
        layers = [m for m in adapted.model.modules() if isinstance(m, AdapterLayer)]
        assert len(layers) == 2 * 6 + 2
        for layer in layers:
            assert all(module.training is not (module is layer.base) for module in layer.modules())
        inputs = {"input_ids": torch.arange(5, 25).view(2, 10)}
        assert not torch.equal(adapted(inputs), adapted(inputs))
        adapted.eval()
        assert torch.equal(adapted(inputs), adapted(inputs))
