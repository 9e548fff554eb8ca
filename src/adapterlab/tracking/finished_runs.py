"""Whether runs are finished in their MLflow store: one by one, or all of a study at once."""

import sqlite3

from adapterlab.config.schema import Config
from adapterlab.tracking.client import connect
from adapterlab.tracking.mlflow_run import info_of
from adapterlab.tracking.stores.sqlite_files import finished
from adapterlab.tracking.stores.uris import default_uri, sqlite_file


def is_logged(config: Config, run_id: str | None) -> bool:
    """Say whether the store has a run to its end; True where tracking is off.

    A process may be killed after it has written a run's result, and before it has logged it.

    Raises:
        AdapterLabError: no store answers.
    """
    if not config.tracking.enabled:
        return True
    client = connect(config.tracking.uri, config.mlruns)
    known = None if run_id is None else info_of(client, run_id)
    return known is not None and known.lifecycle_stage == "active" and known.status == "FINISHED"


class Logged:
    """Answers as `is_logged` does, of many runs, as it was when it was first asked.

    MLflow says it with all that a run has logged, which takes longer than all else of finding a
    finished run again; a file of sqlite is asked itself. A run that is not in it is asked for.
    """

    def __init__(self) -> None:
        self._finished: dict[str, frozenset[str]] = {}

    def __call__(self, config: Config, run_id: str | None) -> bool:
        """Say whether the store has a run to its end; True where tracking is off.

        Raises:
            AdapterLabError: no store answers.
        """
        tracking = config.tracking
        if not tracking.enabled:
            return True
        uri = tracking.uri or default_uri(config.mlruns)
        if uri not in self._finished:
            self._finished[uri] = self._read(config, uri)
        return run_id in self._finished[uri] or is_logged(config, run_id)

    @staticmethod
    def _read(config: Config, uri: str) -> frozenset[str]:
        connect(config.tracking.uri, config.mlruns)  # which makes the store whole
        if (file := sqlite_file(uri)) is None:
            return frozenset()
        try:
            return finished(file)
        except sqlite3.Error:  # tables of another MLflow: it is asked run by run
            return frozenset()
