"""`plan=true` of a run: what it would train, and a warning where its rate is unusual."""

import warnings

from adapterlab.app.console import print_plan
from adapterlab.config.schema import Config
from adapterlab.runs.check import check, high_rate, small_reach
from adapterlab.runs.identity import run_name
from adapterlab.studies.foreseen import planned


def show_plan(config: Config) -> None:
    """Print what a run would train, and remember that it was planned.

    Raises:
        AdapterLabError: an option is wrong, or files that alone tell shape or classes are missing.
    """
    plan = check(config)
    if plan is None:  # shape or classes are only in the data set's files
        from adapterlab.runs.assembly import plan_from_files

        plan = plan_from_files(config)
    print_plan(plan, run_name(config))
    if (rate := high_rate(config, plan)) is not None:
        warnings.warn(rate, stacklevel=1)
    if (reach := small_reach(config, plan)) is not None:
        warnings.warn(reach, stacklevel=1)
    planned.append(config)
