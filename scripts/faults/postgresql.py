"""A PostgreSQL of one's own for as long as a block: Debian's binaries, a folder, a free port."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PASSWORD = "p%40 ss/?#"
"""With all that an address has to escape."""

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")


def missing() -> str | None:
    """Say why there can be no PostgreSQL here; None if there can."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        return f"no driver of PostgreSQL: {error}"
    if _binaries() is None:
        return "no PostgreSQL: initdb and pg_ctl were not found"
    if os.geteuid() == 0 and _somebody() is None:
        return "PostgreSQL does not run as root, and there is nobody else"
    return None


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL; called, it makes an empty database and returns its URI.

    Attributes:
        port: that it listens at.
        stop: ends it at once, as a crash does.
        start: starts it again.
        process: returns that which all others of it are children of; None while it is stopped.
    """

    port: int
    stop: Callable[[], None]
    start: Callable[[], None]
    process: Callable[[], int | None]

    def __call__(self) -> str:
        """Make an empty database, and return its URI."""
        return _database(self.port)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a PostgreSQL for as long as a block takes."""
    binaries = _binaries()
    assert binaries is not None, missing()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    user = _somebody() if os.geteuid() == 0 else None

    def call(name: str, *arguments: str) -> None:
        subprocess.run(
            [binaries / name, *arguments],
            user=user, cwd=folder, check=True, timeout=180,
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    try:
        (folder / "password").write_text(PASSWORD)
        if user is not None:
            for path in (folder, folder / "password"):
                os.chown(path, user, -1)
        data = str(folder / "data")
        login = ("-A", "scram-sha-256", "-U", "lab", f"--pwfile={folder / 'password'}")
        call("initdb", "-D", data, *login, "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"

        def start() -> None:
            call("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")

        def stop() -> None:
            call("pg_ctl", "-D", data, "-m", "immediate", "stop")

        def process() -> int | None:
            try:
                return int((Path(data) / "postmaster.pid").read_text().split()[0])
            except FileNotFoundError:
                return None

        start()
        try:
            yield Cluster(port, stop, start, process)
        finally:
            with suppress(subprocess.CalledProcessError):  # it may be stopped
                stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _database(port: int) -> str:
    import psycopg

    name = f"lab_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(_address(port, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return _address(port, name)


def _address(port: int, name: str) -> str:
    return f"postgresql://lab:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/{name}"


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    for pattern in _PLACES:
        places += sorted(Path("/").glob(pattern[1:]), reverse=True)
    return next((place for place in places if (place / "pg_ctl").is_file()), None)


def _somebody() -> int | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    return None
