"""What goes to stderr: log lines, warnings, what nobody has foreseen; all without secrets."""

import logging
import sys
import traceback
import warnings
from typing import Any

from adapterlab.base.redaction import printable, redacted, shown
from adapterlab.base.streams import outlive_readers

OF_ONE_RUN = ("adapterlab.runs.single", "adapterlab.training")
"""Loggers that tell how a single run goes, which is too much where there are many."""


class Lines(logging.Formatter):
    """Log lines without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text."""
        return printable(redacted(super().format(record)))


def set_up_output() -> None:
    """Send log lines and warnings to stderr, as they are but for secrets."""
    outlive_readers()
    handler = logging.StreamHandler()
    handler.setFormatter(Lines("%(message)s"))
    logger = logging.getLogger("adapterlab")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False

    sys.excepthook = _show_traceback
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # it takes what comes


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(shown(f"warning: {message}"), file=sys.stderr)


def _show_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    print(
        redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr
    )
