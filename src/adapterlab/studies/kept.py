"""What runs have left on the disk to go on from: whether an attempt at a task was of any use."""

from collections.abc import Sequence

from adapterlab.config.schema import Config
from adapterlab.runs.homes import homes


def kept(configs: Sequence[Config]) -> frozenset[tuple[str, int]]:
    """Return the files that runs go on from, with the times at which they were written.

    An attempt that leaves them as they were has come no further: not one epoch, of no run.
    """
    found = set()
    for config in configs:
        for home in homes(config):
            files = [home.result]
            if home.checkpoints.is_dir():
                files += home.checkpoints.iterdir()
            for path in files:
                try:
                    found.add((str(path), path.stat().st_mtime_ns))
                except OSError:  # it is not there, or replaced at this moment
                    continue
    return frozenset(found)
