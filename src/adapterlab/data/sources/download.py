"""Downloads through torchvision, which checks checksums: once, completely, and soon or never."""

import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from adapterlab.base.errors import DataError
from adapterlab.base.locks import waited_for

_SILENCE_SECONDS = 10.0


def download(
    fetch: Callable[[Path], object], into: Path, folder: str, files: Sequence[str]
) -> Path:
    """Put ``files`` into the folder ``into/folder``; present ones are not fetched again.

    They arrive in a temporary folder and are moved when all of them are there, so that a download
    that was interrupted leaves nothing that looks complete. Processes that want the same files
    wait for the first one.

    Args:
        fetch: downloads into the root folder it is given, as ``root/folder/<file>``.
        into: the download folder.
        folder: path of the files' folder below a root.
        files: the names of the files that are wanted.

    Returns:
        The folder with the files.

    Raises:
        DataError: the network, the server or the checksum failed, or the folder is none below
            `into`; the text says how.
    """
    target = into / folder
    if not target.resolve().is_relative_to(into.resolve()):
        raise DataError(f"folder {folder} is not below {into}, where downloads are put")
    into.mkdir(parents=True, exist_ok=True)
    with waited_for(into / f".{folder.replace('/', '-')}.lock", f"the download of {folder}"):
        if all((target / name).is_file() for name in files):
            return target
        with tempfile.TemporaryDirectory(prefix=".download-", dir=into) as root:
            try:
                with _socket_timeout(_SILENCE_SECONDS):
                    fetch(Path(root))
            except (OSError, RuntimeError, HTTPException) as error:
                lines = str(error).splitlines() or [type(error).__name__]
                raise DataError(f"download failed: {lines[-1]}") from error
            target.mkdir(parents=True, exist_ok=True)
            for name in files:
                (Path(root) / folder / name).replace(target / name)
    return target


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Give up on a silent server; torchvision has no setting for it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
