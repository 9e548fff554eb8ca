"""Rows of methods whose frozen parts lanes share: random projections, singular vectors."""

from dataclasses import replace

from rows import Row, of_linear

from adapterlab.adapters import SVFT, AdaLoRA, DVoRA, LoRAXS, VeRA


def _vera_lane(strategy: VeRA, i: int) -> VeRA:
    """Of one seed and rank, of several ranks, and of another seed."""
    return replace(
        strategy,
        rank=(4, 4, 2, 6)[i % 4],
        projection_seed=(0, 0, 0, 0, 3)[i % 5],
        d_initial=0.1 + i,
    )


def _xs_lane(strategy: LoRAXS, i: int) -> LoRAXS:
    return replace(
        strategy,
        rank=(2, 1, 5, 3)[i % 4],
        alpha=1.0 + i,
        scaling=("alpha_over_rank", "alpha_over_sqrt_rank", "alpha")[i % 3],
        init_std=0.3,
        dropout=(strategy.dropout, 0.0, 0.4)[i % 3] if strategy.dropout else 0.0,
    )


def _band(name: str, d_in: int, d_out: int) -> int:
    """Return the entries of two diagonals on each side: all but the corners."""
    m = min(d_in, d_out)
    return m + 2 * (m - 1) + 2 * (m - 2)


ROWS: dict[str, Row] = {
    "vera": Row(
        VeRA(rank=4),
        of_linear(lambda name, d_in, d_out: 4 + d_out),
        lane=lambda strategy, i: replace(strategy, d_initial=0.1 + i),
        anywhere=True,
    ),
    "vera-adapted-head": Row(
        VeRA(rank=4, head="adapt", dropout=0.2, targets=["layers.1*"]),
        of_linear(lambda name, d_in, d_out: 4 + d_out, targets=("layers.1*",)),
        lane=_vera_lane,
    ),
    "dvora": Row(
        DVoRA(rank=4, dropout=0.2),
        of_linear(lambda name, d_in, d_out: 4 + 2 * d_out),
        exact=False,
        lane=lambda strategy, i: replace(_vera_lane(strategy, i), dropout=(0.2, 0.0)[i % 2]),
        anywhere=True,
    ),
    "lora_xs": Row(
        LoRAXS(rank=2, alpha=2),
        of_linear(lambda name, d_in, d_out: 4),
        drawn=frozenset({"lora_R"}),
        exact=False,
        nearly=5e-4,
        lane=_xs_lane,
        anywhere=True,
    ),
    "lora_xs-adapted-head": Row(
        LoRAXS(rank=4, alpha=4, head="adapt", dropout=0.2, targets=["layers.1*"]),
        of_linear(lambda name, d_in, d_out: min(4, d_in, d_out) ** 2, targets=("layers.1*",)),
        drawn=frozenset({"lora_R"}),
        exact=False,
        nearly=5e-4,
        lane=_xs_lane,
    ),
    "svft": Row(
        SVFT(pattern="banded", band=2),
        of_linear(_band),
        lane=lambda strategy, i: replace(
            strategy, band=1 + i % 3, pattern=("banded", "plain")[i % 2]
        ),
        anywhere=True,
    ),
    "svft-random-adapted-head": Row(
        SVFT(pattern="random", band=1, head="adapt", dropout=0.2, targets=["layers.1*"]),
        of_linear(lambda name, *sides: 3 * min(sides) - 2, targets=("layers.1*",)),
        drawn=frozenset({"svft_places"}),
        lane=lambda strategy, i: replace(
            strategy, band=1 + i % 3, pattern=("random", "top_k")[i % 2]
        ),
    ),
    "adalora": Row(
        AdaLoRA(init_rank=3, rank=2, alpha=3),
        of_linear(lambda name, d_in, d_out: 3 * (d_in + d_out + 1)),
        drawn=frozenset({"lora_A", "lora_B"}),
        lane=lambda strategy, i: replace(strategy, init_rank=(3, 1, 4)[i % 3], rank=1, alpha=1 + i),
        anywhere=True,
    ),
    "adalora-adapted-head": Row(
        AdaLoRA(init_rank=2, rank=2, alpha=3, head="adapt", dropout=0.2, targets=["layers.1*"]),
        of_linear(lambda name, d_in, d_out: 2 * (d_in + d_out + 1), targets=("layers.1*",)),
        drawn=frozenset({"lora_A", "lora_B"}),
        lane=lambda strategy, i: replace(
            strategy, init_rank=2 + i % 3, dropout=(0.2, 0.0, 0.4)[i % 3]
        ),
    ),
}
