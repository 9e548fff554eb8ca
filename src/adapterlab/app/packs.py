"""What the packed launcher shows: its plan, the tasks that it leaves to an engine, and each run."""

from collections.abc import Sequence

from rich.table import Table

from adapterlab.app.console import console, print_line, print_pruned
from adapterlab.base.amounts import memory
from adapterlab.studies.planning.packing import PlannedPack
from adapterlab.studies.tasks.records import Record, State

__all__ = ["print_line", "print_packs", "print_pruned", "print_tasks"]


def print_packs(packs: Sequence[PlannedPack], jobs: Sequence[str], where: str) -> None:
    """Print which runs of a study would be trained together, and where, if not here."""
    table = Table(title="What is trained together", title_justify="left", show_lines=True)
    for heading in ("pack", "runs", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("together because, or alone because", overflow="fold")
    table.add_column("runs", overflow="fold")
    for number, pack in enumerate(packs, 1):
        names = "\n".join(jobs[job] for job in pack.jobs)
        table.add_row(
            str(number) if pack.packed else "-",
            str(len(pack.jobs)),
            memory(pack.gib),
            pack.why,
            names,
        )
    if where:
        table.caption = f"on {where}"
    console.print(table)


def print_tasks(tasks: Sequence[tuple[Record, State]], where: str) -> None:
    """Print the tasks of a study that were submitted and are not waited for, with their states."""
    table = Table(title=f"Submitted to {where}", title_justify="left", show_lines=True)
    for heading in ("job", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("runs", overflow="fold")
    for task, state in tasks:
        runs = "\n".join(task.runs) or "none: what several of the others need"
        table.add_row(str(task.job or "-"), state, runs)
    console.print(table)
    print("the same command with resume=true collects what they have done")
