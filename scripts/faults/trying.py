"""What all kinds of faults share: a setting, commands as a user starts them, results."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

TINY = (
    "dataset=digits_rotated",
    "limit=96",
    "epochs=2",
    "base.epochs=2",
    "hardware=cpu",
    "hardware.threads=1",
    "hardware.precision=32-true",
)
"""A run of a second, beside the imports."""

TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Trial:
    """One fault, and whether AdapterLab held.

    Attributes:
        fault: what was done, the same words for all trials that one row of the table counts.
        held: whether what must hold held.
        what: what happened, in one line; where it did not hold, enough to do it again.
    """

    fault: str
    held: bool
    what: str


@dataclass(frozen=True)
class Setting:
    """Where a kind's trials are made.

    Attributes:
        rng: all of a kind's chance comes from it, so that a seed gives the same trials again.
        folder: an empty folder of the kind's own.
        count: how many trials to make.
    """

    rng: random.Random
    folder: Path
    count: int

    def root(self, name: str) -> Path:
        """Make an empty root for a trial."""
        root = self.folder / name
        root.mkdir(parents=True)
        return root


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), and what it printed."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str | None:
        """What is wrong with how it ended: a traceback, or an error that is not one line."""
        if TRACEBACK in self.out + self.err:
            return f"a traceback: {self.err.strip().splitlines()[-1] if self.err.strip() else ''}"
        errors = [line for line in self.err.splitlines() if line.startswith("error: ")]
        if self.code > 0 and self.code < 128 and len(errors) != 1:
            return f"exit {self.code} with {len(errors)} error lines"
        return None


def environment(root: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command whose runs lie under `root`."""
    return os.environ | {"ADAPTERLAB_ROOT": str(root), "OMP_NUM_THREADS": "1"} | more


@contextmanager
def started(
    root: Path, *arguments: str, script: str = "train", **variables: str
) -> Iterator["subprocess.Popen[str]"]:
    """Start ``scripts/SCRIPT.py`` or ``src/SCRIPT.py`` in a session of its own.

    What is left of it when the block ends is killed, with its children.
    """
    folder = "src" if script in ("train", "evaluate") else "scripts"
    process = subprocess.Popen(
        [sys.executable, str(CHECKOUT / folder / f"{script}.py"), *arguments],
        env=environment(root, **variables),
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ended(process: "subprocess.Popen[str]", timeout: float = 300) -> Ended:
    """Wait for a command's end, and return what it printed."""
    out, err = process.communicate(timeout=timeout)
    return Ended(process.returncode, out, err)


def command(
    root: Path, *arguments: str, script: str = "train", timeout: float = 300, **variables: str
) -> Ended:
    """Run a command to its end."""
    with started(root, *arguments, script=script, **variables) as process:
        return ended(process, timeout)


def statuses(root: Path) -> dict[str, str]:
    """Read all runs of a root's own store: the status of each, by its id."""
    import sqlite3

    with sqlite3.connect(f"file:{root / 'mlruns' / 'mlflow.db'}?mode=ro", uri=True) as store:
        rows: Sequence[tuple[str, str]] = store.execute(
            "SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"
        ).fetchall()
    return dict(rows)
