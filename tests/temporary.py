"""Where tests keep temporary files: in memory, where there is enough of it."""

import os
import shutil
import tempfile
from pathlib import Path

import psutil

from adapterlab.base.memory_limits import machine_bytes

IN_MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory."""

NAMED = "adapterlab-tests-"
"""What folders of tests are called, and then by the process that made them."""

GIB = 2**30

NEEDED = 4 * GIB


def in_memory(folder: Path = IN_MEMORY) -> bool:
    """Say whether temporary files may lie in a folder in memory.

    Not in a container's, of which Docker lets no file be carried out and makes 64 MiB, unless it is
    asked for more; nor where what fits there does not fit into the memory that this process has.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return False
    memory = min(psutil.virtual_memory().available, machine_bytes() // 2)
    return min(shutil.disk_usage(folder).free, memory) > NEEDED


def new_folder(within: Path = IN_MEMORY) -> Path:
    """Make a folder that others may pass through, and remove those of tests that are over.

    What failed tests left is there to be looked at until the next ones begin.
    """
    for folder in within.glob(f"{NAMED}*"):
        owner = folder.name.removeprefix(NAMED).split("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{NAMED}{os.getpid()}-", dir=within))
    made.chmod(0o711)  # databases are another user's, who must reach theirs
    return made
