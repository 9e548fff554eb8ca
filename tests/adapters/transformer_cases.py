"""Two-layer random encoders of three architectures, and the strategies the laws run over."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import rows_modules
import rows_prompt
import torch
from adapter_cases import ROWS as ROWS_OF_ALL
from copied import Original
from rows import Row, combined, low_rank
from text_architectures import MORE
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

from adapterlab.adapters import AdaptedModel, DoRA, Full, LoRA, Strategy
from adapterlab.models.transformer import TransformerClassifier
from adapterlab.training.plain.loop import default_type

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

ROWS: dict[str, Row] = {name: row for name, row in ROWS_OF_ALL.items() if row.anywhere} | {
    "lora-query-value": low_rank(
        LoRA(rank=2, alpha=3, targets=["query", "value"]), targets=("query", "value")
    ),
    "lora-adapted-head": low_rank(
        LoRA(rank=2, alpha=3, targets="attention", head="adapt"), targets=("attention",)
    ),
    "lora-frozen-head": low_rank(
        LoRA(rank=2, alpha=3, targets="out", head="freeze"), targets=("out",)
    ),
    "lora-last-1": low_rank(
        LoRA(rank=2, alpha=3, targets=["attention", "ffn"], layers="last 1"),
        targets=("*layer.1.*",),
    ),
    "lora-rslora": low_rank(
        LoRA(rank=2, alpha=3, targets="key", scaling="alpha_over_sqrt_rank"), targets=("key",)
    ),
    "lora-dropout": low_rank(LoRA(rank=2, alpha=3, targets="ffn", dropout=0.3), targets=("ffn",)),
    "lora-patterns": low_rank(
        LoRA(
            rank=2,
            alpha=3,
            targets="attention",
            rank_pattern={"layer.0.*": 3, "query": 4},
            alpha_pattern={"value": 7.0},
            scaling="alpha",
        ),
        targets=("attention",),
        ranks={"*.layer.0.*": 3, "*.query": 4, "*.q_lin": 4},
    ),
    "lora-also-train": low_rank(
        LoRA(rank=2, alpha=3, targets=["query", "value"], also_train=["ffn", "*orm"]),
        targets=("query", "value"),
        # Two feed-forward layers a block, 32 -> 64 -> 32, and five norms.
        beside=lambda base, head: 0 if head else 2 * (32 * 64 + 64 + 64 * 32 + 32) + 5 * 2 * 32,
    ),
    "combined": combined(
        {
            "norms": Row(Full(targets="*orm"), lambda base, head: 0 if head else 5 * 2 * 32),
            "dora": low_rank(DoRA(rank=2, alpha=3, targets="attention"), targets=("attention",)),
            "lora": low_rank(LoRA(rank=2, alpha=3, targets="ffn"), targets=("ffn",)),
        }
    ),
    "dora-adapted-head": low_rank(
        DoRA(rank=2, alpha=3, targets="attention", head="adapt"), targets=("attention",)
    ),
    "dora-first-1": low_rank(
        DoRA(rank=2, alpha=3, targets="ffn", layers="first 1"),
        targets=("*layer.0.*intermediate.*", "*layer.0.output.*", "*layer.0.ffn.*"),
    ),
    "dora-per-input": low_rank(
        DoRA(rank=2, alpha=3, targets="query", magnitude="per_input"), targets=("query",)
    ),
}


FEW = ("full", "bitfit", "lora-short-names", "dora-short-names")
"""Rows that every further architecture is tested on: what the others add hangs on none."""

WITHOUT_BIASES = ("modernbert", "llama", "qwen3")

ROWS |= {
    "lora-short-names": low_rank(
        LoRA(rank=2, alpha=3, targets=["attention", "ffn"]), targets=("attention", "ffn")
    ),
    "dora-short-names": low_rank(
        DoRA(rank=2, alpha=3, targets=["attention", "ffn"]), targets=("attention", "ffn")
    ),
}

ROWS |= rows_modules.ROWS_OF_TRANSFORMERS | rows_prompt.ROWS_OF_TRANSFORMERS

CASES = [
    *((architecture, row) for architecture in ARCHITECTURES for row in ROWS),
    *(
        (architecture, row)
        for architecture in MORE
        for row in FEW
        if row != "bitfit" or architecture not in WITHOUT_BIASES
    ),
]


@dataclass(frozen=True)
class Case:
    """One strategy of the table on one of the architectures."""

    architecture: str
    strategy_name: str

    @property
    def row(self) -> Row:
        return ROWS[self.strategy_name]

    @property
    def strategy(self) -> Strategy:
        return self.row.strategy

    def base(self, *, dtype: torch.dtype = torch.float32) -> TransformerClassifier:
        return encoder(self.architecture, dtype=dtype)

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
    device = torch.get_default_device()
    return _encoder(architecture, seed, dtype, dropout, frozen_dropout, device).copy()


@cache
def _encoder(
    architecture: str,
    seed: int,
    dtype: torch.dtype,
    dropout: float,
    frozen_dropout: bool,
    device: torch.device,
) -> Original:
    config = (ARCHITECTURES | MORE)[architecture](dropout)
    config.num_labels = CLASSES
    with torch.random.fork_rng(devices=[]), device, default_type(torch.float32):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
    return Original(TransformerClassifier(model.to(dtype), frozen_dropout=frozen_dropout))


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
