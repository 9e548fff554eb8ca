"""The end of a command, however its training has ended: studies are closed, leftovers are said.

Nothing heavy is imported at the top: every command line loads this.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial

from adapterlab.app.started_studies import StartedStudy, started
from adapterlab.base.interrupts import INTERRUPTED
from adapterlab.base.signals import at_sudden_end
from adapterlab.config.multirun import MULTIRUN_VARIABLE, STUDY_VARIABLE
from adapterlab.config.overrides import VARIED_VARIABLE
from adapterlab.studies.launching.failures import tell_rest
from adapterlab.studies.launching.submitted import submitted
from adapterlab.studies.planning.power import foresee
from adapterlab.tracking.servers.journal import take_left
from adapterlab.tracking.servers.patience import ANSWERED

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
    tell_rest()
    # A later multirun has its own.
    for variable in (STUDY_VARIABLE, VARIED_VARIABLE, MULTIRUN_VARIABLE):
        os.environ.pop(variable, None)
    why: str | None = None
    # Of those whose tasks were only submitted there is nothing to show yet.
    started[:] = [study for study in started if study.name not in submitted]
    submitted.clear()
    while started:
        from adapterlab.app.study_end import end_study

        study = started.pop()
        with at_sudden_end(partial(end_at_once, [study]), last=True):
            why = end_study(study, ended_by) or why
    kept = take_left()
    os.environ.pop(ANSWERED, None)
    if kept and why is None:
        from adapterlab.runs.folders.undelivered import explained

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
    from adapterlab.app.study_end import end_run
    from adapterlab.runs.folders.abandoned import bury_of_study
    from adapterlab.tracking.client import connect

    for study in studies:
        if study.tracked:
            end_run(study, SystemExit(INTERRUPTED))
            client = connect(study.tracking_uri, study.mlruns)
            bury_of_study(client, study.mlruns, study.name, study.experiment)
