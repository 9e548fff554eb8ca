"""`plan=true` of a run: what it would train, and a warning where its rate is unusual."""

import warnings

from adapterlab.app.plan_table import print_plan
from adapterlab.config.own_data import is_own
from adapterlab.config.schema import CheckpointBase, Config
from adapterlab.runs.check import check
from adapterlab.runs.identity import run_name
from adapterlab.runs.plan_warnings import high_rate, quicker_precision, small_reach
from adapterlab.studies.planning.power import planned


def show_plan(config: Config) -> None:
    """Print what a run would train, and remember that it was planned.

    What lies here is looked at as a run would, so that what a run refuses is refused: the user's
    own data, and the weights of `base=checkpoint`. Published data sets are not fetched for a plan.

    Raises:
        AdapterLabError: an option is wrong, files that alone tell shape or classes are missing, or
            a run would refuse the user's own data or weights.
    """
    plan, read, data = check(config), None, []
    if plan is None or is_own(config.dataset.loader):
        from adapterlab.runs.plan_checks import plan_on_data
        from adapterlab.runs.split_summary import split_summary

        plan, read = plan_on_data(config)
        data = split_summary(config, read)
    elif isinstance(config.base, CheckpointBase):
        from adapterlab.runs.plan_checks import require_weights

        require_weights(config, None)  # options say shape and classes
    notes = () if read is None else read.target.notes
    quicker = quicker_precision(config)
    print_plan(plan, run_name(config), data, notes if quicker is None else (*notes, quicker))
    if (rate := high_rate(config, plan)) is not None:
        warnings.warn(rate, stacklevel=1)
    if (reach := small_reach(config, plan)) is not None:
        warnings.warn(reach, stacklevel=1)
    planned.append(config)
