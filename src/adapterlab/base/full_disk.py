"""Full disks: how they are recognised, what is said, and room kept for a run's last words."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adapterlab.base.errors import AdapterLabError

RESERVE_BYTES = 2**21
"""What marks a run as failed writes some hundred kilobytes, most of them for a moment."""

_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_WORDS = re.compile(
    r"No space left on device|Disk quota exceeded|File too large"
    r"|database or disk is full|\(os error (?:28|122|27)\)"
)
"""How libraries say it that pass on no error number: SQLite, safetensors, Arrow, torch."""

_NUMBER = re.compile(r"\(os error (\d+)\)")

_REASONS: dict[int | None, str] = {
    errno.EDQUOT: "the quota of {place} is used up",
    errno.EFBIG: "{place} takes no file so large",
}


class FullDiskError(AdapterLabError):
    """There is no room to write a file; the text names the file and the place that is full."""

    exit_code = 1


@contextmanager
def said_where_full(path: Path | None = None, *, otherwise: Path | None = None) -> Iterator[None]:
    """Turn every error that comes of a full disk into one that names the file and the place.

    Args:
        path: what is being written; None where the error itself must tell.
        otherwise: named where it does not.

    Raises:
        FullDiskError: there is no room.
    """
    try:
        yield
    except FullDiskError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        raise FullDiskError(_sentence(path or _named(error) or otherwise, error)) from error


def is_full(error: BaseException) -> bool:
    """Say whether an error comes of a full disk."""
    return any(
        isinstance(link, FullDiskError)
        or (isinstance(link, OSError) and link.errno in _NUMBERS)
        or _WORDS.search(str(link))
        for link in _chain(error)
    )


def keep_room(folder: Path) -> None:
    """Take some room on a folder's disk, for `give_room` to give back.

    A run whose disk is full still has to be marked as failed, in a store on the same disk.

    Args:
        folder: made if need be; the room is taken once, and stays for all runs.

    Raises:
        FullDiskError: there is not even that much.
    """
    reserve = _reserve(folder)
    with said_where_full(reserve):
        if reserve.exists() and reserve.stat().st_size == RESERVE_BYTES:
            return
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with reserve.open("wb") as file:
                file.write(os.urandom(RESERVE_BYTES))  # which no file system makes smaller
                os.fsync(file.fileno())
        except BaseException:
            reserve.unlink(missing_ok=True)
            raise


def give_room(folder: Path) -> None:
    """Give back what `keep_room` has taken."""
    with contextlib.suppress(OSError):
        _reserve(folder).unlink(missing_ok=True)


def last_words(folder: Path, say: Callable[[], None]) -> None:
    """Call what says how a run ended; where its disk is full, once more with the room kept for it.

    Args:
        folder: in which the room is kept.
        say: may be called twice.
    """
    try:
        say()
    except Exception as error:
        if not is_full(error):
            raise
        give_room(folder)
        say()


def _reserve(folder: Path) -> Path:
    return folder / ".reserve"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _named(error: BaseException) -> Path | None:
    """Return the file that an error names: what was written, where it names two."""
    for link in _chain(error):
        if isinstance(link, shutil.Error) and link.args and isinstance(link.args[0], list):
            for copied in link.args[0]:
                if isinstance(copied, tuple) and _WORDS.search(str(copied[2])):
                    return Path(copied[1])
        if isinstance(link, OSError) and link.errno in _NUMBERS:
            name = link.filename2 or link.filename
            if isinstance(name, str | os.PathLike):
                return Path(name)
    return None


def _sentence(path: Path | None, error: BaseException) -> str:
    if path is None:
        return "a file could not be written: its disk is full; make room, and start again"
    place = path.absolute()
    while not place.exists():
        place = place.parent
    while not place.is_mount() and place != place.parent:
        place = place.parent
    reason = "{place} is full"
    for link in _chain(error):
        said = _NUMBER.search(str(link))
        number = int(said[1]) if said else getattr(link, "errno", None)
        reason = _REASONS.get(number, reason)
    why = reason.format(place=place)
    return f"{path} could not be written: {why}; make room, and resume=true goes on"
