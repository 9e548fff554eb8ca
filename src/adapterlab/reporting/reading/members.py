"""The finished runs of an arm, which answer as one."""

from pathlib import Path

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.parsing import absolute
from adapterlab.reporting.reading.reference import find_arm
from adapterlab.reporting.reading.study import arms_of, read_runs
from adapterlab.runs.predicting.file import Request
from adapterlab.tracking.client import connect_to_read


def runs_of(request: Request) -> list[str]:
    """Return the runs that are asked: those that are named, or all of an arm that have finished.

    Raises:
        ConfigError: the study has no such arm.
        AdapterLabError: there is no such study, or none of the arm's runs has finished.
    """
    if request.study is None or request.arm is None:
        assert request.run is not None
        return [request.run] if isinstance(request.run, str) else list(request.run)
    client = connect_to_read(
        request.tracking_uri, Path(absolute(request.root)) / "mlruns", f"study={request.study}"
    )
    arms = arms_of(read_runs(client, request.study, request.experiment))
    arm = find_arm(arms, request.arm, "arm")
    if not arm.runs:
        raise AdapterLabError(f"arm={request.arm} has no finished run in study={request.study}")
    return [run.run_id for run in arm.runs]
