"""The one table of strategies that every law is tested on, three small models, and helpers."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import rows_modules
import rows_projections
import rows_whole_weights
import torch
from convolutional import convolutional
from copied import Original
from rows import (
    BIASES,
    EVERYTHING,
    NOTHING,
    Row,
    combined,
    last_blocks,
    low_rank,
    of_names,
)
from rows_diagonal import ROWS as ROWS_DIAGONAL
from rows_low_rank import ROWS as ROWS_LOW_RANK
from torch import Tensor, nn
from trial_strategies import FirstUpdate

from adapterlab.adapters import AdaptedModel, BitFit, DoRA, Full, Head, LastLayers, LoRA, Strategy
from adapterlab.models import MLP
from adapterlab.training.plain.loop import default_type

FEATURES, CLASSES = 5, 3

PATTERNS: dict[str, Any] = {
    "rank": 2,
    "alpha": 3,
    "rank_pattern": {"layers.0*": 3},
    "alpha_pattern": {"layers.1*": 7.0},
}

ROWS: dict[str, Row] = {
    "full": Row(Full(), EVERYTHING, anywhere=True),
    "full-frozen-head": Row(Full(head="freeze"), EVERYTHING, anywhere=True),
    "head": Row(Head(), NOTHING, anywhere=True),
    "last_layers-1": Row(LastLayers(n=1), last_blocks(1), anywhere=True),
    "last_layers-2": Row(LastLayers(n=2), last_blocks(2)),
    "last_layers-frozen-head": Row(LastLayers(n=1, head="freeze"), last_blocks(1)),
    "bitfit": Row(BitFit(), BIASES, anywhere=True),
    "bitfit-adapted-head": Row(BitFit(head="adapt"), BIASES, anywhere=True),
    "bitfit-frozen-head": Row(BitFit(head="freeze"), BIASES),
    "lora": low_rank(LoRA(rank=2, alpha=3), anywhere=True),
    "lora-adapted-head": low_rank(LoRA(rank=2, alpha=3, head="adapt")),
    "lora-frozen-head": low_rank(LoRA(rank=2, alpha=3, head="freeze")),
    "lora-rslora": low_rank(LoRA(rank=2, alpha=3, scaling="alpha_over_sqrt_rank")),
    "lora-plain-alpha": low_rank(LoRA(rank=2, alpha=3, scaling="alpha")),
    "lora-dropout": low_rank(LoRA(rank=2, alpha=3, dropout=0.3)),
    "lora-gaussian": low_rank(LoRA(rank=2, alpha=3, init="gaussian")),
    "lora-targets": low_rank(LoRA(rank=2, alpha=3, targets=["layers.1*"]), targets=("layers.1*",)),
    "lora-patterns": low_rank(LoRA(**PATTERNS), ranks={"layers.0*": 3}),
    "lora-also-train": low_rank(
        LoRA(rank=2, alpha=3, targets=["layers.1*"], also_train=["layers.0"]),
        targets=("layers.1*",),
        beside=of_names(lambda n: n.startswith("layers.0.")),
    ),
    "dora": low_rank(DoRA(rank=2, alpha=3)),
    "dora-adapted-head": low_rank(DoRA(rank=2, alpha=3, head="adapt")),
    "dora-frozen-head": low_rank(DoRA(rank=2, alpha=3, head="freeze")),
    "dora-rslora": low_rank(DoRA(rank=2, alpha=3, scaling="alpha_over_sqrt_rank")),
    "dora-dropout": low_rank(DoRA(rank=2, alpha=3, dropout=0.3), anywhere=True),
    "dora-per-input": low_rank(DoRA(rank=2, alpha=3, magnitude="per_input")),
    "dora-per-input-adapted-head": low_rank(
        DoRA(rank=2, alpha=3, magnitude="per_input", head="adapt", dropout=0.3)
    ),
    "dora-also-train": low_rank(
        DoRA(rank=2, alpha=3, targets=["layers.1*"], also_train=["*", "!layers.1*"], head="freeze"),
        targets=("layers.1*",),
        beside=of_names(lambda n: not n.startswith("layers.1.")),
    ),
    "dora-patterns": low_rank(DoRA(**PATTERNS), ranks={"layers.0*": 3}),
    "full-targets": Row(
        Full(targets=["*", "!layers.1*"]), of_names(lambda n: not n.startswith("layers.1."))
    ),
    "combined": combined(
        {
            "lora": low_rank(LoRA(rank=2, alpha=3, targets=["layers.1*"]), targets=("layers.1*",)),
            "rest": Row(Full(targets="layers.0"), of_names(lambda n: n.startswith("layers.0."))),
        }
    ),
    "combined-adapted-head": combined(
        {
            "last": Row(LastLayers(n=1), last_blocks(1)),
            "dora": low_rank(DoRA(rank=2, alpha=3, targets=["layers.1*"]), targets=("layers.1*",)),
        },
        head="adapt",
    ),
    "first-update": replace(
        low_rank(FirstUpdate(rank=2, alpha=3)),
        drawn=frozenset({"lora_A", "lora_B", "first_A", "first_B"}),
        exact=False,
        anywhere=True,
    ),
}
ROWS |= rows_projections.ROWS

ROWS |= ROWS_LOW_RANK

ROWS |= ROWS_DIAGONAL
ROWS |= rows_modules.ROWS | rows_whole_weights.ROWS


class Block(nn.Module):
    """A residual block with what an MLP lacks: a norm, nesting, a layer without bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width + 2, bias=False)
        self.output = nn.Linear(width + 2, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.output(torch.tanh(self.query(self.norm(x))))


class Encoder(nn.Module):
    """A toy encoder whose head is two modules, one of them nested."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.embedding = nn.Linear(FEATURES, width)
        self.layers = nn.ModuleList(Block(width) for _ in range(3))
        self.pooler = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.classifier = nn.Linear(width, CLASSES)
        self.head_modules = ("pooler", "classifier")
        self.blocks = tuple(f"layers.{i}" for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        for layer in self.layers:
            x = layer(x)
        return self.classifier(self.pooler(x))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP((FEATURES,), CLASSES, widths=(8, 6, 6)),
    "encoder": Encoder,
    "convolutional": lambda: convolutional(CLASSES),
}


@dataclass(frozen=True)
class Case:
    """One strategy of the table on one of the models."""

    model_name: str
    strategy_name: str

    @property
    def row(self) -> Row:
        return ROWS[self.strategy_name]

    @property
    def strategy(self) -> Strategy:
        return self.row.strategy

    def base(self, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
        """Return the base model: the same weights for the same seed, no parameter zero or one."""
        return build(MODELS[self.model_name], seed=seed, dtype=dtype)

    def adapted(
        self, *, base_seed: int = 0, seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> AdaptedModel:
        return self.strategy.apply(self.base(seed=base_seed, dtype=dtype), seed=seed)


def build(
    model: Callable[[], nn.Module], *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Build a model and shift all its numbers, so that biases and norms are not trivial."""
    if model in MODELS.values():
        return _original(model, seed, dtype).copy()
    return _built(model, seed, dtype)


@cache
def _original(model: Callable[[], nn.Module], seed: int, dtype: torch.dtype) -> Original:
    return Original(_built(model, seed, dtype))


def _built(model: Callable[[], nn.Module], seed: int, dtype: torch.dtype) -> nn.Module:
    with torch.random.fork_rng(), default_type(torch.float32):
        torch.manual_seed(seed)
        built = model()
        with torch.no_grad():
            for parameter in built.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
            for buffer in built.buffers():
                if buffer.is_floating_point():
                    buffer += 0.1 * torch.rand(buffer.shape)
    return built.to(dtype)


def inputs(batch: int = 16, *, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    """Return a batch of random examples for any of the models."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, FEATURES, generator=generator, dtype=dtype)


@torch.no_grad()
def perturb(adapted: AdaptedModel, *, seed: int = 2) -> None:
    """Move every trainable parameter away from its first value."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapted.trainable().values():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter += 0.3 * noise


def train(adapted: AdaptedModel, steps: int) -> list[float]:
    """Take a few AdamW steps over all parameters, frozen ones included; return the losses."""
    optimizer = torch.optim.AdamW(adapted.parameters(), lr=0.05, weight_decay=0.1)
    dtype = next(adapted.parameters()).dtype
    x = inputs(dtype=dtype)
    labels = torch.arange(len(x)) % CLASSES
    adapted.train()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(adapted(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every parameter and buffer, non-persistent ones included."""
    state = dict(module.named_parameters()) | dict(module.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def without_base(name: str) -> str:
    """Return the name that a parameter of the base had before adapters were put around it."""
    return re.sub(r"(\.base)+\.", ".", name)


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    """Assert that two snapshots are equal bit for bit."""
    assert left.keys() == right.keys()
    differing = [name for name in left if not torch.equal(left[name], right[name])]
    assert not differing
