"""What a run would train, and on what, as a table and lines below it."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from adapterlab.app.console import console, number, print_notes, print_text

if TYPE_CHECKING:
    from adapterlab.adapters import Plan, PlannedLayer


def print_plan(plan: "Plan", title: str, data: Sequence[str], notes: Sequence[str]) -> None:
    """Print what would be trained, layer by layer; of the data what they hold, and what to know."""
    table = Table(title=f"What {title} trains", title_justify="left")
    table.add_column("layer", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    table.add_column("how", overflow="fold")
    for name in ("adapter", "head", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for name, alike in _alike(plan):
        first = alike[0]
        table.add_row(
            name,
            " x ".join(str(size) for size in first.shape),
            first.method,
            number(sum(layer.adapter for layer in alike)),
            number(sum(layer.head for layer in alike)),
            number(sum(layer.size for layer in alike)),
            f"{sum(layer.adapter + layer.head for layer in alike) / plan.count.total:.2%}",
        )
    table.add_section()
    share = plan.count.trainable / plan.count.total
    table.add_row(
        "trained",
        "",
        "",
        number(plan.count.adapter),
        number(plan.count.head),
        number(plan.size),
        f"{share:.2%}",
    )
    console.print(table)
    if plan.reached is not None:
        console.print(f"adapters reach {plan.reached:.1%} of the weights of the body's layers")
    trained, total = number(plan.count.trainable), number(plan.count.total)
    print_text(f"{trained} of {total} parameters are trained")
    if not plan.mergeable:
        print_text("they cannot be merged into the base, so the run cannot be exported")
    for said in data:
        print_text(said)
    print_notes(notes)


def _alike(plan: "Plan") -> Iterator[tuple[str, list["PlannedLayer"]]]:
    """Yield the layers, those of one kind in several blocks in one row."""
    groups: dict[tuple[Any, ...], list[PlannedLayer]] = {}
    for layer in plan.layers:
        pattern = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", layer.name)
        key = pattern, layer.shape, layer.method, layer.adapter, layer.head
        groups.setdefault(key, []).append(layer)
    for (pattern, *_), alike in groups.items():
        yield (f"{pattern} ({len(alike)})" if len(alike) > 1 else alike[0].name), alike
