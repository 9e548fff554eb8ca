"""The line of each run that has failed; one for all that an absent store has kept from beginning.

Every command line loads this: nothing heavy.
"""

import sys
from typing import NamedTuple

from adapterlab.base.amounts import counted
from adapterlab.base.errors import AdapterLabError, TrialPrunedError, first_line, with_type
from adapterlab.base.redaction import shown
from adapterlab.tracking.servers.errors import StoreAwayError


class _Alike(NamedTuple):
    why: str
    runs: int


_untold: list[_Alike] = []
"""What was not said of runs, since it was said of one before: at most one."""


def tell_failed(run: str, error: BaseException, *, counted: bool = True) -> None:
    """Print that a run has failed, or was stopped by a pruner.

    Args:
        run: its options, as they were given.
        error: that has ended it.
        counted: `tell_rest` will be called in this process, so that what is alike can wait for it.
    """
    if isinstance(error, TrialPrunedError):
        print(shown(f"{error}: {run}"), file=sys.stderr)
        return
    why = first_line(error) if isinstance(error, AdapterLabError) else with_type(error)
    if counted and isinstance(error, StoreAwayError):
        if _untold and _untold[0].why == why:
            _untold[0] = _Alike(why, _untold[0].runs + 1)
            return
        tell_rest()
        _untold.append(_Alike(why, 0))
    print(shown(f"failed: {run}: {why}"), file=sys.stderr)


def tell_rest() -> None:
    """Print how many runs have failed besides by what was said of one, if there are any."""
    for alike in _untold:
        if alike.runs:
            runs = counted(alike.runs, "more run")
            print(shown(f"failed: {runs}: {alike.why}"), file=sys.stderr)
    _untold.clear()
