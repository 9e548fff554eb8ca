"""A sqlite store on a disk that a network brings is refused: several machines would break it.

sqlite keeps writers apart by locks of the file system (https://sqlite.org/faq.html#q5). On network
file systems these are often late, kept on each machine alone, or not there at all: two writers at
once damage the file, and it is noticed when runs are lost.
"""

import os
import re
from pathlib import Path, PurePosixPath

from adapterlab.base.errors import AdapterLabError

GO_ON = "ADAPTERLAB_SQLITE_ON_NETWORK"
"""The environment variable that says ``yes``: only one machine writes, and at its own risk."""

NETWORKED = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "fuse.ceph", "lustre", "gpfs"),
    *("beegfs", "beegfs_nodev", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "panfs"),
}
"""Kinds of file systems, as Linux names them."""

_MOUNTS = Path("/proc/self/mountinfo")


def require_own_disk(file: Path) -> None:
    """Refuse a sqlite file on a network file system, unless the environment says to go on.

    Where it cannot be known, as on other systems than Linux, nothing is refused.

    Args:
        file: of the store, links followed; it need not exist.

    Raises:
        AdapterLabError: it is on one.
    """
    try:
        mounts = _MOUNTS.read_text()
    except OSError:
        return
    kind = file_system(mounts, PurePosixPath(file))
    if kind not in NETWORKED or os.environ.get(GO_ON) == "yes":
        return
    raise AdapterLabError(
        f"the store {file} is a sqlite file on a network file system ({kind}), where writers are "
        "not kept apart and runs would be lost: set tracking.uri to a server (`mlflow server`) or "
        "to postgresql://..., or, where one machine alone writes, to "
        f"sqlite:////FOLDER/mlflow.db on its own disk; {GO_ON}=yes goes on regardless"
    )


def file_system(mounts: str, file: PurePosixPath) -> str | None:
    """Return the kind of file system that a file is on; None if no mount has it.

    Args:
        mounts: as ``/proc/self/mountinfo`` has them (proc_pid_mountinfo(5)).
        file: absolute, links followed.
    """
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        place = PurePosixPath(_unescaped(fields[4]))
        depth = len(place.parts)
        # Of two at one place the later hides the other.
        if file.is_relative_to(place) and (found is None or depth >= found[0]):
            found = depth, after.split(" ")[0]
    return None if found is None else found[1]


def _unescaped(text: str) -> str:
    r"""Return a path in which blanks stand for themselves: ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
