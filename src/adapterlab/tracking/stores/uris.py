"""Where an MLflow store is, by its tracking URI: a file, a database elsewhere, or a server."""

import ipaddress
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.base.redaction import public_uri

SERVERS = ("http", "https", "databricks", "uc")
"""Schemes of stores that a server writes."""

LONGEST = 200 - len(f"/{'0' * 32}/artifacts")
"""Characters of an experiment's place for files: a database takes 200 for that of a run."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def default_uri(mlruns: Path) -> str:
    """Return the URI of the sqlite store in `mlruns`."""
    return sqlite_uri(mlruns / "mlflow.db")


def sqlite_uri(file: Path) -> str:
    """Return the URI of a sqlite file; what means something in a URI is escaped."""
    escaped = str(file).replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{escaped}"


def not_made(uri: str | None, mlruns: Path) -> Path | None:
    """Return the file of a store that nobody has made yet: connecting to it would make it.

    Args:
        uri: of the store; None for the one in `mlruns`.
        mlruns: the folder that everything is written under.

    Returns:
        None where there is a store, or it is no sqlite file.
    """
    file = sqlite_file(uri or default_uri(mlruns))
    return None if file is None or file.is_file() else file


def sqlite_file(uri: str) -> Path | None:
    """Return the file behind a URI, links followed; None if that is no sqlite file."""
    named = named_file(uri)
    return None if named is None else named.resolve()


def named_file(uri: str) -> Path | None:
    """Return the file that a URI names, as it names it; None if that is no sqlite file."""
    if not uri.startswith("sqlite"):
        return None
    database = _url(uri).database
    if not database or database == ":memory:" or database.startswith("file:"):
        return None
    return Path(database).absolute()


def is_local(uri: str | None) -> bool:
    """Say whether a store is written by this process itself, rather than by a server."""
    return uri is None or uri.partition(":")[0] not in SERVERS


def is_networked(uri: str) -> bool:
    """Say whether a database may be on another machine: its files are out of this one's reach.

    A database without a host is reached by a socket of this machine, unless libpq's own variables
    name another.
    """
    if sqlite_file(uri) is not None or uri.startswith("sqlite"):
        return False
    url = _url(uri)
    named = url.query.get("host", url.host or os.environ.get("PGHOST", ""))
    hosts = named if isinstance(named, tuple) else tuple(str(named).split(","))
    return not all(_is_here(host.partition(":")[0] or host) for host in hosts)


def artifact_location(uri: str | None, named: str | None, mlruns: Path) -> str | None:
    """Return where a new experiment keeps the files of its runs; None where a server knows.

    Args:
        uri: of the store; None is the one in `mlruns`.
        named: a folder or a URI; None if the user named none.
        mlruns: the folder of runs on this machine.

    Raises:
        ConfigError: others reach the store, and would not reach the folder; or what is named
            holds a password.
    """
    if named is not None and public_uri(named) != named:
        raise ConfigError(
            f"tracking.artifacts={public_uri(named)} holds a password, and everyone who reads the "
            "store would read it there; give it by variables of the environment"
        )
    if named is None and not is_local(uri):
        return None
    if named is None and uri is not None and is_networked(uri):
        raise ConfigError(
            f"tracking.uri={public_uri(uri)} is reached over a network, and others would not reach "
            f"the files of runs under {mlruns}: set tracking.artifacts to a folder that all "
            "machines have, or to a URI such as s3://BUCKET/FOLDER; or let a server keep them "
            "(mlflow server --serve-artifacts), and name it in tracking.uri"
        )
    location = _as_uri(named) if named is not None else (mlruns / "artifacts").as_uri()
    if uri is not None and not uri.startswith("sqlite") and len(location) > LONGEST:
        raise ConfigError(
            f"{location} is too long for a database, which takes {LONGEST} characters for the "
            "place of artifacts: set root or tracking.artifacts to a shorter one"
        )
    return location


def require_within_reach(
    uri: str | None, experiment: str, location: str, named: str | None
) -> None:
    """Refuse an experiment whose files lie elsewhere than the user says, or in no folder here.

    Args:
        uri: of the store; None is the one of this machine.
        experiment: its name.
        location: where it has kept the files of its runs since it was made.
        named: the folder or URI that the user names, if any.

    Raises:
        ConfigError: a shared database names a folder that this machine does not have, or the user
            another than the experiment's.
    """
    if named is not None and _as_uri(named).rstrip("/") != location.rstrip("/"):
        raise ConfigError(
            f"tracking.artifacts={named} comes too late: the experiment {experiment} keeps the "
            f"files of its runs in {location} since it was made; leave it out, or let "
            "tracking.experiment name another"
        )
    if uri is None or not is_local(uri) or not is_networked(uri):
        return
    folder = Path(unquote(urlsplit(location).path))
    if location.startswith("file:") and not folder.is_dir():
        raise ConfigError(
            f"tracking.experiment={experiment} keeps the files of its runs in {folder}, which this "
            "machine does not have: mount it here, or name another experiment"
        )


def _as_uri(named: str) -> str:
    """Return a URI, or that of a folder, which is made: others know by it that they reach it."""
    if _SCHEME.match(named):
        return named
    folder = Path(named).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder.as_uri()


@contextmanager
def without_stray_folders(uri: str) -> Iterator[None]:
    """Take away the folder that MLflow makes beside one whose name a URI has to escape.

    It makes the parents of a sqlite file, and takes the URI for the path.
    """
    literal = Path(uri.removeprefix("sqlite:///")).parent
    file = sqlite_file(uri)
    stray: list[Path] = []
    if file is not None and literal.resolve() != file.parent:
        stray = [folder for folder in (literal, *literal.parents) if not folder.exists()]
    try:
        yield
    finally:
        for folder in stray:
            try:
                folder.rmdir()
            except OSError:
                break


def _is_here(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _url(uri: str) -> Any:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(uri)
    except (ArgumentError, ValueError):
        scheme = uri.partition(":")[0]
        raise AdapterLabError(
            f"tracking.uri={scheme}:*** is no address of a database; such as "
            "postgresql://USER:PASSWORD@HOST/NAME or sqlite:////FOLDER/mlflow.db"
        ) from None
