"""Whether a run goes on from what its folder has: only where that is of the same computation."""

import logging

from adapterlab.config.schema import Config
from adapterlab.runs.assembly import Assembly
from adapterlab.runs.data import RunData
from adapterlab.runs.folder import RunFolder, RunResult
from adapterlab.runs.homes import homes
from adapterlab.runs.identity import run_name
from adapterlab.runs.lifecycle import log_again
from adapterlab.runs.provenance import Provenance, foreseen, of_assembly, read_provenance
from adapterlab.runs.wholeness import made_whole

log = logging.getLogger(__name__)


def found(config: Config, folder: RunFolder, read: RunData) -> tuple[bool, RunResult | None]:
    """Say whether to go on from what a folder has, and return the result if it has finished.

    Args:
        config: of the run.
        folder: its home.
        read: its data.
    """
    if not config.resume:
        return False, None
    before = read_provenance(folder)
    if before is None:
        if len(homes(config)) > 1:
            earlier, here = run_name(config), folder.path.name
            log.warning("%s was computed on other data; it starts anew, in %s", earlier, here)
        return False, None
    if not _same(folder, before, foreseen(config, read)):
        return False, None
    finished = made_whole(config, folder)
    return True, None if finished is None else log_again(config, finished, folder)


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
        _say(folder, changed)
    return not changed


def _say(folder: RunFolder, changed: list[str]) -> None:
    what = " and ".join(changed)
    other = "another" if what == "tokenizer" else "other"
    log.warning("%s was computed on %s %s; it starts anew", folder.path.name, other, what)
