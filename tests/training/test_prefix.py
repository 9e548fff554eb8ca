"""Training on features of the frozen layers is training on the texts."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before Lightning, which imports torchvision

# isort: split

import pytorch_lightning as pl
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters import AdaptedModel, BitFit, DoRA, Full, Head, LastLayers, LoRA, Strategy
from adapterlab.adapters.frozen import frozen_depth
from adapterlab.config.optimizers import Optimizer
from adapterlab.data.text import TextBatches, TokenFeatures, cut
from adapterlab.models import MLP
from adapterlab.models.hub import bert_tiny
from adapterlab.models.transformer import TransformerClassifier
from adapterlab.training.lightning.classifier import Classifier
from adapterlab.training.lightning.data import LightningData
from adapterlab.training.predicting import predict
from small_texts import CLASSES, VOCABULARY, WIDTH, data, encoder, prefix, texts

STRATEGIES: dict[str, Strategy] = {
    "head": Head(),
    "last_layers-1": LastLayers(n=1),
    "lora-last-1": LoRA(
        rank=2, alpha=3, targets=["attention", "ffn"], layers="last 1", dropout=0.3
    ),
    "dora-last-1": DoRA(rank=2, alpha=3, targets=["attention", "ffn"], layers="last 1"),
}


def train(
    adapted: AdaptedModel, module: TextBatches, *, epochs: int = 3
) -> tuple[list[float], dict[str, Tensor]]:
    """Take SGD steps over all batches; return the losses and what was trained.

    Adam would make whole steps of rounding where that is all of a gradient (a key's bias).
    """
    optimizer = torch.optim.SGD(adapted.trainable().values(), lr=0.05, momentum=0.9)
    loader = module.loader("train")
    adapted.train()
    losses = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        torch.manual_seed(epoch)
        adapted.reseed(epoch)
        for batch in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(adapted(batch.inputs), batch.labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, adapted.trainable()


class TestDepth:
    @pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
    @pytest.mark.parametrize(
        ("strategy", "depth"),
        [
            (Head(), 3),
            (Head(head="train"), 3),
            (LastLayers(n=1), 2),
            (LastLayers(n=2), 1),
            (LastLayers(n=3), 0),
            (LoRA(rank=2, layers="last 1"), 2),
            (LoRA(rank=2, layers="last 2", head="freeze"), 1),
            (LoRA(rank=2), 0),
            (LoRA(rank=2, layers="first 1"), 0),
            (DoRA(rank=2, targets="query", layers="last 1"), 2),
            (DoRA(rank=2), 0),
            (BitFit(), 0),
            (Full(), 0),
        ],
    )
    def test_of_a_strategy(self, architecture: str, strategy: Strategy, depth: int) -> None:
        assert frozen_depth(strategy.apply(encoder(architecture))) == depth

    def test_trained_embeddings_leave_none(self) -> None:
        adapted = Head().apply(encoder())
        adapted.model.get_submodule("model.bert.embeddings.LayerNorm").requires_grad_(True)
        assert frozen_depth(adapted) == 0


class TestTraining:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize(
        ("architecture", "layers"),
        [("bert", 2), ("bert", 3), ("roberta", 2), ("roberta", 3), ("distilbert", 3)],
    )
    @pytest.mark.parametrize(
        ("dtype", "close"),
        [(torch.float64, 1e-12), (torch.float32, 1e-5)],
        ids=["64", "32"],
    )
    def test_is_the_same(
        self,
        architecture: str,
        layers: int,
        strategy: str,
        dtype: torch.dtype,
        close: float,
        tmp_path: Path,
    ) -> None:
        model = encoder(architecture, layers=layers, dtype=dtype, dropout=0.2)
        plain, on_features = (
            STRATEGIES[strategy].apply(copy.deepcopy(model), seed=1) for _ in range(2)
        )
        module = data(model)
        losses, weights = train(plain, module)
        result = prefix(on_features, module, tmp_path)
        assert result.depth == (layers if strategy == "head" else layers - 1), result
        assert result.first_token_only is (strategy == "head")
        others, other_weights = train(on_features, module)
        assert len(losses) == 3 * 7
        assert losses[-1] != losses[0]
        assert losses == pytest.approx(others, abs=close, rel=0)
        for name, weight in weights.items():
            assert torch.allclose(weight, other_weights[name], rtol=0, atol=close), name

    def test_is_the_same_for_a_bert_tiny(self, tmp_path: Path) -> None:
        results = []
        for use in (False, True):
            model = bert_tiny(
                CLASSES,
                vocab_size=VOCABULARY,
                hidden_size=16,
                generator=torch.Generator().manual_seed(0),
            ).double()
            adapted, module = LastLayers(n=1).apply(model), data(model)
            assert not use or prefix(adapted, module, tmp_path).depth == 1
            results.append(train(adapted, module)[0])
        assert results[0] == pytest.approx(results[1], abs=1e-12, rel=0)

    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize(("precision", "close"), [("32-true", 1e-4), ("bf16-mixed", 0.02)])
    def test_is_the_same_under_lightning(
        self, strategy: str, precision: Any, close: float, tmp_path: Path
    ) -> None:
        optimizer = Optimizer(
            name="adamw",
            target="torch.optim.AdamW",
            lr=0.003,
            weight_decay=0.1,
            schedule="constant",
            plateau_patience=1,
            warmup=0.0,
            clip_norm=None,
            own={"betas": [0.9, 0.999], "eps": 1e-6},
        )
        histories = []
        for use in (False, True):
            model = encoder(dropout=0.2)
            adapted, module = STRATEGIES[strategy].apply(model, seed=1).train(), data(model)
            if use:
                assert prefix(adapted, module, tmp_path, precision=precision).depth >= 2
            classifier = Classifier(adapted, CLASSES, optimizer)
            pl.Trainer(
                max_epochs=2,
                precision=precision,
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                num_sanity_val_steps=0,
            ).fit(classifier, LightningData(module))
            histories.append(classifier.training_state.history)
        for epoch in (1, 2):
            for name in ("train/loss", "val/loss"):
                one, other = (history[epoch][name] for history in histories)
                assert one == pytest.approx(other, abs=close)

    @pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
    def test_what_is_said_after_training_is_in_full_precision(
        self, precision: Any, tmp_path: Path
    ) -> None:
        model = encoder()
        adapted, module = LastLayers(n=1).apply(model), data(model)
        plain = predict(adapted, module, "validation", torch.device("cpu"))
        assert prefix(adapted, module, tmp_path, precision=precision).depth >= 2
        said = predict(adapted, module, "validation", torch.device("cpu"))
        np.testing.assert_allclose(said.logits, plain.logits, rtol=0, atol=1e-6)


class TestOff:
    """Why a prefix is not used; nothing is attached then, and nothing computed."""

    @pytest.fixture(autouse=True)
    def _nothing_happens(self, filled: list[str], tmp_path: Path) -> Iterator[None]:
        yield
        assert filled == []
        assert not list(tmp_path.glob("prefix-*"))

    @staticmethod
    def why(
        adapted: AdaptedModel, cache: Path, module: TextBatches | None = None, **changes: Any
    ) -> str:
        model = adapted.model if isinstance(adapted.model, TransformerClassifier) else encoder()
        module = module or data(model)
        # Features of another model are taken away.
        values = torch.zeros(len(module.splits["train"].tokens), WIDTH)
        module.attach("train", TokenFeatures(values, 1, False))
        result = prefix(adapted, module, cache, **changes)
        assert (result.depth, result.gib, result.first_token_only) == (0, 0.0, False)
        assert "hidden_states" not in next(module.batches("train")).inputs
        return result.why

    def test_another_kind_of_model(self, tmp_path: Path) -> None:
        assert self.why(Head().apply(MLP((4,), 3)), tmp_path) == "MLP gives no hidden states"

    @pytest.mark.parametrize("strategy", [Full(), BitFit(), LoRA(rank=2)], ids=type)
    def test_the_first_layer_changes(self, strategy: Strategy, tmp_path: Path) -> None:
        why = self.why(strategy.apply(encoder()), tmp_path)
        assert why == "the strategy trains or adapts the first layer"

    def test_dropout_in_the_frozen_layers(self, tmp_path: Path) -> None:
        why = self.why(Head().apply(encoder(frozen_dropout=True, dropout=0.1)), tmp_path)
        assert why == "model.frozen_dropout=true: the frozen layers' outputs are random"

    def test_one_epoch(self, tmp_path: Path) -> None:
        why = self.why(LastLayers(n=1).apply(encoder()), tmp_path, epochs=1)
        assert why == "one epoch reads each text once"

    def test_too_large(self, tmp_path: Path) -> None:
        why = self.why(LastLayers(n=1).apply(encoder()), tmp_path, max_gib=1e-6)
        tokens = sum(len(texts(*split).tokens) for split in ((50, 0), (20, 1)))
        gib = tokens * WIDTH * 4 / 2**30
        assert why == f"would take {gib:.3g} GiB, hardware.prefix_gib allows 1e-06"

    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        why = self.why(Head().apply(encoder()), tmp_path)
        lacking = 70 * WIDTH * 4 - 1000
        assert why == f"{tmp_path} has {lacking / 2**30:.3g} GiB too little free space"

    @pytest.mark.parametrize(
        ("architecture", "strategy"),
        [("albert", Head()), ("deberta-conv", LastLayers(n=2))],
        ids=["albert", "deberta-conv"],
    )
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
    def test_an_architecture_that_computes_something_else(
        self, architecture: str, strategy: Strategy, dtype: torch.dtype, tmp_path: Path
    ) -> None:
        why = self.why(strategy.apply(encoder(architecture, dtype=dtype)), tmp_path)
        assert why.startswith("the model does not go on from layer 1 alone: logits or gradients")
        assert why.endswith(f"rounding allows {1000 * torch.finfo(dtype).eps:.0e}")

    def test_an_architecture_that_is_refused(self, tmp_path: Path) -> None:
        why = self.why(Head().apply(encoder("xlnet")), tmp_path)
        assert why.startswith("the model cannot go on from layer 3 (XLNetForSequenceClassification")

    def test_a_model_that_mixes_the_rows_of_a_batch(self, tmp_path: Path) -> None:
        model = encoder()
        block = model.get_submodule(model.blocks[0])
        block.register_forward_hook(lambda _, args, output: output + 0.01 * output.mean(0))
        why = self.why(LastLayers(n=1).apply(model), tmp_path)
        assert why.startswith("the model does not go on from layer 2 alone")

    def test_a_model_that_looks_at_the_embeddings_again(self, tmp_path: Path) -> None:
        model = encoder()
        found: list[Tensor] = []
        embeddings = model.get_submodule("model.bert.embeddings")
        embeddings.register_forward_hook(lambda _, args, output: found.append(output))
        model.get_submodule("model.classifier").register_forward_pre_hook(
            lambda _, args: (args[0] + found.pop()[:, 0],)
        )
        why = self.why(LastLayers(n=1).apply(model), tmp_path)
        assert why.startswith("the model does not go on from layer 2 alone")

    def test_a_trained_module_that_the_blocks_share(self, tmp_path: Path) -> None:
        adapted = LastLayers(n=1).apply(encoder("mpnet"))
        shared = adapted.model.get_submodule("model.mpnet.encoder.relative_attention_bias")
        assert isinstance(shared, nn.Embedding)
        shared.requires_grad_(True)
        why = self.why(adapted, tmp_path)
        assert why == "layers beside the first 2 are trained and part of their output"


@pytest.mark.parametrize(
    ("architecture", "strategy", "first_only"),
    [
        ("bert", Head(), True),
        ("bert", LastLayers(n=1), False),
        ("electra", Head(), True),
        ("mpnet", LastLayers(n=1), False),
        ("modernbert", Head(), True),
        ("modernbert-mean", Head(), False),
        ("deberta", Head(), True),
        ("deberta-conv", LastLayers(n=1), False),  # from its second block on, it can
    ],
)
def test_features_are_what_the_layers_give(
    architecture: str, strategy: Strategy, first_only: bool, tmp_path: Path
) -> None:
    model = encoder(architecture, dtype=torch.float64)
    adapted, module = strategy.apply(model), data(model)
    result = prefix(adapted, module, tmp_path)
    assert result.why == ""
    assert result.first_token_only is first_only
    depth = 3 if isinstance(strategy, Head) else 2
    bytes_ = 0
    for name in ("train", "validation"):
        split = module.splits[name]
        bytes_ += (len(split) if first_only else len(split.tokens)) * WIDTH * 8
        for batch in module.batches(name):
            assert batch.inputs["depth"] == depth
            states = batch.inputs["hidden_states"]
            for row, found in zip(batch.rows, states, strict=True):
                alone = cut(split, row[None], 0).inputs
                expected = model.eval().hidden_states(alone, depth)[0]
                length = 1 if first_only else len(expected)
                assert torch.allclose(found[:length], expected[:length], rtol=1e-10, atol=1e-12)
                assert not found[length:].any()
    assert result.gib == bytes_ / 2**30
    assert "hidden_states" not in next(module.batches("test")).inputs


def test_one_epoch_is_worth_it_for_first_tokens(tmp_path: Path) -> None:
    adapted = Head().apply(encoder())
    assert prefix(adapted, data(encoder()), tmp_path, epochs=1).first_token_only


@pytest.mark.parametrize("training", [True, False])
def test_model_and_generators_are_left_alone(training: bool, tmp_path: Path) -> None:
    adapted = STRATEGIES["lora-last-1"].apply(encoder(dropout=0.1)).train(training)

    def state() -> list[Any]:
        modes = [(name, module.training) for name, module in adapted.named_modules()]
        asked = [(name, p.requires_grad, p.grad) for name, p in adapted.named_parameters()]
        return [modes, asked, torch.get_rng_state().tolist()]

    before, weights = state(), copy.deepcopy(adapted.state_dict())
    assert prefix(adapted, data(encoder()), tmp_path).depth == 2
    assert state() == before
    assert all(torch.equal(weights[name], t) for name, t in adapted.state_dict().items())
