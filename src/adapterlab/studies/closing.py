"""What is still to be done when the training of a command has ended, however it has.

Nothing heavy is imported at the top: every command line loads this.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial

from adapterlab.interrupts import INTERRUPTED
from adapterlab.journal import is_there, left
from adapterlab.patience import ANSWERED
from adapterlab.signals import at_sudden_end
from adapterlab.studies.callback import StartedStudy, started
from adapterlab.studies.foreseen import foresee
from adapterlab.study_run import MULTIRUN_VARIABLE, STUDY_VARIABLE
from adapterlab.told import VARIED_VARIABLE

UNDELIVERED = 1
"""Exit code where all has been trained, and MLflow has not got all of it."""


def end_command(ended_by: BaseException | None) -> None:
    """Say what a plan could find, end the studies that have been started, and say what is kept.

    Args:
        ended_by: what has ended the command before its time, if anything has.

    Raises:
        SystemExit: nothing else is wrong, but MLflow has not got all.
    """
    foresee(ended_by)
    # A later multirun has its own.
    for variable in (STUDY_VARIABLE, VARIED_VARIABLE, MULTIRUN_VARIABLE):
        os.environ.pop(variable, None)
    why: str | None = None
    while started:
        from adapterlab.studies.ending import end_study

        study = started.pop()
        with at_sudden_end(partial(end_at_once, [study]), last=True):
            why = end_study(study, ended_by) or why
    kept = [path for path in left if is_there(path)]
    left.clear()
    os.environ.pop(ANSWERED, None)
    if kept and why is None:
        from adapterlab.syncing import explained

        why = explained(kept, "its server does not answer")
    if why is None:
        return
    if ended_by is None or (isinstance(ended_by, SystemExit) and not ended_by.code):
        print(f"error: {why}", file=sys.stderr)
        sys.exit(UNDELIVERED)
    print(f"warning: {why}", file=sys.stderr)


def end_at_once(studies: Sequence[StartedStudy] = started) -> None:
    """Mark as KILLED what a second Ctrl-C has ended of studies: runs whose processes are gone.

    Args:
        studies: those that this process has started.
    """
    from adapterlab.lost_runs import bury_of_study
    from adapterlab.store import connect
    from adapterlab.studies.ending import end_run

    for study in studies:
        if study.tracked:
            end_run(study, SystemExit(INTERRUPTED))
            client = connect(study.tracking_uri, study.mlruns)
            bury_of_study(client, study.mlruns, study.name, study.experiment)
