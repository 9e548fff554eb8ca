"""The multirun that this process works for, told to all its processes by their environment."""

import os
import time
import uuid

from adapterlab.base.process_identity import this_process

MULTIRUN_VARIABLE = "ADAPTERLAB_MULTIRUN"
"""The environment variable by which the processes of a multirun know it."""

STUDY_VARIABLE = "ADAPTERLAB_STUDY"
"""The environment variable that hands a derived name to every process of a study."""


def begin_multirun() -> str:
    """Say that a multirun is under way, to this process and those that it starts.

    Returns:
        Its name: the milliseconds at which it started, what no other has, and this process.
    """
    name = f"{time.time_ns() // 1_000_000}-{uuid.uuid4().hex[:12]}-{this_process()}"
    os.environ[MULTIRUN_VARIABLE] = name
    return name


def current_multirun() -> str | None:
    """Return the name of the multirun that this process works for, None if there is none."""
    return os.environ.get(MULTIRUN_VARIABLE)


def multirun_began() -> float | None:
    """Return when the multirun of this process began, in seconds since 1970; None without one."""
    began = (current_multirun() or "").partition("-")[0]
    return int(began) / 1000 if began.isdigit() else None


def derived_study() -> str | None:
    """Return the name that a multirun has given its study, None if it was given one."""
    return os.environ.get(STUDY_VARIABLE) if current_multirun() else None
