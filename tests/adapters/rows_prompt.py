"""Rows of the table for what stands before a text: prompts, and prefixes counted as PEFT's."""

from dataclasses import replace

from rows import Row, combined, low_rank

from adapterlab.adapters import LoRA, Prompt

_PROMPT = Row(
    Prompt(num_virtual_tokens=3),
    lambda base, head: 0 if head else 3 * 32,
    drawn=frozenset({"prompt"}),
    starts=False,
    lane=lambda strategy, i: replace(
        strategy, num_virtual_tokens=(3, 1, 5)[i % 3], init=("vocabulary", "normal")[i % 2]
    ),
)

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
}
"""What needs an encoder of texts, and so fits none of the small models."""
