"""A PostgreSQL of Debian's packages: kills while its tables are made, its end while runs train."""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from adapterlab.tracking.client import connect
from faults.postgresql import Cluster, cluster, missing
from faults.store import forked, killed
from faults.trying import TINY, Setting, Trial, command, ended, started

COUNT = 30

EPOCHS = 60


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
        for number in range(max(setting.count // 5, 1)):
            yield _away(database, setting, number)


def _tried(database: Cluster, setting: Setting, many: int, moment: float) -> Trial:
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


def _away(database: Cluster, setting: Setting, number: int) -> Trial:
    """Stop the PostgreSQL while a run trains, start it again, and look at what it has."""
    root, comes_back = setting.root(f"away-{number}"), number % 2 == 0
    uri, files = database(), setting.root(f"files-{number}")
    options = (
        *(o for o in TINY if not o.startswith(("base", "epochs"))),
        *("base=scratch", f"epochs={EPOCHS}", f"tracking.uri='{uri}'", "study=away"),
        f"tracking.artifacts={files}",
    )
    moment = setting.rng.uniform(0, 2)
    with started(root, *options) as process:
        ids = root / "mlruns" / "runs" / "away"
        limit = time.monotonic() + 120
        while not any(path.read_text() for path in ids.glob("*/mlflow_run_id")):
            if process.poll() is not None or time.monotonic() > limit:
                return Trial("no run to interrupt", False, ended(process, 1).err[-300:])
            time.sleep(0.02)
        time.sleep(moment)
        database.stop()
        time.sleep(3)
        if comes_back:
            database.start()
        done = ended(process, 300)
    if not comes_back:
        database.start()
    synced = command(root, f"tracking_uri='{uri}'", script="sync")
    fault = "stopped while a run trains, and " + (
        "started again" if comes_back else "back after it"
    )
    wrong = [one for end in (done, synced) if (one := end.complaint)]
    if done.code not in ({0} if comes_back else {0, 1}) or synced.code:
        wrong.append(f"exit {done.code}, sync: exit {synced.code}")
    return Trial(fault, *_has_all(uri, wrong, f"after {moment:.2f} s: {done.err[-200:]}"))


def _has_all(uri: str, wrong: list[str], when: str) -> tuple[bool, str]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("adapterlab")
    if experiment is None:
        return False, "; ".join([*wrong, "no experiment", when])
    found = client.search_runs([experiment.experiment_id], "tags.kind = 'run'")
    wrong += [f"{len(found)} runs"] * (len(found) != 1)
    for run in found:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")]
        wrong += [f"a run is {run.info.status}"] * (run.info.status != "FINISHED")
        wrong += [f"{len(steps)} points of {EPOCHS}"] * (steps != list(range(1, EPOCHS + 1)))
    return not wrong, "; ".join([*wrong, when]) if wrong else "it has all, once, in order"


def _open(uri: str, root: Path) -> None:
    logging.getLogger("adapterlab").setLevel(logging.ERROR)
    client = connect(uri, root)
    (default,) = client.search_experiments(filter_string="name = 'Default'")
    os._exit(0 if default.experiment_id == "0" else 3)  # at once: nothing of pytest's is to end
