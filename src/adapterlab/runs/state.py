"""What a run's folder has of it: whether it has finished, and whether a training goes on from it.

Only what is of the same computation counts: of these data, base weights and tokenizer.
"""

import logging
from collections.abc import Callable
from functools import cache

from adapterlab.base.errors import CheckpointError
from adapterlab.base.revision import version_tags
from adapterlab.config.multirun import multirun_began
from adapterlab.config.schema import BASES, Config
from adapterlab.runs.assembly import Assembly
from adapterlab.runs.data import RunData
from adapterlab.runs.folders.fetched import bring_base
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.homes import home_of, homes, read_elsewhere
from adapterlab.runs.folders.integrity import finished_whole, made_whole
from adapterlab.runs.identity import run_name
from adapterlab.runs.provenance import Provenance, foreseen, of_assembly, read_provenance
from adapterlab.tracking.finished_runs import is_logged
from adapterlab.tracking.servers import journal

log = logging.getLogger(__name__)


def finished_run(
    config: Config,
    data: RunData,
    has: Callable[[Config, str | None], bool] = is_logged,
) -> RunResult | None:
    """Return the result of a run that `resume` need not repeat, None if there is more to do.

    It has finished, on what it would be computed on now, its files are whole, and MLflow has it.
    Nothing is written: where something is missing, whoever holds the folder asks `taken_up`.

    Args:
        config: of the run.
        data: that it reads.
        has: says whether MLflow has a run to its end.

    Raises:
        AdapterLabError: the store cannot be reached.
    """
    if not config.resume:
        return None
    folder = home_of(config, data.hash)
    before = read_provenance(folder)
    result = None if before is None else finished_whole(folder)
    if before is None or result is None or journal.is_there(folder.path):
        return None
    if foreseen(config, data).unlike(before):
        return None
    return result if has(config, result.run_id) else None


def taken_up(
    config: Config, folder: RunFolder, data: RunData, *, waited: bool = False
) -> tuple[bool, RunResult | None]:
    """Say whether to go on from what a folder has, and return the result if it has finished.

    What a finished run lacks is made whole: its files, and what MLflow has of it. A base that
    another machine has trained is brought from there. Without `resume` a run starts anew, unless
    another command has been at it since the multirun of this process began: two at one study do
    not train a run twice.

    Args:
        config: of the run.
        folder: its home, which is held.
        data: that it reads.
        waited: another process held it until now.
    """
    if not config.resume and not _is_shared(folder, waited=waited):
        return False, None
    if config.study == BASES:
        bring_base(config, folder, data.hash)
    before = read_provenance(folder)
    if before is None:
        if len(homes(config)) > 1:
            earlier, here = run_name(config), folder.path.name
            log.warning("%s was computed on other data; it starts anew, in %s", earlier, here)
        elif config.resume and (there := read_elsewhere(config, data.hash)) is not None:
            _say_where(there, str(config.dataset.loader["path"]))
        return False, None
    if not _same(folder, before, foreseen(config, data)):
        return False, None
    finished = made_whole(config, folder)
    if finished is None:
        return True, None
    from adapterlab.runs.lifecycle import log_again  # pictures, which a finished run needs none of

    return True, log_again(config, finished, folder)


def _is_shared(folder: RunFolder, *, waited: bool) -> bool:
    """Say whether another command has been at a run since the multirun of this process began.

    What it has finished by other code, which was edited in between, does not count.
    """
    began = multirun_began()
    if began is None:
        return False
    try:
        result = folder.finished()
    except CheckpointError:
        return False
    if result is None:
        return waited
    if folder.result.stat().st_mtime < began:
        return False
    return result.tags.get("code_hash") == version_tags()["code_hash"]


@cache
def _say_where(there: str, here: str) -> None:
    """Say once that runs of the same data at another path are not gone on with."""
    log.warning(
        "runs of the same data at %s are not gone on with from dataset.loader.path=%s: they start "
        "anew; name the first, where a link to the data will do, to go on with them",
        there, here,
    )  # fmt: skip


def goes_on(config: Config, folder: RunFolder, assembly: Assembly) -> bool:
    """Say whether what a folder has left was computed on what the run is about to compute on.

    What could not be known before the base was there is compared here, its weights themselves.

    Args:
        config: of the run.
        folder: its home.
        assembly: of the run, not trained yet.
    """
    before = read_provenance(folder)
    if before is None:
        return False
    if not before.base and folder.checkpoints.is_dir():
        log.warning(
            "%s goes on from what an older version has left: whether that is over the same base "
            "weights is not known",
            folder.path.name,
        )
    return _same(folder, before, of_assembly(config, assembly))


def _same(folder: RunFolder, before: Provenance, now: Provenance) -> bool:
    changed = now.unlike(before)
    if changed:
        what = " and ".join(changed)
        other = "another" if what == "tokenizer" else "other"
        log.warning("%s was computed on %s %s; it starts anew", folder.path.name, other, what)
    return not changed
