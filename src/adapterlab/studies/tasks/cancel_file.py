"""How another command tells the one that waits for a study's tasks to end them: by a file.

The two may be on different machines, which share the disk of the records and no processes.
"""

import logging
import sys
from pathlib import Path

from adapterlab.base.interrupts import TERMINATED

log = logging.getLogger(__name__)

NAME = "cancel"


def tell_to_end(folder: Path) -> None:
    """Tell the command that waits for the tasks of a folder to end them, and itself."""
    (folder / NAME).touch()


def forget_told(folder: Path) -> None:
    """Forget what an earlier command was told."""
    (folder / NAME).unlink(missing_ok=True)


def end_if_told(folder: Path) -> None:
    """End this command, if it has been told to.

    Raises:
        SystemExit: it has, with the code of a command that was terminated.
    """
    if (folder / NAME).exists():
        log.warning("another command has cancelled this study")
        sys.exit(TERMINATED)
