"""How long a run will take that is going: by its epochs, or by runs that have ended; or why not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from adapterlab.base.amounts import counted
from adapterlab.base.locks import is_stopped, process_here
from adapterlab.base.process_identity import number_here
from adapterlab.tracking.study_runs import FINISHED, LoggedRun

_MILLISECONDS = 0.01
"""MLflow counts in whole ones."""


@dataclass(frozen=True)
class TimeLeft:
    """What is known of the time that a run will take.

    Attributes:
        seconds: until it has ended; None if nothing tells.
        why: nothing does, in a clause; empty otherwise.
        paced: by its own epochs, so that they say how fast the study is.
    """

    seconds: float | None = None
    why: str = ""
    paced: bool = False


def typical_seconds(runs: Sequence[LoggedRun], since: float | None) -> float | None:
    """Return what runs of a study took that have finished: half of them less, half of them more.

    Args:
        runs: of the study.
        since: when what is at it now has begun; those of before count where there are no others.
            Those that were begun before and ended after it took a pause, and count never.
    """
    ended = [(run, run.ended) for run in runs if run.status == FINISHED and run.ended is not None]
    now = [end - run.began for run, end in ended if since is None or not _is_earlier(run, since)]
    before = [end - run.began for run, end in ended if since is not None and end < since]
    found = now or before
    return median(found) if found else None


def time_left(run: LoggedRun, began: float | None, typical: float | None, now: float) -> TimeLeft:
    """Return what is known of the time that a run will take which is going.

    Args:
        run: as MLflow has it.
        began: when what carries it out now has begun; None if that is not known. Of a run from
            before it is not said which epochs are of this attempt.
        typical: seconds of runs of its study that have finished; None without one.
        now: in seconds since 1970.
    """
    number = number_here(run.process)
    if number is not None and is_stopped(number):
        return TimeLeft(why=f"it hangs on {process_here(number)}")
    again = began is not None and _is_earlier(run, began)
    heard = run.heard if run.epoch and run.epochs else None
    if heard is not None and not again:
        paced = (heard - run.began) / run.epoch * (run.epochs - run.epoch)
        return TimeLeft(max(paced - (now - heard), 0.0), paced=True)
    if typical is None:
        return TimeLeft(why=_untold(run, again=again))
    start = run.began if began is None else max(began, run.began)
    since = start if heard is None else max(heard, start)
    seconds = typical * (1 - run.share) - (now - since)
    if seconds <= 0:
        return TimeLeft(why="it is under way for longer than those took that have ended")
    return TimeLeft(seconds)


def _untold(run: LoggedRun, *, again: bool) -> str:
    if again:
        return "it goes on from an earlier attempt, and no other run has ended yet"
    if not run.epochs:
        return "how many epochs it trains has not been said"
    return "no epoch has ended yet, nor has another run"


def why_untold(going: Sequence[TimeLeft], *, waiting: bool) -> str:
    """Return why the time left is not known of what is under way; empty where it is.

    Args:
        going: of the runs that are going.
        waiting: whether there are others whose time would be known by how fast these are.
    """
    untold = Counter(one.why for one in going if one.seconds is None)
    told = [f"{why} ({counted(number, 'run')})" for why, number in untold.items()]
    if not told and waiting:
        return "none has come to the end of an epoch yet"
    return "; ".join(told)


def _is_earlier(run: LoggedRun, moment: float) -> bool:
    return run.began < moment - _MILLISECONDS
