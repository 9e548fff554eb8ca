"""Jobs of submitit that another command has submitted, ended by what was written down of them."""

import shutil
import signal
from collections.abc import Sequence

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.process_identity import is_elsewhere
from adapterlab.studies.engines.clusters import slurm
from adapterlab.studies.engines.clusters.submitit_processes import is_controller, send_signal
from adapterlab.studies.tasks.records import Record


def require_reach(record: Record) -> None:
    """Refuse a job that cannot be ended from here; see `engines.Recalls`."""
    job = record.job
    if job is None:
        raise AdapterLabError("its command ended before it had written down the number of the job")
    if record.cluster is None:
        raise AdapterLabError(f"job {job}: of which cluster it is was not written down")
    if record.cluster == "local" and is_elsewhere(record.command):
        raise AdapterLabError(f"process {job} is of another machine: cancel there")
    if record.cluster == "slurm" and shutil.which("scancel") is None:
        raise AdapterLabError(
            f"job {job} is Slurm's, and there is no `scancel` on PATH: cancel where there is one"
        )


def open_recorded(records: Sequence[Record]) -> set[str]:
    """Return the ids of jobs that are not over; see `engines.Recalls`."""
    slurms = {str(one.job): one.id for one in records if one.cluster == "slurm"}
    here = [one for one in records if one.cluster != "slurm"]
    found = {one.id for one in here if is_controller(int(str(one.job)))}
    if slurms:
        states = slurm.states(list(slurms))
        if states is None:
            raise AdapterLabError("Slurm does not answer: `squeue` says what is wrong")
        found |= {slurms[job] for job, state in states.items() if state.is_open}
    return found


def end_recorded(record: Record) -> None:
    """Tell a job to end; see `engines.Recalls`."""
    if record.cluster == "slurm":
        slurm.cancel(str(record.job))
    elif is_controller(number := int(str(record.job))):  # it may have been given anew
        send_signal(number, signal.SIGTERM)
