"""AdapterLab's side of a benchmark: the command `src/train.py -m`, timed."""

import io
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import rivals
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from rivals import Took

from adapterlab.app import cli
from adapterlab.config import conf_folder
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.tracking.client import connect


@dataclass(frozen=True)
class Study(Took):
    """What a command took; its training is that of all packs and runs alone, with validation."""

    results: tuple[RunResult, ...]


def study(*overrides: str, cache: Path | None = None) -> Study:
    """Carry out a multirun under a root of its own; decoded images are found in a cache folder."""
    with new_root() as root:
        lend(cache, root)
        return command(root, *overrides)


def lend(cache: Path | None, root: Path) -> None:
    """Let a root find what has been decoded and cut in another one."""
    if cache is not None:
        (root / "mlruns").mkdir(exist_ok=True)
        (root / "mlruns" / "cache").symlink_to(cache)


def as_process(*overrides: str, cache: Path | None = None) -> Study:
    """Do so in a process of its own, which sets up its store as well."""
    with tempfile.TemporaryDirectory(prefix="adapterlab-") as root:
        lend(cache, Path(root))
        program = conf_folder.CONF.parent / "src" / "train.py"
        own = ("-m", f"root={root}", "study=benchmark", "report=false")
        took = rivals.process(program, *own, *overrides)
        return finished(Path(root), "benchmark", took.whole)


def without_prefix(root: Path, *overrides: str) -> Study:
    """Carry out a multirun that finds bases, but no frozen prefix."""
    for kept in (root / "mlruns" / "cache").glob("prefix-*"):
        kept.unlink()
    return command(root, *overrides)


@contextmanager
def new_root() -> Iterator[Path]:
    """Make a root with an empty MLflow store."""
    with tempfile.TemporaryDirectory(prefix="adapterlab-") as folder:
        connect(None, Path(folder) / "mlruns")
        yield Path(folder)


def command(root: Path, *overrides: str, study: str = "benchmark") -> Study:
    """Run the program `src/train.py -m` in this process; a mistake in it ends the benchmark."""
    said = io.StringIO()
    sys.argv = ["train.py", "-m", f"root={root}", f"study={study}", "report=false", *overrides]
    try:
        with redirect_stdout(said), redirect_stderr(said):
            start = time.perf_counter()
            cli.train()
            seconds = time.perf_counter() - start
    except SystemExit as ended:
        lines = said.getvalue().splitlines()
        errors = (line for line in lines if line.startswith(("error: ", "failed: ")))
        print(next(errors, "error: a study ended early"), file=sys.stderr)
        sys.exit(ended.code)
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
    return finished(root, study, seconds)


def finished(root: Path, study: str, seconds: float) -> Study:
    """Return what has finished of a study."""
    folders = sorted((root / "mlruns" / "runs" / study).iterdir())
    results = tuple(result for folder in folders if (result := RunFolder(folder).finished()))
    packs = set(values(results, "cost/pack_seconds"))
    return Study(seconds, sum(packs) + sum(values(results, "cost/train_seconds")), results)


def values(results: Sequence[RunResult], metric: str) -> list[float]:
    """Return a metric of all runs that have it."""
    return [result.metrics[metric] for result in results if metric in result.metrics]
