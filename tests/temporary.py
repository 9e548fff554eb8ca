"""Where tests keep temporary files: in memory, where there is enough of it."""

import os
import shutil
from pathlib import Path

import psutil

from adapterlab.base.memory_limits import machine_bytes

IN_MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory."""

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
