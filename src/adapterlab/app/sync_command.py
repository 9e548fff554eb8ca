"""The command that delivers what an MLflow server has not got."""

import sys

from omegaconf import DictConfig

from adapterlab.app.arguments import values_of
from adapterlab.app.cli import run_command
from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.base.garbage_collection import seldom_collected
from adapterlab.base.signals import listening
from adapterlab.config.conf_folder import CONF
from adapterlab.config.hydra_versions import program


@listening()
@seldom_collected()
def sync() -> None:
    """Deliver to MLflow what it has not got of runs: the console script `adapterlab-sync`."""
    run_command(_sync)


@program(CONF, "sync")
def _sync(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = values_of(cfg)
        from adapterlab.runs.folders.undelivered import parse_request, run_sync

        synced = run_sync(parse_request(values))
    for line in synced.lines:
        print(line)
    if synced.complaint:
        print(f"error: {synced.complaint}", file=sys.stderr)
        sys.exit(1)
