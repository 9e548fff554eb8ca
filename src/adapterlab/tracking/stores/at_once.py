"""Several calls of an MLflow client as one transaction of a sqlite store: one wait for the disk.

MLflow commits in each call, up to three times, and each commit has sqlite wait for the disk four
times. Calls that belong together are there together, or not at all, also where the process is
killed in between.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

_owner = threading.local()


class _UndoError(Exception):
    """MLflow wants to take back what it has just done: that would be all of it."""


class _Session:
    """The session that calls share: what they commit is kept until the last of them."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def commit(self) -> None:
        self._session.flush()

    def rollback(self) -> None:
        raise _UndoError


def at_once(client: Any, work: Callable[[], T]) -> T:
    """Do what calls a client several times, in one transaction where its store is a sqlite file.

    If anything goes wrong nothing of it has happened, and it is done again call by call: then what
    goes wrong is the caller's, as if this were not here. So `work` must bear to be done twice.

    Args:
        client: an MLflow client.
        work: calls it, and nothing that waits for long: nobody else can write meanwhile.
    """
    store = getattr(getattr(client, "_tracking_client", None), "store", None)
    if getattr(_owner, "busy", False) or not _is_sqlite(store):
        return work()
    _owner.busy = True
    try:
        with _shared(store):
            return work()
    except Exception as error:
        log.debug("call by call: %r", error)
    finally:
        _owner.busy = False
    return work()


def _is_sqlite(store: Any) -> bool:
    """Say whether a store is of the kind that this knows."""
    return getattr(store, "db_type", None) == "sqlite" and hasattr(store, "ManagedSessionMaker")


@contextmanager
def _shared(store: Any) -> Iterator[None]:
    """Have all calls of this thread share a session, which is committed in the end."""
    make, thread = store.ManagedSessionMaker, threading.get_ident()

    @contextmanager
    def managed(*how: Any, **options: Any) -> Iterator[Any]:
        if threading.get_ident() != thread:
            with make(*how, **options) as own:
                yield own
            return
        yield shared
        session.flush()
        session.expire_all()  # each call reads what is there, as in a session of its own

    with make(read_only=False) as session:
        shared = _Session(session)
        store.ManagedSessionMaker = managed
        try:
            yield
        finally:
            store.ManagedSessionMaker = make
