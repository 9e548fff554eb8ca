"""Whether the files of a finished run are still those that it wrote, and bringing them back.

A run that finishes writes down the checksums of its files, as `sha256sum` does. Whoever takes the
run for finished compares them first: a file that was deleted, cut short or changed is brought back
from MLflow, which has copies, or else the run is carried out again.
"""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from adapterlab.base.errors import AdapterLabError, CheckpointError
from adapterlab.base.files import file_hash, flush, sha256, write_text
from adapterlab.config.schema import BASES, Config
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.tracking.client import connect

log = logging.getLogger(__name__)

CHECKSUMS = "files.sha256"
"""The name of the file of checksums: ``sha256sum --check files.sha256`` reads it too."""


def artifacts(folder: RunFolder) -> Iterator[tuple[Path, str | None]]:
    """Yield the files and folders that are kept with the MLflow run, and where each goes there."""
    yield folder.config, None
    yield folder.result, None
    yield folder.adapter, "adapter"
    yield folder.predictions, "predictions"
    if folder.source_predictions.is_file():
        yield folder.source_predictions, "predictions"
    if folder.figures.is_dir():
        yield folder.figures, "figures"
    yield folder.mistakes, "mistakes"
    if folder.peft.is_dir():
        yield folder.peft, "peft"
    if folder.model.is_dir():
        yield folder.model, "model"
    if folder.choice.is_dir():
        yield folder.choice, "choice"


def seal(folder: RunFolder) -> None:
    """Write down the checksums of the files that a run has written, before it counts as finished.

    Raises:
        OSError: one cannot be read.
    """
    lines = [f"{sha256(folder.path / name)}  {name}\n" for name in _written(folder)]
    write_text(folder.path / CHECKSUMS, "".join(lines))


def damage(folder: RunFolder, only: str | None = None) -> list[str]:
    """Return the names of the files that a finished run had and has no longer as it wrote them.

    Of a run that an older version carried out, these are the adapter and the predictions, where
    they cannot be read.

    Args:
        folder: of the run.
        only: the one file that matters; None for all.
    """
    sealed = _sealed(folder)
    if sealed is None:
        return _unreadable(folder)
    home = folder.path.resolve()
    return [
        name
        for name, digest in sealed.items()
        if only in (None, name)
        # A folder from elsewhere may name, or link to, any file of this machine.
        if not (path := (home / name).resolve()).is_relative_to(home) or _digest(path) != digest
    ]


def finished_whole(folder: RunFolder) -> RunResult | None:
    """Return the result of a run that has finished and whose files are whole; None otherwise."""
    try:
        result = folder.finished()
    except CheckpointError:
        return None
    return None if result is None or damage(folder) else result


def made_whole(config: Config, folder: RunFolder) -> RunResult | None:
    """Return the result of a finished run, after its files were brought back if they had to be.

    Args:
        config: of the run.
        folder: its home, held.

    Returns:
        None if it has not finished, or has lost what nobody has: then it has not finished any
        longer.
    """
    try:
        result = folder.finished()
    except CheckpointError as error:
        log.warning("%s; it is made again", error)
        folder.result.unlink()
        return None
    if result is None or not (lost := damage(folder)):
        return result
    what = f"{folder.path.name} had finished, but {', '.join(lost[:3])}"
    what += f" and {len(lost) - 3} more" * (len(lost) > 3)
    what += " is" if len(lost) == 1 else " are"
    what += " missing or not as written; "
    if _bring_back(config, folder, result, lost):
        log.warning("%s: brought back from MLflow", what.rstrip("; "))
        return result
    log.warning("%sthe run is made again", what)
    folder.result.unlink()
    return None


def require_adapter(folder: RunFolder) -> None:
    """Refuse a finished run whose adapter is not the one that it wrote.

    Raises:
        CheckpointError: it is not.
    """
    if folder.adapter.name in damage(folder, folder.adapter.name):
        raise CheckpointError(
            f"{folder.adapter} is missing or not as it was written; the same run with resume=true "
            "makes it again"
        )


def _written(folder: RunFolder) -> list[str]:
    """Return the names of the files that a run has written, but for its result."""
    files = [
        file
        for path, _ in artifacts(folder)
        if path != folder.result
        for file in (path.rglob("*") if path.is_dir() else (path,))
    ]
    return sorted(file.relative_to(folder.path).as_posix() for file in files if file.is_file())


def _sealed(folder: RunFolder) -> dict[str, str] | None:
    """Return the checksums that a run wrote down, by the files' names; None if it wrote none."""
    try:
        lines = (folder.path / CHECKSUMS).read_text(encoding="utf-8").splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        return None


def _copy_of(folder: RunFolder, name: str) -> str:
    """Return where MLflow has a file that may be missing here."""
    where = {path.name: folder_there for path, folder_there in artifacts(folder)}
    where |= {folder.source_predictions.name: "predictions"}
    first, _, rest = name.partition("/")
    there = where.get(first)
    if rest or there is None:
        return name
    return f"{there}/{first}"


def _bring_back(config: Config, folder: RunFolder, result: RunResult, lost: list[str]) -> bool:
    """Copy files from the MLflow run, if all of them are there as they were written."""
    if not config.tracking.enabled or result.run_id is None:
        return False
    sealed = _sealed(folder)
    if sealed is None:
        return False
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory(dir=folder.path, prefix=".found-") as scratch:
        found = Path(scratch)
        try:
            client = connect(config.tracking.uri, config.mlruns)
            for number, name in enumerate(lost):
                into = found / str(number)
                into.mkdir()
                there = _copy_of(folder, name)
                path = Path(client.download_artifacts(result.run_id, there, str(into)))
                if _digest(path) != sealed[name]:
                    return False
                path.replace(into / "file")
        except (MlflowException, AdapterLabError, OSError):
            return False
        flush(found)
        for number, name in enumerate(lost):
            (folder.path / name).parent.mkdir(exist_ok=True)
            (found / str(number) / "file").replace(folder.path / name)
    return True


def _unreadable(folder: RunFolder) -> list[str]:
    import pyarrow as pa  # which a run that is whole does without
    import pyarrow.parquet as pq

    lost = []
    try:
        with safe_open(folder.adapter, framework="pt"):
            pass
    except (OSError, SafetensorError):
        lost.append(folder.adapter.name)
    # A base that was brought from MLflow had none.
    if folder.predictions.exists() or folder.path.parent.name != BASES:
        try:
            pq.read_metadata(folder.predictions)
        except (OSError, pa.ArrowException):
            lost.append(folder.predictions.name)
    return lost


def _digest(path: Path) -> str | None:
    try:
        return file_hash(path)
    except OSError:
        return None
