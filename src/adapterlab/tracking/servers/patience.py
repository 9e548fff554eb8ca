"""An MLflow client that waits for a server that restarts, and says in a line that one is away."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.interrupts import undisturbed
from adapterlab.base.process_identity import PROCESS_TAG
from adapterlab.base.redaction import without_password
from adapterlab.tracking.servers.errors import StoreAwayError, Trouble, briefly, trouble

log = logging.getLogger(__name__)

PATIENCE = 90.0
"""Seconds for which a server is waited for that has answered before: it may be restarting."""

FIRST_SECONDS = 15
"""In which a server must answer for the first time."""

REQUEST = {
    # MLflow's own are 120 s, seven times: a server that hangs would be noticed after a quarter of
    # an hour.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""How long a request may take, unless the environment says it."""

ANSWERED = "ADAPTERLAB_SERVER"
"""The environment variable that tells processes of a command which server has answered it."""

_UNIQUE = (PROCESS_TAG, "multirun", "config_hash", "data_hash", "kind", "study")
"""Tags by which a run is found whose creation was not answered."""


class PatientClient:
    """Calls an MLflow client, again where its server does not answer.

    Errors that are answers pass as they are, but for those about credentials.

    Args:
        client: an MLflow client.
        uri: of its server.

    Raises:
        StoreAwayError: by every method, if the server does not answer in time.
        AdapterLabError: likewise, if it wants other credentials.
    """

    def __init__(self, client: Any, uri: str) -> None:
        self._client, self._uri = client, without_password(uri)
        self._answered = os.environ.get(ANSWERED) == self._uri
        self._given_up = False

    @property
    def tracking_uri(self) -> str:
        """The store's address, as MLflow's own client has it: with a password, if there is one."""
        return str(self._client.tracking_uri)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **how: self._patiently(
            name, lambda attempt: self._once(name, method, attempt, *args, **how)
        )

    def create_run(self, experiment_id: str, **how: Any) -> Any:
        """Make a run; once, also where the first answer was lost, or came late."""
        tags = how.get("tags") or {}

        def attempt(number: int) -> Any:
            if number and (found := self._created(experiment_id, tags)):
                return found[0]
            # MLflow's own repetition would make a second run unseen.
            with _environment(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"):
                made = self._client.create_run(experiment_id, **how)
            if not number:
                return made
            # What was given up for lost may have been made in the meantime.
            first, *others = self._created(experiment_id, tags) or [made]
            for other in others:
                self._client.delete_run(other.info.run_id)
            return first

        return self._patiently("create_run", attempt)

    def require_answer(self) -> None:
        """Ask once, without patience, what has never answered: the address may be wrong.

        So is asked what has not answered when it was waited for.

        Raises:
            AdapterLabError: no store answers; `StoreAwayError` if it has answered before.
        """
        if self._answered and not self._given_up:
            return
        try:
            with _environment(
                MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
                MLFLOW_HTTP_REQUEST_TIMEOUT=str(FIRST_SECONDS),
            ):
                self._client.search_experiments(max_results=1)
        except Exception as error:
            if not _is_mlflows(error):
                raise
            raise (self._said(error) if self._answered else self._wrong(error)) from None
        self._answered, self._given_up = True, False
        os.environ[ANSWERED] = self._uri

    def _patiently(self, name: str, attempt: Callable[[int], Any]) -> Any:
        begun, number = time.monotonic(), 0
        while True:
            try:
                answer = attempt(number)
            except Exception as error:
                if not _is_mlflows(error):
                    raise
                kind = trouble(error)
                if kind is Trouble.BARRED:
                    raise self._said(error) from None
                if kind is not Trouble.AWAY:
                    raise
                if self._given_up or time.monotonic() - begun > PATIENCE:
                    self._given_up = True
                    raise self._said(error) from None
                if number == 0:
                    log.warning(
                        "%s does not answer (%s); waiting up to %.0f s", self._uri, name, PATIENCE
                    )
                number += 1
                time.sleep(min(0.5 * number, 5.0))
            else:
                self._given_up = False
                return answer

    def _once(
        self, name: str, method: Callable[..., Any], attempt: int, *args: Any, **how: Any
    ) -> Any:
        try:
            return method(*args, **how)
        except Exception as error:
            # It was deleted by the call whose answer was lost.
            lost = name == "delete_tag" and attempt > 0
            if lost and _is_mlflows(error) and trouble(error) is Trouble.GONE:
                return None
            raise

    def _created(self, experiment_id: str, tags: dict[str, str]) -> list[Any]:
        """Return the runs of these tags that there are, the first that was begun first."""
        known = [f"tags.`{name}` = '{tags[name]}'" for name in _UNIQUE if name in tags]
        if PROCESS_TAG not in tags and "multirun" not in tags:
            return []
        query = " and ".join([*known, "attributes.status = 'RUNNING'"])
        return list(
            self._client.search_runs([experiment_id], query, order_by=["attributes.start_time ASC"])
        )

    def _said(self, error: Exception) -> AdapterLabError:
        if trouble(error) is not Trouble.AWAY:
            return self._wrong(error)
        return StoreAwayError(f"tracking.uri={self._uri} has stopped answering: {briefly(error)}")

    def _wrong(self, error: Exception) -> AdapterLabError:
        return AdapterLabError(f"tracking.uri={self._uri} cannot be used: {briefly(error)}")


def unwaiting(client: Any) -> Any:
    """Return MLflow's own client, for what may as well be left out if the server does not answer.

    Its errors are MLflow's, and those of `requests`, which are OSErrors.
    """
    return client._client if isinstance(client, PatientClient) else client


def calm(client: Any) -> AbstractContextManager[None]:
    """Hold back interrupts while a store on this machine is written; see `base.interrupts`.

    A server's own transactions do not break with this process, and a wait for it must.
    """
    return nullcontext() if isinstance(client, PatientClient) else undisturbed()


def set_request_limits() -> None:
    """Have requests to a server end, unless the environment says otherwise."""
    for name, value in REQUEST.items():
        os.environ.setdefault(name, value)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Have variables that MLflow reads at every request."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _is_mlflows(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    return isinstance(error, MlflowException | RequestException)
