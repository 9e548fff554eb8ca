"""An MLflow server over a PostgreSQL of Debian's packages, its processes, and what kills them."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.mlflow_server import Server
from faults.postgresql import cluster, missing


class Seen:
    """The processes of a server and of a database, whose processor seconds are counted."""

    def __init__(self, server: Callable[[], int | None], database: Callable[[], int | None]):
        self._server, self._database = server, database

    def now(self) -> tuple[float | None, float | None]:
        """Return the seconds of both until now."""
        return _seconds(self._server()), _seconds(self._database())


def _seconds(process: int | None) -> float | None:
    """Return the processor seconds of a process and all that it has started."""
    if process is None:
        return None
    total, first = 0.0, psutil.Process(process)
    for one in (first, *first.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def served(
    uri: str | None, workers: int, folder: Path, *, direct: bool
) -> Iterator[tuple[str, Seen, Any]]:
    """Yield the address of a server, its processes, and what kills and starts what is asked for."""
    if uri is not None:
        yield uri, Seen(lambda: None, lambda: None), None
        return
    if (why := missing()) is not None:
        raise SystemExit(f"{why}; --uri names a server that runs")
    with cluster() as database:
        server = Server(folder / "server", store=(store := database()), workers=workers)
        if not direct:
            server.start()

        def away(what: str, seconds: float) -> list[Timer]:
            first: Callable[[], None] = database.stop
            then: Callable[[], None] = database.start
            if what == "server":
                first, then = partial(server.stop, signal.SIGKILL), server.start
            timers = [Timer(1.0, first), Timer(1.0 + seconds, then)]
            for timer in timers:
                timer.start()
            return timers

        try:
            at = store if direct else server.uri
            yield at, Seen(lambda: server.process, database.process), away
        finally:
            server.stop(signal.SIGKILL)
