"""The files that a task's runs would resume from: they tell whether an attempt came further."""

from adapterlab.runs.base_weights import base_run
from adapterlab.runs.folders.homes import homes
from adapterlab.studies.tasks.engine import Task


def resumable_files(task: Task) -> frozenset[tuple[str, int]]:
    """Return the files that a task's runs go on from, with the times at which they were written.

    An attempt that leaves them as they were has come no further: not one epoch, of no run. A task
    that prepares runs trains their bases, if any.
    """
    found = set()
    bases = (base_run(config) for config in task.configs)
    for config in (one for one in bases if one) if task.prepares else task.configs:
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
