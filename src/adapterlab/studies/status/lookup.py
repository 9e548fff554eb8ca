"""A study that a command names: which store it is in, and how it stands there."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.bookkeeping import FileName
from adapterlab.config.parsing import absolute
from adapterlab.config.validation import STRICT, checked
from adapterlab.studies.status.study_status import StudyStatus, study_status
from adapterlab.tracking.client import connect
from adapterlab.tracking.stores.uris import not_made
from adapterlab.tracking.study_runs import near_studies, study_names
from adapterlab.tracking.tuning_tags import study_of_trials


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request:
    """Which study is meant; see conf/status.yaml."""

    study: FileName
    experiment: str
    tracking_uri: str | None
    root: str

    @property
    def mlruns(self) -> Path:
        """The folder that everything is written under."""
        return Path(absolute(self.root)) / "mlruns"


def parse_request(values: Any) -> Request:
    """Check the options.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def client_of(request: Request) -> Any | None:
    """Return a client of the request's store; None for a store of this root that nobody has made.

    Raises:
        AdapterLabError: no store answers.
    """
    if not_made(request.tracking_uri, request.mlruns) is not None:
        return None
    return connect(request.tracking_uri, request.mlruns)


def find_study(client: Any | None, request: Request) -> StudyStatus:
    """Read how a study stands.

    Raises:
        AdapterLabError: there is no such study; it names those with names like it, or the one that
            tunes it.
    """
    study, mlruns = request.study, request.mlruns
    found = study_status(client, mlruns, study, request.experiment)
    if found.runs or found.logged.own:
        return found
    folder = mlruns / "runs" / study
    if folder.is_dir():
        raise AdapterLabError(
            f"study={study} has no runs in MLflow's experiment {request.experiment}; files of it "
            f"are in {folder}: were they run with tracking=none, or is tracking_uri= another?"
        )
    names = set() if client is None else study_names(client, request.experiment)
    names |= {path.name for path in (mlruns / "studies").glob("*/")}
    if (tuning := study_of_trials(study)) in names:
        raise AdapterLabError(f"study={study} has no runs yet; those that tune it: study={tuning}")
    raise AdapterLabError(f"study={study}: there is no such study{near_studies(study, names)}")
