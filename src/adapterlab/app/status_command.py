"""The command that says how a study stands."""

import sys
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from adapterlab.app.arguments import values_of
from adapterlab.app.cli import run_command
from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.base.garbage_collection import seldom_collected
from adapterlab.base.signals import listening
from adapterlab.config.conf_folder import CONF
from adapterlab.config.hydra_versions import program

if TYPE_CHECKING:
    from adapterlab.studies.status.study_status import StudyStatus

FAILED, UNDER_WAY = 1, 3
"""Exit codes: nothing is on its way, and not all is done; some of it is on its way."""

_REASONS, _LONGEST = 5, 400


@listening()
@seldom_collected()
def status() -> None:
    """Say how a study stands: the console script `adapterlab-status`."""
    run_command(_status, names_arms=True)


@program(CONF, "status")
def _status(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = values_of(cfg)
        from adapterlab.studies.status.lookup import client_of, find_study, parse_request
        from adapterlab.tracking.servers.journal import folders

        request = parse_request(values)
        found = find_study(client_of(request), request)
        waiting = sum(1 for _ in folders(request.mlruns, [request.study]))
    print_study(found)
    if waiting:
        print(
            f"note: of {waiting} of its runs MLflow has not got all: "
            f"`python scripts/sync.py study={request.study}`"
        )
    if found.is_open:
        sys.exit(UNDER_WAY)
    if not found.is_done:
        sys.exit(FAILED)


def print_study(study: "StudyStatus") -> None:
    """Print how many runs of a study are done, going, waiting and failed, by node, and why."""
    from rich.table import Table

    from adapterlab.app.console import console, number
    from adapterlab.base.redaction import printable
    from adapterlab.studies.status.study_status import NOWHERE, reasons

    shown = ["done", "going", "waiting", "failed"]
    shown += [name for name in ("pruned", "killed", "not begun") if study.count(name)]
    table = Table(title=headline(study), title_justify="left", min_width=len(headline(study)))
    table.add_column("node", overflow="fold")
    for name in (*shown, "time left"):
        table.add_column(name, justify="right")
    for node in study.nodes:
        counts = [number(study.count(name, node)) for name in shown]  # type: ignore[arg-type]
        table.add_row("none yet" if node == NOWHERE else node, *counts, _left(study.left_on(node)))
    if len(study.nodes) > 1:
        table.add_section()
        counts = [number(study.count(name)) for name in shown]  # type: ignore[arg-type]
        table.add_row("all", *counts, _left(study.left))
    console.print(table)
    if study.why_untold:
        print(printable(f"time left is not known of all: {study.why_untold}"))
    why = reasons(study.runs)
    for reason, names in list(why.items())[:_REASONS]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(printable(f"{names[0]}{more}: {_short(reason)}"))
    if len(why) > _REASONS:
        print(f"and for {len(why) - _REASONS} other reasons")


def headline(study: "StudyStatus") -> str:
    """Return the sentence that says how a study stands."""
    runs = len(study.runs)
    said = f"Study {study.study}: {study.count('done')} of {runs} runs done"
    if pruned := study.count("pruned"):
        said += f", {pruned} pruned"
    if study.left is not None:
        said += f", {_left(study.left)} left"
    return said


def _left(seconds: float | None) -> str:
    from adapterlab.base.amounts import duration

    return "-" if seconds is None else f"about {duration(max(seconds, 1.0))}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
