"""Ctrl-C once and twice, SIGTERM and SIGHUP at any moment, with every launcher and with workers."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from faults import results, warm
from faults.trying import TINY, TRACEBACK, Setting, Trial

COUNT = 20

OUTLIVES_SECONDS = 5.0
"""That a process may outlive its parent."""

_LONG = (*(option for option in TINY if not option.startswith("epochs")), "epochs=4000")

HOW: dict[str, tuple[str, ...]] = {
    "alone": ("study=long",),
    "workers": ("study=long", "hardware.workers=2"),
    "basic": ("-m", "study=long", "seed=0,1"),
    "packed": ("-m", "study=long", "hydra/launcher=packed", "seed=0,1,2"),
    "packed, 2 processes": (
        *("-m", "study=long", "hydra/launcher=packed", "hydra.launcher.processes=2"),
        "adapter=lora,full",
    ),
    "joblib": ("-m", "study=long", "hydra/launcher=joblib", "seed=0,1"),
}

SIGNALS: dict[str, tuple[int, ...]] = {
    "SIGINT": (signal.SIGINT,),
    "SIGINT twice": (signal.SIGINT, signal.SIGINT),
    "SIGTERM": (signal.SIGTERM,),
    "SIGHUP": (signal.SIGHUP,),
    "SIGKILL": (signal.SIGKILL,),
}

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGKILL: -9}


def tries(setting: Setting) -> Iterator[Trial]:
    """Go through all pairs of a signal and a way to run, in an order by chance."""
    pairs = [(name, how) for name in SIGNALS for how in HOW]
    setting.rng.shuffle(pairs)
    for number in range(setting.count):
        name, how = pairs[number % len(pairs)]
        root = setting.root(f"{number}")
        moment = setting.rng.uniform(0, 4)
        pause = setting.rng.uniform(0.15, 1)
        group = setting.rng.random() < 0.5 and name != "SIGKILL"
        yield Trial(f"{name}, {how}", *_tried(root, name, how, moment, pause, group=group))


def _tried(
    root: Path, name: str, how: str, moment: float, pause: float, *, group: bool
) -> tuple[bool, str]:
    """Signal a command some seconds after its first run has begun; say whether all held."""
    arguments = (*HOW[how], *_LONG)
    command = warm.start(root, *arguments)
    _wait_for_run(root, command)
    _wait(moment, command)
    children = psutil.Process(command.pid).children(recursive=True)
    for number in SIGNALS[name]:
        command.kill(number, group=group)
        _wait(pause, command)
    since = time.monotonic()
    while command.poll() is None and time.monotonic() - since < 60:
        time.sleep(0.02)
    seconds = time.monotonic() - since
    psutil.wait_procs(children, OUTLIVES_SECONDS)
    alive = [_named(child) for child in children if _named(child)]
    ended = command.ended(1)
    command.kill()
    statuses = results.of_runs(root, "long")
    whom = "its group" if group else "the process"
    wrong = None
    if ended.code != CODES[signal.Signals(SIGNALS[name][0])]:
        wrong = f"exit {ended.code}"
    elif TRACEBACK in ended.err:
        wrong = f"a traceback: {ended.err.strip().splitlines()[-1]}"
    elif alive:
        wrong = f"{len(alive)} processes are left: {alive[0]}"
    elif name == "SIGINT twice" and seconds > OUTLIVES_SECONDS:
        wrong = f"the second took {seconds:.0f} s"
    elif name != "SIGKILL" and set(statuses) - {"KILLED", "FINISHED"}:
        wrong = f"statuses {statuses}"
    if wrong is None:
        return True, "its exit code, KILLED, no process left after 5 s"
    return False, (
        f"{wrong}; {name} to {whom} {moment:.2f} s after the first run began, "
        f"python src/train.py {' '.join(arguments)}: {ended.err.strip().splitlines()[-2:]}"
    )


def _named(process: psutil.Process) -> str:
    """Return what a process was started as; empty where it has ended."""
    try:
        return " ".join(process.cmdline())[-200:]
    except psutil.Error:  # ZombieProcess among them: it has ended, and nobody has asked after it
        return ""


def _wait_for_run(root: Path, command: warm.Warm) -> None:
    limit = time.monotonic() + 120
    while time.monotonic() < limit and command.poll() is None:
        if results.of_runs(root, "long"):
            return
        time.sleep(0.02)


def _wait(seconds: float, command: warm.Warm) -> None:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and command.poll() is None:
        time.sleep(0.01)
