"""The command that ends a study that is under way."""

import sys
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
    from adapterlab.studies.status.cancelling import Cancelled


@listening()
@seldom_collected()
def cancel() -> None:
    """End a study that is under way: the console script `adapterlab-cancel`."""
    run_command(_cancel, names_arms=True)


@program(CONF, "cancel")
def _cancel(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = values_of(cfg)
        from adapterlab.studies.status.cancelling import cancel as carry_out
        from adapterlab.studies.status.cancelling import parse_request

        done = carry_out(parse_request(values))
    for one in done.told:
        print(printable(f"ended: {one}"))
    for one, why in done.unreached.items():
        print(printable(f"error: not ended: {one}: {why}"), file=sys.stderr)
    print(printable(said(done)))
    if done.unreached:
        sys.exit(1)


def said(done: "Cancelled") -> str:
    """Return the sentence that says what has come of it."""
    study = done.after
    names = ("done", "pruned", "going", "waiting", "failed", "killed", "not begun")
    counts = {name: study.count(name) for name in names}  # type: ignore[arg-type]
    stands = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if not (done.told or done.killed or done.unreached or done.before.is_open):
        return f"study={study.study}: nothing of it is under way ({stands or 'no runs'})"
    ended = f"{done.killed} run{'' if done.killed == 1 else 's'} ended"
    return f"study={study.study}: {ended}; {stands or 'no runs'}; resume=true goes on with it"
