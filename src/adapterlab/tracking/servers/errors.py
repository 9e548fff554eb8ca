"""What an error of MLflow means: the store is away, shuts us out, or does not know the run."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from adapterlab.base.errors import AdapterLabError

_LOG = logging.getLogger(__name__)


class StoreAwayError(AdapterLabError):
    """The store does not answer; nothing is wrong with what it was asked."""

    exit_code = 1


class RunRefusedError(AdapterLabError):
    """MLflow does not take what a run reports, and never will."""

    exit_code = 1


class Trouble(StrEnum):
    """What kept MLflow from taking something."""

    AWAY = "the store did not answer, or said to come again"
    BARRED = "the store wants other credentials"
    GONE = "the run is not there any more"
    REFUSED = "the store does not take it, however often it is asked"


_COMMON = {
    r"Connection refused": "connection refused",
    r"[Tt]imed out|timeout": "it did not answer in time",
    r"too many (\d+) error responses": "it answers {}",
    r"[Nn]ame or service not known|[Nn]ame resolution|NameResolutionError": "no such host",
    r"Connection reset|RemoteDisconnected|Connection aborted": "it broke the connection off",
    r"failed with error code (401|403)": (
        "it answers {}: its user and password go into MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD"
    ),
    r"failed with error code (\d+)": "it answers {}",
}
"""What `requests` says in many words."""

_LATER = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED")
_BARRED = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")


def trouble(error: Exception) -> Trouble:
    """Say what an error of an MLflow client, or of its artifact store, means.

    An answer that is not MLflow's own, such as a proxy's page for a server that restarts, is none.
    """
    from mlflow.exceptions import MlflowException, RestException

    response: Any = getattr(error, "response", None)  # of requests, for files
    status = getattr(response, "status_code", None)
    if not isinstance(error, MlflowException):
        if status in (401, 403):
            return Trouble.BARRED
        return Trouble.REFUSED if isinstance(error, FileNotFoundError) else Trouble.AWAY
    if getattr(error.__cause__, "connection_invalidated", False):  # of SQLAlchemy, for a database
        return Trouble.AWAY
    code = str(error.error_code)
    if code in _BARRED:
        return Trouble.BARRED
    text = str(error)
    of_the_client = "API request to" not in text
    if code in _LATER or not (isinstance(error, RestException) or of_the_client):
        return Trouble.AWAY
    if code == "RESOURCE_DOES_NOT_EXIST" or "must be in the 'active' state" in text:
        return Trouble.GONE
    if code == "INTERNAL_ERROR" and isinstance(error, RestException):
        return Trouble.AWAY
    return Trouble.REFUSED


@contextmanager
def unless_read_only(lost: str) -> Iterator[None]:
    """Go on where a store may be read and not written, and say what it then lacks.

    Args:
        lost: what is not kept, as the rest of a sentence.
    """
    try:
        yield
    except Exception as error:
        if "attempt to write a readonly database" not in str(error):
            raise
        _LOG.warning("the store is read-only: %s", lost)


@contextmanager
def unless_gone() -> Iterator[None]:
    """Pass over what somebody has deleted since it was found."""
    try:
        yield
    except Exception as error:
        if trouble(error) is not Trouble.GONE:
            raise


def briefly(error: BaseException, longest: int = 300) -> str:
    """Return in a line what an error says; MLflow puts whole pages and passwords into some."""
    text = str(error)
    for pattern, said in _COMMON.items():
        if found := re.search(pattern, text):
            return said.format(*found.groups())
    line = (text.strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"(?<=://)[^/@\s]*@", "", line)[:longest]


def refused(error: Exception, run_id: str) -> RunRefusedError:
    """Return what to tell the user of a run that MLflow does not know, or whose report it refuses.

    Args:
        error: `trouble` says ``GONE`` or ``REFUSED`` of it.
        run_id: of the run.
    """
    if trouble(error) is Trouble.GONE:
        return RunRefusedError(
            f"its MLflow run {run_id} has been deleted; resume=true goes on in a new one"
        )
    return RunRefusedError(f"its MLflow run {run_id} does not take it: {briefly(error)}")
