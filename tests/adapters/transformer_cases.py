"""Two-layer random encoders of three architectures, and the strategies the laws run over."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from adapterlab.adapters import AdaptedModel, BitFit, DoRA, Full, Head, LastLayers, LoRA, Strategy
from adapterlab.models.transformer import TransformerClassifier

VOCABULARY, WIDTH, CLASSES, LAYERS = 40, 32, 3, 2

ARCHITECTURES: dict[str, Callable[[float], PretrainedConfig]] = {
    "bert": lambda dropout: BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=20,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    ),
    "roberta": lambda dropout: RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=20,
        type_vocab_size=1,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    ),
    "distilbert": lambda dropout: DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=WIDTH,
        hidden_dim=2 * WIDTH,
        n_layers=LAYERS,
        n_heads=4,
        max_position_embeddings=20,
        dropout=dropout,
        attention_dropout=dropout,
        seq_classif_dropout=dropout,
    ),
}

CASES: dict[str, Strategy] = {
    "full": Full(),
    "full-frozen-head": Full(head="freeze"),
    "head": Head(),
    "last_layers-1": LastLayers(n=1),
    "bitfit": BitFit(),
    "bitfit-adapted-head": BitFit(head="adapt"),
    "lora-all-linear": LoRA(rank=2, alpha=3),
    "lora-query-value": LoRA(rank=2, alpha=3, targets=["query", "value"]),
    "lora-adapted-head": LoRA(rank=2, alpha=3, targets="attention", head="adapt"),
    "lora-frozen-head": LoRA(rank=2, alpha=3, targets="out", head="freeze"),
    "lora-last-1": LoRA(rank=2, alpha=3, targets=["attention", "ffn"], layers="last 1"),
    "lora-rslora": LoRA(rank=2, alpha=3, targets="key", scaling="alpha_over_sqrt_rank"),
    "lora-dropout": LoRA(rank=2, alpha=3, targets="ffn", dropout=0.3),
    "lora-patterns": LoRA(
        rank=2,
        alpha=3,
        targets="attention",
        rank_pattern={"layer.0.*": 3, "query": 4},
        alpha_pattern={"value": 7.0},
        scaling="alpha",
    ),
    "lora-also-train": LoRA(
        rank=2, alpha=3, targets=["query", "value"], also_train=["ffn", "*orm"]
    ),
    "dora-all-linear": DoRA(rank=2, alpha=3, dropout=0.3),
    "dora-adapted-head": DoRA(rank=2, alpha=3, targets="attention", head="adapt"),
    "dora-first-1": DoRA(rank=2, alpha=3, targets="ffn", layers="first 1"),
    "dora-per-input": DoRA(rank=2, alpha=3, targets="query", magnitude="per_input"),
}


@dataclass(frozen=True)
class Case:
    """One strategy of the table on one of the architectures."""

    architecture: str
    strategy_name: str

    @property
    def strategy(self) -> Strategy:
        return CASES[self.strategy_name]

    def base(self, *, dtype: torch.dtype = torch.float32) -> TransformerClassifier:
        return copy.deepcopy(_encoder_for_laws(self.architecture, dtype))

    def adapted(self, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> AdaptedModel:
        adapted = self.strategy.apply(self.base(dtype=dtype), seed=seed)
        return adapted.train()


def encoder(
    architecture: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    dropout: float = 0.0,
    frozen_dropout: bool = False,
) -> TransformerClassifier:
    """Build an encoder and shift all its weights, so that biases and norms are not trivial."""
    config = ARCHITECTURES[architecture](dropout)
    config.num_labels = CLASSES
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
    return TransformerClassifier(model.to(dtype), frozen_dropout=frozen_dropout)


@cache
def _encoder_for_laws(architecture: str, dtype: torch.dtype) -> TransformerClassifier:
    return encoder(architecture, dtype=dtype)


def tokens(
    model: torch.nn.Module, *, batch: int = 6, length: int = 8, padding: int = 0
) -> dict[str, Tensor]:
    """Return random inputs, the last rows shorter than the first; `padding` makes all longer."""
    classifier = model.model if isinstance(model, AdaptedModel) else model
    pad = classifier.model.config.pad_token_id
    ids = torch.randint(5, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(length) < length - torch.arange(batch)[:, None] // 2).long()
    ids = torch.where(mask.bool(), ids, pad)
    return {
        "input_ids": torch.nn.functional.pad(ids, (0, padding), value=pad),
        "attention_mask": torch.nn.functional.pad(mask, (0, padding)),
    }


def train(adapted: AdaptedModel, steps: int) -> list[float]:
    """Take a few AdamW steps over all parameters, frozen ones included; return the losses."""
    optimizer = torch.optim.AdamW(adapted.parameters(), lr=0.01, weight_decay=0.1)
    inputs = tokens(adapted)
    labels = torch.arange(len(inputs["input_ids"])) % CLASSES
    adapted.train()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(adapted(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
