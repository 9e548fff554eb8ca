"""Rows of the table for prompts, and for what UniPELT is made of."""

from dataclasses import replace

from rows import Row, combined, low_rank

from adapterlab.adapters import GatedBottleneck, GatedLoRA, GatedPrefix, LoRA, Prompt

_PROMPT = Row(
    Prompt(num_virtual_tokens=3),
    lambda base, head: 0 if head else 3 * 32,
    drawn=frozenset({"prompt"}),
    starts=False,
    lane=lambda strategy, i: replace(
        strategy, num_virtual_tokens=(3, 1, 5)[i % 3], init=("vocabulary", "normal")[i % 2]
    ),
)

_GATE = 32 + 1  # of its weights, and its bias

_UNIPELT = {
    "bottleneck": Row(
        GatedBottleneck(size=2, non_linearity="swish"),
        lambda base, head: 0 if head else 2 * (2 * 32 * 2 + 2 + 32 + _GATE),
        drawn=frozenset({"down", "gate_weight"}),
        lane=lambda strategy, i: replace(strategy, size=2 + i, scale=1.0 + i),
    ),
    "lora": Row(
        GatedLoRA(rank=2),
        lambda base, head: 0 if head else 2 * 2 * (2 * (32 + 32) + _GATE),
        drawn=frozenset({"lora_A", "gate_weight"}),
        lane=lambda strategy, i: replace(strategy, rank=2 + i, dropout=0.3 * i),
    ),
    "prefix": Row(
        GatedPrefix(num_virtual_tokens=3),
        lambda base, head: 0 if head else 2 * (2 * 3 * 32 + _GATE),
        drawn=frozenset({"prefix_key", "prefix_value", "gate_weight"}),
    ),
}

ROWS_OF_TRANSFORMERS: dict[str, Row] = {
    "prompt": _PROMPT,
    "lora-prompt": replace(
        combined(
            {
                "lora": low_rank(
                    LoRA(rank=2, alpha=3, targets="attention"), targets=("attention",)
                ),
                "prompt": _PROMPT,
            }
        ),
        starts=False,
    ),
    "unipelt": replace(combined(_UNIPELT), starts=False),
}
"""What needs an encoder of texts, and so fits none of the small models."""
