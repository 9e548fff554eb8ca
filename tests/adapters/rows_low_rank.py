"""Rows of LoRA's kin and of its first values, see `rows`."""

from dataclasses import replace

from rows import Row, low_rank, low_rank_lane, of_linear

from adapterlab.adapters import DoRA, LoRA, LoRAFA, LoRAPlus
from adapterlab.adapters.factors import Init


def _frozen_lane(strategy: LoRAFA, i: int) -> LoRAFA:
    """Return LoRA-FA of another rank, scale and first values, and dropout if it has any."""
    return replace(
        strategy,
        rank=(2, 1, 4, 3)[i % 4],
        alpha=strategy.alpha + i,
        dropout=(strategy.dropout, 0.0, 0.4)[i % 3] if strategy.dropout else 0.0,
        init=("kaiming", "gaussian")[i % 2],
    )


def _lora_fa(strategy: LoRAFA, *, anywhere: bool = False) -> Row:
    return Row(
        strategy,
        of_linear(lambda name, d_in, d_out: 2 * d_out),
        drawn=frozenset({"lora_A"}),
        lane=_frozen_lane,
        anywhere=anywhere,
    )


def _first_lane(strategy: LoRA, i: int) -> LoRA:
    """Return lanes with first updates of several kinds, and one without."""
    inits: tuple[Init, ...] = ("pissa", "kaiming", "olora", "milora")
    return replace(low_rank_lane(strategy, i), init=inits[i % 4])


def _data_lane(strategy: LoRA, i: int) -> LoRA:
    """Return lanes with and without frozen copies, saved and not; data comes to none here."""
    inits: tuple[Init, ...] = ("lora_ga", "eva", "corda", "pissa")
    return replace(low_rank_lane(strategy, i), init=inits[i % 4])


def _first_update(strategy: LoRA, *, anywhere: bool = False) -> Row:
    row = low_rank(strategy, anywhere=anywhere)
    return replace(row, drawn=frozenset(), lane=_first_lane, exact=False)


ROWS: dict[str, Row] = {
    "lora_plus": low_rank(LoRAPlus(rank=2, alpha=3, ratio=4.0), anywhere=True),
    "lora_fa": _lora_fa(LoRAFA(rank=2, alpha=3, dropout=0.3), anywhere=True),
    "lora_fa-adapted-head": _lora_fa(LoRAFA(rank=2, alpha=3, head="adapt")),
    "lora-pissa": _first_update(LoRA(rank=2, alpha=3, init="pissa", dropout=0.3), anywhere=True),
    "lora-milora": _first_update(LoRA(rank=2, alpha=3, init="milora")),
    "lora-olora": _first_update(LoRA(rank=2, alpha=3, init="olora", head="adapt")),
    "dora-olora": _first_update(DoRA(rank=2, alpha=3, init="olora"), anywhere=True),
    "dora-pissa-per-input": _first_update(
        DoRA(rank=2, alpha=3, init="pissa", magnitude="per_input", dropout=0.3)
    ),
    "lora-ga": replace(
        low_rank(LoRA(rank=2, alpha=3, init="lora_ga"), anywhere=True),
        drawn=frozenset({"lora_A", "first_A"}),
        lane=_data_lane,
        exact=False,
    ),
    "dora-eva": low_rank(DoRA(rank=2, alpha=3, init="eva")),
    "dora-corda": replace(
        low_rank(DoRA(rank=2, alpha=3, init="corda")), drawn=frozenset({"lora_A", "first_A"})
    ),
}
