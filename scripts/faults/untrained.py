"""Commands by the hundred: a process that has loaded what they need, and forks for each of them.

    python scripts/faults/untrained.py    # requests and answers are lines of JSON

A command that gets as far as a training has been accepted, and ends there with code 0. All else is
as in a process of its own, but that it has a limit of memory.
"""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from faults.trying import CHECKOUT, Ended, environment

SPARE_BYTES = 6 * 2**30
"""Of address space, beyond what is taken when a command begins."""

TIMED_OUT = 124

ACCEPTED = "accepted: it is at the point of training"
"""The last line of a command that was."""


class Untrained:
    """A process that answers with how a command ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT / "scripts")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.untrained"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment(folder, PYTHONPATH=path, MPLCONFIGDIR=str(folder)),
            start_new_session=True,
        )

    def command(
        self, root: Path, *arguments: str, script: str = "train", timeout: float = 60
    ) -> Ended:
        """Carry out a command up to its training, in `root`; the code of one out of time is 124."""
        place = self._folder / "printed"
        request = {
            "script": script,
            "arguments": arguments,
            "root": str(root),
            "printed": str(place),
            "timeout": timeout,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        code = int(answer) if answer else -1
        out, err = (
            place.with_suffix(end).read_text(encoding="utf-8", errors="backslashreplace")
            for end in (".out", ".err")
        )
        return Ended(code, out, err)

    def end(self) -> None:
        """End the process, and what it has started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def untrained(folder: Path) -> Iterator[Untrained]:
    """Have a warm process for as long as a block takes."""
    process = Untrained(folder)
    try:
        yield process
    finally:
        process.end()


def main() -> None:
    """Answer requests until there are no more."""
    _load()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(request)
        print(_waited_for(child, request["timeout"]), flush=True)


def _load() -> None:
    """Import what commands do, and put an end to each before it trains."""
    import matplotlib.pyplot  # noqa: F401
    import mlflow  # noqa: F401
    import torch

    import adapterlab.reporting.figures.study
    import adapterlab.reporting.report
    import adapterlab.reporting.selfcheck
    import adapterlab.runs.export.merged
    import adapterlab.runs.packs.pack
    import adapterlab.runs.single
    import adapterlab.studies.launching.launch
    import adapterlab.training.plain.loop
    from adapterlab.tracking import client

    torch.set_num_threads(1)
    modules: Any = adapterlab
    for module in (modules.runs.single, modules.runs.packs.pack):
        module.open_run = _accept
    launch: Any = modules.studies.launching.launch
    launch._Study._helpers = lambda *_: 0  # a helper would know nothing of this
    # Figures take seconds, and are no part of what is asked here.
    modules.reporting.report._draw = _draw_nothing
    client.set_up_beside = lambda *_: None
    _run_joblib_here()


def _draw_nothing(_: object, folder: Path) -> list[Any]:
    folder.mkdir(parents=True, exist_ok=True)
    return []


def _run_joblib_here() -> None:
    """Let joblib say what is wrong with its options, and its jobs be carried out in turn."""
    import joblib

    core: Any = importlib.import_module("hydra_plugins.hydra_joblib_launcher._core")

    class Here:
        def __init__(self, **options: Any) -> None:
            joblib.Parallel(**options)

        def __call__(self, jobs: Any) -> list[Any]:
            return [function(*given, **named) for function, given, named in jobs]

    core.Parallel = Here


def _accept(*_: object, **__: object) -> NoReturn:
    print(ACCEPTED, flush=True)
    sys.stderr.flush()
    os._exit(0)


def _become(request: Any) -> NoReturn:
    """Be a command, to its end."""
    import io

    os.setsid()
    for number, end in ((1, ".out"), (2, ".err")):
        file = os.open(f"{request['printed']}{end}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), line_buffering=True)
    sys.stderr = io.TextIOWrapper(
        os.fdopen(2, "wb", closefd=False), errors="backslashreplace", line_buffering=True
    )
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = taken + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.environ["ADAPTERLAB_ROOT"] = request["root"]
    os.chdir(request["root"])
    code = 1
    try:
        _program(request["script"], request["arguments"])()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _program(script: str, arguments: Sequence[str]) -> Callable[[], None]:
    folder = "src" if script in ("train", "evaluate") else "scripts"
    sys.argv = [str(CHECKOUT / folder / f"{script}.py"), *arguments]
    if script == "results":
        import results

        return results.main
    from adapterlab.app import cli

    program: Callable[[], None] = getattr(cli, script)
    return program


def _waited_for(child: int, timeout: float) -> int:
    """Return the exit code of a child; a signal's number, negative; or `TIMED_OUT`."""
    limit = time.monotonic() + timeout
    while time.monotonic() < limit:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return TIMED_OUT


if __name__ == "__main__":
    main()
