"""Rows of methods whose frozen parts lanes share: random projections, singular vectors."""

from dataclasses import replace

from rows import Row, of_linear

from adapterlab.adapters import VeRA


def _vera_lane(strategy: VeRA, i: int) -> VeRA:
    """Of one seed and rank, of several ranks, and of another seed."""
    return replace(
        strategy,
        rank=(4, 4, 2, 6)[i % 4],
        projection_seed=(0, 0, 0, 0, 3)[i % 5],
        d_initial=0.1 + i,
    )


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
}
