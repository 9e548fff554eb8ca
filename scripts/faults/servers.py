"""The MLflow server is stopped, killed, held or broken at a chance moment of a run.

Runs are trained alone and packed. Held means: no traceback, all metrics of all epochs once and in
their order, all files, and the right status, at the latest after `scripts/sync.py`.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice, product
from typing import Any

from faults.gate import gate_before
from faults.mlflow_server import Server
from faults.trying import TINY, Ended, Setting, Trial, command, ended, started

COUNT = 16

EPOCHS = 60

FAULTS = (
    "stopped, and started again",
    "killed, and started again",
    "held for some seconds (SIGSTOP)",
    "answers 500 for some seconds",
    "stopped, and back only after the run",
    "killed, and so is the run; resumed",
    "the run's MLflow run is deleted",
    "answers 403 to one run, until it has ended",
)

OPTIONS = (*(o for o in TINY if not o.startswith(("base", "epochs"))), "base=scratch")


PACK = ("-m", "order_seed=0,1,2", "hydra/launcher=packed", "pack=always")


def tries(setting: Setting) -> Iterator[Trial]:
    """Yield a trial for every fault, alone and packed, in an order of chance, and so on."""
    server = Server(setting.folder / "server")
    server.start()
    try:
        kinds = list(product(FAULTS, ("alone", "packed")))
        setting.rng.shuffle(kinds)
        for number, (fault, how) in enumerate(islice(cycle(kinds), setting.count)):
            yield _try(setting, server, number, fault, how)
    finally:
        server.send(signal.SIGCONT)
        server.stop(signal.SIGKILL)


def _try(setting: Setting, server: Server, number: int, fault: str, how: str) -> Trial:
    root, study = setting.root(f"{number}"), f"trial-{number}"
    moment = setting.rng.uniform(0.0, 1.5)
    away = setting.rng.uniform(2.0, 8.0)
    with gate_before(server.uri) as gate:
        sweep = PACK if how == "packed" else ()
        arguments = (
            *sweep, *OPTIONS, f"epochs={EPOCHS}", f"study={study}", "report=false",
            f"tracking.uri={gate.uri}",
        )  # fmt: skip
        victims: list[str] = []
        with started(root, *arguments, MLFLOW_HTTP_REQUEST_TIMEOUT="3") as process:
            ids = root / "mlruns" / "runs" / study
            while not any(p.read_text() for p in ids.glob("*/mlflow_run_id")):
                if process.poll() is not None:
                    break
                time.sleep(0.005)
            time.sleep(moment)
            match fault.partition(",")[0].split()[0]:
                case "stopped":
                    server.stop()
                case "killed":
                    server.stop(signal.SIGKILL)
                case "held":
                    server.send(signal.SIGSTOP)
                case "answers" if "500" in fault:
                    gate.shut("answers 500")
                case _:
                    victims = [p.read_text() for p in sorted(ids.glob("*/mlflow_run_id"))][:1]
                    for victim in victims:
                        if "403" in fault:
                            gate.only[victim] = 403
                        else:
                            _client(server).delete_run(victim)
            if "so is the run" in fault:
                time.sleep(setting.rng.uniform(0.0, 1.0))
                process.kill()
            if "back only after" not in fault:
                time.sleep(away)
                _mend(server, fault)
                if "500" in fault:
                    gate.open()
            done = ended(process, 600)
        gate.only.clear()
        _mend(server, fault)
        said = [f"exit {done.code}"]
        if "so is the run" in fault or "back only after" in fault:
            # A lane that had not begun when the server went away is begun now.
            done = command(root, *arguments, "resume=true", MLFLOW_HTTP_REQUEST_TIMEOUT="3")
            said.append(f"resumed: exit {done.code}")
        synced = command(root, script="sync")
        said.append(f"sync: {' '.join(synced.out.split()[:4])}")
        wrong = _wrong(server, study, how, fault, done, synced, victims)
    what = f"{how}, after {moment:.2f} s for {away:.0f} s: {'; '.join(said)}"
    if wrong:
        return Trial(f"{fault}", False, f"{what}; {'; '.join(wrong)} [seed trial {number}]")
    return Trial(fault, True, "; ".join(said))


def _mend(server: Server, fault: str) -> None:
    server.send(signal.SIGCONT)
    if fault.startswith(("stopped", "killed")):
        with suppress(TimeoutError):
            server.stop(signal.SIGKILL)
        server.start()


def _client(server: Server) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(server.uri)


def _wrong(
    server: Server,
    study: str,
    how: str,
    fault: str,
    done: Ended,
    synced: Ended,
    victims: list[str],
) -> list[str]:
    """Say what did not hold."""
    wrong = [one for ending in (done, synced) if (one := ending.complaint)]
    client = _client(server)
    experiment = client.get_experiment_by_name("adapterlab")
    if experiment is None:
        return [*wrong, "no experiment"]
    found = client.search_runs([experiment.experiment_id], f"tags.study = '{study}'")
    runs = [run for run in found if run.data.tags["kind"] == "run"]
    deleted = victims if "deleted" in fault else []
    expected = (3 if how == "packed" else 1) - len(deleted)
    if len(runs) != expected:
        wrong.append(f"{len(runs)} runs, not {expected}")
    for run in runs:
        if run.info.status != "FINISHED":
            wrong.append(f"{run.info.run_id} is {run.info.status}")
        for name, steps in (("train/loss", list(range(1, EPOCHS + 1))), ("test/accuracy", [0])):
            points = client.get_metric_history(run.info.run_id, name)
            if [point.step for point in points] != steps:
                wrong.append(f"{name}: {len(points)} points, not {len(steps)} in order")
        files = {item.path for item in client.list_artifacts(run.info.run_id)}
        if not {"config.yaml", "result.json", "adapter", "predictions"} <= files:
            wrong.append(f"files: {', '.join(sorted(files))}")
    # What was not waited for is said, and so is a run whose MLflow run is gone.
    allowed = {0} | ({1} if deleted or "scripts/sync.py" in done.err else set())
    if done.code not in allowed:
        wrong.append(f"exit {done.code}: {done.err.strip()[-300:]}")
    if synced.code != 0:
        wrong.append(f"sync: exit {synced.code}: {synced.err.strip()}")
    return wrong
