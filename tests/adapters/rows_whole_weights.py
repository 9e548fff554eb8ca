"""Rows of methods that make a whole weight of few numbers, or products of several factors."""

from dataclasses import replace

from rows import Row, of_linear

from adapterlab.adapters import HRA, DeLoRA, DiffPruning, FourierFT, HiRA, LoHa, LoKr, MiSS
from adapterlab.adapters.methods.lokr import factorized


def _lokr(name: str, d_in: int, d_out: int) -> int:
    """Count a whole first factor, and a second of rank 1 where it is above 2x2."""
    (m, n), (rows, k) = factorized(d_in, -1), factorized(d_out, -1)
    return rows * m + (k + n if max(k, n) > 2 else k * n)


ROWS: dict[str, Row] = {
    "hira": Row(
        HiRA(rank=2),
        of_linear(lambda name, d_in, d_out: 2 * (d_in + d_out)),
        drawn=frozenset({"hira_A"}),
        exact=False,  # of a layout of its inputs, or of Conv1D, the base computes otherwise
        lane=lambda strategy, i: replace(strategy, rank=(2, 1, 4, 3)[i % 4]),
        anywhere=True,
    ),
    "loha": Row(
        LoHa(rank=2, alpha=3),
        of_linear(lambda name, d_in, d_out: 4 * (d_in + d_out)),
        drawn=frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a"}),
        exact=False,
        lane=lambda strategy, i: replace(strategy, rank=(2, 1, 4, 3)[i % 4], alpha=1 + i),
        # In transformers its code is HiRA's, and PEFT's parity is tried.
    ),
    "lokr": Row(
        LoKr(rank=1, alpha=2),
        of_linear(_lokr),
        drawn=frozenset({"lokr_w2", "lokr_w2_a", "lokr_w2_b"}),
        lane=lambda strategy, i: replace(strategy, rank=(1, 2)[i % 2], alpha=1 + i),
        anywhere=True,
    ),
    "miss": Row(
        MiSS(rank=2, dropout=0.2),
        of_linear(lambda name, d_in, d_out: 2 * d_out),
        lane=lambda strategy, i: replace(
            strategy, rank=(2, 2, 3, 5)[i % 4], dropout=(0.2, 0.0)[i % 2]
        ),
        anywhere=True,
    ),
    "delora": Row(
        DeLoRA(rank=2, bound=2, dropout=0.2),
        of_linear(lambda name, d_in, d_out: 2 * (d_in + d_out) + 1),
        drawn=frozenset({"delora_A", "delora_B", "first_A", "first_B"}),
        exact=False,
        lane=lambda strategy, i: replace(
            strategy,
            rank=(2, 1, 4)[i % 3],
            bound=1 + i,
            dropout=(0.2, 0.0)[i % 2],
            start=("subtracted", "subtracted", "zero")[i % 3],
        ),
        anywhere=True,
    ),
    "fourierft": Row(
        FourierFT(n_frequency=9, scaling=20),
        of_linear(lambda name, *sides: 9),
        exact=False,
        lane=lambda strategy, i: replace(
            strategy,
            n_frequency=(9, 9, 5)[i % 3],
            scaling=20 + i,
            location_seed=(777, 777, 3)[i % 3],
            start=("zero", "normal")[i % 2],
        ),
    ),
    "diff_pruning": Row(  # its gates at 5 are open, so that most get no gradient: test_diff_pruning
        DiffPruning(first_gate=1, grouped=False),
        of_linear(lambda name, d_in, d_out: 2 * d_in * d_out),
        exact=False,
        lane=lambda strategy, i: replace(strategy, first_gate=(1, 0.5)[i % 2], share=0.1 + 0.1 * i),
        anywhere=True,
    ),
    "hra": Row(
        HRA(rank=4),
        of_linear(lambda name, d_in, d_out: 4 * d_in),
        drawn=frozenset({"hra_u"}),
        exact=False,
        lane=lambda strategy, i: replace(strategy, rank=(4, 2, 6)[i % 3]),
        anywhere=True,
    ),
}
