"""Commands in processes that have loaded all that they need: forked, so that many can be tried."""

import atexit
import contextlib
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from faults.trying import CHECKOUT, Ended, environment

_LOADED = (
    "adapterlab.runs.packs.pack",
    "adapterlab.training.plain.loop",
    "adapterlab.reporting.report",
    "adapterlab.studies.launching.launch",
    "hydra_plugins.adapterlab_packed_launcher.packed_launcher",
    "mlflow",
    "matplotlib.pyplot",
)


@dataclass
class Warm:
    """A command that was started; what it prints goes to files in its folder."""

    pid: int
    out: Path
    err: Path
    code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def ended(self, timeout: float = 300) -> Ended:
        """Wait for its end, and return what it printed; it is killed when time is up."""
        limit = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > limit:
                self.kill()
            time.sleep(0.01)
        assert self.code is not None
        out, err = (path.read_text(errors="replace") for path in (self.out, self.err))
        return Ended(self.code, out, err)

    def kill(self, number: int = signal.SIGKILL, *, group: bool = True) -> None:
        """Send a signal to it, and with `group` to the processes that it has started."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)


def start(root: Path, *arguments: str, before: Callable[[], None] | None = None) -> Warm:
    """Start ``src/train.py`` in a process group of its own.

    Args:
        root: of its runs.
        *arguments: of the command line.
        before: called in the new process: the fault.
    """
    _load()
    logs = root.parent / f"{root.name}-printed"
    logs.mkdir(exist_ok=True)
    number = len(list(logs.iterdir())) // 2
    out, err = logs / f"{number}.out", logs / f"{number}.err"
    out.touch()
    err.touch()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _be(root, out, err, arguments, before)
    return Warm(pid, out, err)


def command(root: Path, *arguments: str, before: Callable[[], None] | None = None) -> Ended:
    """Run ``src/train.py`` to its end; see `start`."""
    return start(root, *arguments, before=before).ended()


@cache
def _load() -> None:
    import torch

    torch.set_num_threads(1)
    for name in _LOADED:
        importlib.import_module(name)


def _be(
    root: Path,
    out: Path,
    err: Path,
    arguments: tuple[str, ...],
    before: Callable[[], None] | None,
) -> None:
    """Be the command, and end."""
    code = 1
    try:
        os.setsid()
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
        os.environ.update(environment(root))
        os.chdir(root)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = [str(CHECKOUT / "src" / "train.py"), *arguments]
        if before is not None:
            before()
        from adapterlab.app import cli

        cli.train()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # ends pools of processes
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
