"""A row of the table of strategies, and closed forms of what strategies train."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from adapterlab.adapters import Combined, LoRA, Strategy
from adapterlab.adapters.strategy import HeadMode
from adapterlab.adapters.weights import is_linear, sizes, weight_layers
from adapterlab.base.dotted_names import within
from adapterlab.models.protocol import adaptable

Count = Callable[[nn.Module, bool], int]
"""Trained parameters of a base in closed form: outside the head, or (True) adapted ones inside."""


@dataclass(frozen=True)
class Row:
    """A strategy, and what the laws need to know of it.

    Attributes:
        strategy: to be tested.
        count: its parameters, see `Count`.
        drawn: names of the tensors of its layers whose first values a seed draws.
        exact: whether it starts as the base bit for bit, rather than nearly.
        nearly: how far logits are from the base's where it does not; None for rounding.
        lane: returns the strategy of lane i, as different as lanes of a pack may be.
        anywhere: whether it names no layer of these models, and so fits a transformer too.
        starts: whether it starts as the base at all.
        alone: whether its layers have no batched counterpart, so that its runs are never packed.
        lacking: models of the table that have no layer for it, and refuse it.
    """

    strategy: Strategy
    count: Count
    drawn: frozenset[str] = frozenset()
    exact: bool = True
    nearly: float | None = None
    lane: Callable[[Any, int], Strategy] = lambda strategy, i: strategy
    anywhere: bool = False
    starts: bool = True
    alone: bool = False
    lacking: frozenset[str] = frozenset()

    def fits(self, model: str) -> bool:
        return model not in self.lacking


def unwrapped(name: str) -> str:
    """Return the name of a module or parameter in what `wrapped` has wrapped."""
    return name.removeprefix("model.")


def of_names(chosen: Callable[[str], bool]) -> Count:
    """Count the base's own parameters of these names."""

    def count(base: nn.Module, head: bool) -> int:
        heads = adaptable(base).head_modules
        named = base.named_parameters()
        return sum(p.numel() for n, p in named if chosen(unwrapped(n)) and within(n, heads) == head)

    return count


def of_linear(
    per_layer: Callable[[str, int, int], int], targets: tuple[str, ...] = ("*",), head: str = "*"
) -> Count:
    """Count so many for each linear layer: of its name, inputs and outputs."""

    def count(base: nn.Module, in_head: bool) -> int:
        aliases: Mapping[str, tuple[str, ...]] = getattr(base, "target_aliases", {})
        patterns = [p for t in ((head,) if in_head else targets) for p in aliases.get(t, (t,))]
        by_name = any(t in aliases for t in targets)
        return sum(
            per_layer(name, *sizes(layer))
            for name, layer in weight_layers(base, head=in_head).items()
            if (is_linear(layer) or by_name)
            and any(
                fnmatchcase(n, pattern) for pattern in patterns for n in (name, unwrapped(name))
            )
        )

    return count


def last_blocks(n: int) -> Count:
    """Count the last blocks."""

    def count(base: nn.Module, head: bool) -> int:
        blocks = adaptable(base).blocks[-n:]
        return sum(p.numel() for b in blocks for p in base.get_submodule(b).parameters())

    return count


def both(first: Count, second: Count) -> Count:
    return lambda base, head: first(base, head) + second(base, head)


def low_rank_lane(strategy: LoRA, i: int) -> LoRA:
    """Return LoRA of another rank, scale and first values, and dropout if it has any."""
    return replace(
        strategy,
        rank=(2, 1, 4, 3)[i % 4],
        alpha=strategy.alpha + i,
        dropout=(strategy.dropout, 0.0, 0.4)[i % 3] if strategy.dropout else 0.0,
        scaling=("alpha_over_rank", "alpha_over_sqrt_rank", "alpha")[i % 3],
        init=("kaiming", "gaussian", "both_normal")[i % 3],
    )


def low_rank(
    strategy: LoRA,
    *,
    targets: tuple[str, ...] = ("*",),
    ranks: Mapping[str, int] | None = None,
    head: str = "*",
    beside: Count | None = None,
    anywhere: bool = False,
) -> Row:
    """Return the row of a LoRA or a DoRA.

    Args:
        strategy: of rank 2 where `ranks` says nothing else.
        targets: shell patterns of the adapted layers' whole names, or short names.
        ranks: by such a pattern, the first that matches.
        head: pattern of adapted layers in the head.
        beside: counts what is trained beside the updates.
        anywhere: see `Row`.
    """
    magnitude = getattr(strategy, "magnitude", None)

    def per_layer(name: str, d_in: int, d_out: int) -> int:
        own = unwrapped(name)
        found = [rank for pattern, rank in (ranks or {}).items() if fnmatchcase(own, pattern)]
        more = {None: 0, "per_output": d_out, "per_input": d_in}[magnitude]
        return (found or [2])[0] * (d_in + d_out) + more

    count = of_linear(per_layer, targets, head)
    return Row(
        strategy,
        both(count, beside) if beside else count,
        drawn=frozenset({"lora_A"}),
        # Wx and b are added in two steps by DoRA and in one in the base.
        exact=magnitude != "per_output",
        lane=low_rank_lane,
        anywhere=anywhere,
    )


def combined(parts: Mapping[str, Row], *, head: HeadMode = "train") -> Row:
    """Return the row of a combination, of the rows of its parts; the last adapts the head."""
    rows = list(parts.values())

    def lane(strategy: Combined, i: int) -> Combined:
        return replace(
            strategy,
            parts={name: parts[name].lane(part, i) for name, part in strategy.parts.items()},
        )

    def count(base: nn.Module, in_head: bool) -> int:
        return sum(row.count(base, in_head) for row in (rows[-1:] if in_head else rows))

    return Row(
        Combined(parts={name: row.strategy for name, row in parts.items()}, head=head),
        count,
        drawn=frozenset[str]().union(*(row.drawn for row in rows)),
        exact=all(row.exact for row in rows),
        lane=lane,
    )


EVERYTHING = of_names(lambda name: True)
BIASES = of_names(lambda name: name.endswith((".bias", "_bias")))
NOTHING = of_names(lambda name: False)
