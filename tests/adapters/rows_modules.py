"""Rows of the table for modules that are put into a model."""

from dataclasses import replace

from rows import BIASES, Row, combined, low_rank, of_linear

from adapterlab.adapters import BitFit, Bottleneck, DoRA, LoRA, Prefix, ReFT


def bottlenecks(size: int, *, beside: bool = False, targets: tuple[str, ...] = ("*",)) -> Row:
    """Return the row of bottlenecks of a size at every targeted linear layer."""

    def per_layer(name: str, d_in: int, d_out: int) -> int:
        return size * ((d_in if beside else d_out) + d_out + 1) + d_out

    return Row(
        Bottleneck(
            placement="parallel" if beside else "pfeiffer",
            size=size,
            non_linearity="swish",  # a unit of relu may be dead on a few rows
            targets=_targets(targets),
        ),
        of_linear(per_layer, targets),
        drawn=frozenset({"down"}),
        lane=lambda strategy, i: replace(
            strategy,
            size=(2, 1, 4, 3)[i % 4],
            non_linearity=("relu", "swish", "tanh")[i % 3],
            scale=1.0 + i,
            init=("kaiming", "bert", "houlsby")[i % 3],
        ),
    )


def _targets(patterns: tuple[str, ...]) -> str | list[str]:
    return "all-linear" if patterns == ("*",) else list(patterns)


ROWS: dict[str, Row] = {
    "bottleneck": replace(bottlenecks(2), anywhere=True),
    "bottleneck-beside": bottlenecks(3, beside=True),
    "reft": Row(
        ReFT(rank=2, targets="all-linear"),
        of_linear(lambda name, d_in, d_out: 2 * (2 * d_out + 1)),
        drawn=frozenset({"rotation", "source"}),
        lane=lambda strategy, i: replace(
            strategy, rank=(2, 1, 4, 3)[i % 4], init=("identity", "random")[i % 2]
        ),
        anywhere=True,
    ),
    "lora-bitfit": replace(
        combined({"bias": Row(BitFit(), BIASES), "lora": low_rank(LoRA(rank=2, alpha=3))}),
        anywhere=True,
    ),
    "lora-bottleneck": replace(
        combined({"lora": low_rank(LoRA(rank=2, alpha=3)), "neck": bottlenecks(2)}),
        anywhere=True,
    ),
    "dora-bottleneck-bitfit": combined(
        {
            "bias": Row(BitFit(), BIASES),
            "dora": low_rank(DoRA(rank=2, alpha=3)),
            "anarrow": bottlenecks(2, beside=True),
        }
    ),
}

ROWS_OF_TRANSFORMERS: dict[str, Row] = {
    "prefix": Row(
        Prefix(num_virtual_tokens=3),
        lambda base, head: 0 if head else 2 * 2 * 3 * 32,  # keys and values of two layers
        drawn=frozenset({"prefix_key", "prefix_value"}),
        starts=False,
    ),
}
"""What needs attention, and so fits none of the small models."""
