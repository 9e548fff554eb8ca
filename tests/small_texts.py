"""Random encoders of a few small blocks, random texts for them, and their frozen prefix."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
    XLNetConfig,
)

from adapterlab.adapters import AdaptedModel
from adapterlab.data.text import TextBatches
from adapterlab.data.tokens import TokenizedSplit
from adapterlab.models.transformer import TransformerClassifier
from adapterlab.training.prefix.frozen_prefix import Prefix, use_frozen_prefix

VOCABULARY, WIDTH, CLASSES, LONGEST = 40, 16, 3, 12
MARKS = {"bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}

ARCHITECTURES: dict[str, Callable[..., PretrainedConfig]] = {
    "bert": BertConfig,
    "roberta": RobertaConfig,
    "distilbert": lambda **options: DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=WIDTH,
        hidden_dim=2 * WIDTH,
        n_layers=options["num_hidden_layers"],
        n_heads=2,
        max_position_embeddings=20,
        dropout=options["hidden_dropout_prob"],
        attention_dropout=options["attention_probs_dropout_prob"],
        seq_classif_dropout=options["hidden_dropout_prob"],
    ),
    "electra": lambda **options: ElectraConfig(**options, embedding_size=8),
    "mpnet": MPNetConfig,
    "modernbert": lambda **options: ModernBertConfig(
        **options, **MARKS, pad_token_id=0, local_attention=4, global_attn_every_n_layers=2
    ),
    "modernbert-mean": lambda **options: ModernBertConfig(
        **options, **MARKS, pad_token_id=0, classifier_pooling="mean"
    ),
    "deberta": lambda **options: DebertaV2Config(
        **options,
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm",
    ),
    "deberta-conv": lambda **options: DebertaV2Config(**options, conv_kernel_size=3),
    "albert": lambda **options: AlbertConfig(**options, embedding_size=WIDTH),
    "xlnet": lambda **options: XLNetConfig(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        n_layer=options["num_hidden_layers"],
        n_head=2,
        d_inner=2 * WIDTH,
    ),
}


def encoder(
    architecture: str = "bert",
    *,
    layers: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    dropout: float = 0.0,
    frozen_dropout: bool = False,
    **options: Any,
) -> TransformerClassifier:
    """Build an encoder and shift all its weights, so that biases and norms are not trivial."""
    config = ARCHITECTURES[architecture](
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=20,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **options,
    )
    config.num_labels = CLASSES
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
    return TransformerClassifier(model.to(dtype), frozen_dropout=frozen_dropout)


def texts(rows: int, seed: int) -> TokenizedSplit:
    """Random texts of 2 to 12 tokens."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, LONGEST + 1, (rows,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    tokens = torch.randint(5, VOCABULARY, (int(lengths.sum()),), generator=generator)
    labels = torch.randint(0, CLASSES, (rows,), generator=generator)
    return TokenizedSplit(tokens.int(), offsets, labels, LONGEST, 0, 0)


def data(model: TransformerClassifier, **changes: Any) -> TextBatches:
    """Make batches of random texts, padded as the model has it."""
    arguments: dict[str, Any] = {
        "train": texts(50, 0),
        "validation": texts(20, 1),
        "test": texts(10, 2),
        "classes": [str(i) for i in range(CLASSES)],
        "batch_size": 8,
        "order_seed": 3,
        "pad_token_id": model.model.config.pad_token_id or 0,
        "eval_batch_size": 6,
    }
    return TextBatches(**(arguments | changes))


def padded(model: TransformerClassifier, rows: int = 6) -> dict[str, Tensor]:
    """Return the inputs of a batch with padding."""
    return next(data(model, eval_batch_size=rows).batches("test")).inputs


def prefix(adapted: AdaptedModel, module: TextBatches, cache: Path, **changes: Any) -> Prefix:
    """Use the frozen prefix of a small model in a training of three epochs."""
    options: dict[str, Any] = {
        "max_gib": 1.0,
        "epochs": 3,
        "device": torch.device("cpu"),
        "precision": "32-true",
        "batch_size": 7,
    }
    return use_frozen_prefix(adapted, module, cache=cache, **(options | changes))
