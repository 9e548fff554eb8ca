"""Kill processes while they make the store in a PostgreSQL of Debian's packages, then use it."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from adapterlab.tracking.client import connect
from faults.postgresql import cluster, missing
from faults.store import forked, killed
from faults.trying import Setting, Trial

COUNT = 30


def tries(setting: Setting) -> Iterator[Trial]:
    """Kill one process at work alone, and one of three."""
    if (why := missing()) is not None:
        yield Trial("no PostgreSQL here", False, why)
        return
    root = setting.root("root")
    with cluster() as database:
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # so that no fork has to

        began = time.monotonic()
        forked(_open, database(), root).join(300)
        alone = time.monotonic() - began
        for number in range(setting.count):
            moment = setting.rng.uniform(0, 1.1 * alone)
            yield _tried(database, setting, 1 + 2 * (number % 2), moment)


def _tried(database: Callable[[], str], setting: Setting, many: int, moment: float) -> Trial:
    uri, root = database(), setting.folder / "root"
    first, *others = [forked(_open, uri, root) for _ in range(many)]
    at_work = killed([first], moment)
    again = forked(_open, uri, root)
    codes = []
    for process in (*others, again):
        process.join(300)
        codes.append(process.exitcode)
    who = "one" if many == 1 else f"one of {many} processes"
    fault = f"`kill -9` of {who} that makes the tables of a PostgreSQL"
    held = all(code == 0 for code in codes)
    opens = "opens" if at_work else "opens; they had been made by then"
    return Trial(fault, held, opens if held else f"after {moment:.2f} s: exit codes {codes}")


def _open(uri: str, root: Path) -> None:
    logging.getLogger("adapterlab").setLevel(logging.ERROR)
    client = connect(uri, root)
    (default,) = client.search_experiments(filter_string="name = 'Default'")
    os._exit(0 if default.experiment_id == "0" else 3)  # at once: nothing of pytest's is to end
