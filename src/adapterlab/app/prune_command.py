"""The command that cuts ranks out of a finished run's adapter."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from adapterlab.app.arguments import values_of
from adapterlab.app.cli import run_command
from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.base.garbage_collection import seldom_collected
from adapterlab.base.redaction import printable
from adapterlab.base.signals import listening
from adapterlab.config.conf_folder import CONF
from adapterlab.config.hydra_versions import program

if TYPE_CHECKING:
    from adapterlab.runs.pruning.cutting import Pruning


@listening()
@seldom_collected()
def prune() -> None:
    """Cut ranks out of a finished run's adapter: the console script `adapterlab-prune`."""
    run_command(_prune)


@program(CONF, "prune")
def _prune(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = values_of(cfg)
        from adapterlab.runs.pruning.cutting import parse_request, prune_saved

        request = parse_request(values)
        os.environ.setdefault(
            "MPLCONFIGDIR", str(Path(request.root).expanduser() / "mlruns/cache/matplotlib")
        )
        pruning = prune_saved(request)
    _print(pruning)


def _print(pruning: "Pruning") -> None:
    from rich.table import Table

    from adapterlab.app.console import console, number, print_paths

    curve, chosen = pruning.curve, pruning.curve.chosen
    title = f"{pruning.name}: {curve.metric} on validation by what is kept"
    table = Table(title=title, title_justify="left", min_width=len(title))
    for name in ("keep", "ranks", "parameters", "threshold", "validation", ""):
        table.add_column(name, justify="left" if name == "" else "right")
    whole = f"{curve.whole:.4f}"
    table.add_row("whole", number(curve.ranks), number(curve.trained), "", whole, "")
    for point in curve.points:
        table.add_row(
            f"{point.keep:g}",
            number(point.ranks),
            number(point.parameters),
            f"{point.threshold:.3g}",
            f"{point.score:.4f}",
            "chosen" if point == chosen else "",
        )
    console.print(table)
    main = f"test/{pruning.main}"
    before, after = pruning.before.get(main), pruning.result.metrics[main]
    was = "not measured" if before is None else f"{before:.2%}"
    lines: dict[str, Path | str] = {
        "chosen": curve.why,
        "updates": f"{number(chosen.parameters)} of {number(curve.trained)} parameters "
        f"({chosen.parameters / curve.trained:.1%}), {len(pruning.ranks)} of "
        f"{number(curve.layers)} layers",
        "ranks": ", ".join(f"{name} {rank}" for name, rank in list(pruning.ranks.items())[:_MANY])
        + (f" and {len(pruning.ranks) - _MANY} more" if len(pruning.ranks) > _MANY else ""),
        f"{pruning.main} on the test split": f"{after:.2%}, of the whole adapter {was}",
        "the pruned run": pruning.result.folder,
    }
    if pruning.result.run_id is not None:
        lines["MLflow run"] = pruning.result.run_id
    print_paths(lines)
    for line in curve.left_out:
        print(printable(f"note: not tried: {line}"))
    if pruning.found:
        print(printable("note: this pruned run was there already: nothing was measured on test"))


_MANY = 8
