"""How a command ends by Ctrl-C, SIGTERM or a closed terminal, and its processes with it.

The first of these signals ends a command by an exception, so that its runs are marked as KILLED on
the way out. A second Ctrl-C does not wait for that: the runs are marked by another thread, which
hears signals also while the main one is deep in a computation, and the process is gone.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import FrameType
from typing import Any

from adapterlab.base.end_line import ended_by, say_after_end
from adapterlab.base.interrupts import HUNG_UP, INTERRUPTED, SIGNALS, TERMINATED
from adapterlab.base.streams import tell

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
if hasattr(signal, "SIGHUP"):
    _WORDS[signal.SIGHUP], _CODES[signal.SIGHUP] = "the terminal was closed", HUNG_UP

_TWICE_SECONDS = 0.1
"""Nobody presses Ctrl-C twice in less time; `timeout` signals a process and then its group."""

_LAST_SECONDS = 3.0
"""What marking runs may take, and what processes have to end by themselves."""

_POLL_SECONDS = 0.5

_UNSAID = "ignore:resource_tracker:UserWarning"
"""The warning of something left to clean up, as Python's variable for warnings has it."""

_at_sudden_end: dict[object, tuple[Callable[[], object], bool]] = {}
_state: dict[str, int] = {"listening": False, "ending": False, "code": 0}


def is_ending() -> bool:
    """Say whether a signal has begun to end this process: whatever fails now, fails by that."""
    return bool(_state["ending"])


@contextmanager
def at_sudden_end(call: Callable[[], object], *, last: bool = False) -> Iterator[None]:
    """Have something called where a second Ctrl-C ends the process inside of the block.

    Args:
        call: says how something ended; from another thread, while the main one goes on.
        last: call it when the processes that this one has started are gone.
    """
    key = object()
    _at_sudden_end[key] = call, last
    try:
        yield
    finally:
        _at_sudden_end.pop(key, None)


@contextmanager
def listening(then: str = "") -> Iterator[None]:
    """End a command by signals as they say, with one line, from the main thread of its process.

    SIGINT and SIGHUP stay ignored where they were: by ``nohup``, or in the background of a script.
    The line says what there is to do `then`.
    """
    if threading.current_thread() is not threading.main_thread() or _state["listening"]:
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard, told = os.pipe()
    os.set_blocking(told, False)
    wakeup = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(heard,), name="signals", daemon=True)
    watcher.start()
    _state.update(listening=True, ending=False)
    say_after_end(then)
    unraisable, sys.unraisablehook = sys.unraisablehook, _unraisable
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN or number == signal.SIGTERM:
                signal.signal(number, partial(_end, quiet=False))
        with as_signalled():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if _state["ending"]:  # Python is on its way out, which a second Ctrl-C need not wait for
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
            _let_children_die()
        sys.unraisablehook = unraisable
        signal.set_wakeup_fd(wakeup)
        _state.update(listening=False, ending=False)
        os.write(told, b"\0")
        watcher.join(1)
        os.close(told)
        os.close(heard)


@contextmanager
def as_signalled() -> Iterator[None]:
    """End by the signal that has been heard, whatever library stumbles over its exception."""
    try:
        yield
    except Exception:
        end_if_signalled()
        raise


def end_if_signalled() -> None:
    """End by the signal that has been heard, where its exception was lost.

    Python raises it wherever the main thread is, and drops it where nobody can take it: in a
    destructor, or in what is called around a fork.

    Raises:
        SystemExit: a signal has been heard.
    """
    if _state["ending"] and threading.current_thread() is threading.main_thread():
        sys.exit(_state["code"])


def in_launched_process() -> None:
    """In a process of a launcher: end quietly by signals, and soon after the parent."""
    if _state["listening"] or threading.current_thread() is not threading.main_thread():
        return
    _state["listening"] = True
    for number in SIGNALS:
        signal.signal(number, partial(_end, quiet=True))
    end_with_parent()


def in_helping_process(*_: object) -> None:
    """In a process that cuts batches or draws: leave Ctrl-C to the parent, and end after it."""
    _leave_ctrl_c()
    sys.excepthook = _without_parent
    end_with_parent()


def in_training_process(parent: int) -> None:
    """In a process that carries out runs: leave Ctrl-C to the parent, and end after it.

    The other signals end it by an exception, once, so that its runs are marked on the way out.

    Args:
        parent: its process id.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in SIGNALS[1:]:
        signal.signal(number, _stop)
    end_with_parent(parent)


def _stop(*_: object) -> None:
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_IGN)
    _state.update(ending=True, code=TERMINATED)
    sys.exit(TERMINATED)


def _leave_ctrl_c() -> None:
    """Leave Ctrl-C to the parent, and end by the other signals at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)


def _without_parent(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Say nothing of a parent that has left while it was talked to; it has said why."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def hangups_held() -> AbstractContextManager[None]:
    """Let what is started inside never hear of a closed terminal.

    So are the trackers of shared memory started: they take no notice of SIGINT and SIGTERM, but
    SIGHUP would end them before the processes that they clean up after.
    """
    return _held("SIGHUP")


def interrupts_held() -> AbstractContextManager[None]:
    """Let what is started inside never hear of Ctrl-C, not even before it has begun.

    Its terminal would tell it before its first line leaves SIGINT to the parent.
    """
    return _held("SIGINT")


@contextmanager
def _held(name: str) -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.Signals[name]})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_trackers() -> None:
    """Start what cleans up shared memory, before joblib does; see `hangups_held`."""
    from multiprocessing import resource_tracker as of_python

    from joblib.externals.loky.backend import resource_tracker as of_loky

    with hangups_held(), _quiet_trackers():
        of_python.ensure_running()
        of_loky.ensure_running()


@contextmanager
def _quiet_trackers() -> Iterator[None]:
    """Have trackers that are started clean up after processes that were killed without a word."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, _UNSAID]))
    try:
        yield
    finally:
        del os.environ["PYTHONWARNINGS"]
        if before is not None:
            os.environ["PYTHONWARNINGS"] = before


def end_with_parent(parent: int | None = None) -> None:
    """Have this process end by SIGTERM when its parent is gone, and by force soon after.

    Args:
        parent: its process id; None for that of the present one.
    """
    known = os.getppid() if parent is None else parent

    def watch() -> None:
        while os.getppid() == known:
            time.sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_LAST_SECONDS)
        os._exit(TERMINATED)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _end(number: int, _: FrameType | None, *, quiet: bool) -> None:
    if _state["ending"]:  # it is on its way; a second Ctrl-C is the other thread's
        return
    # Before anything is said: who is told may be gone, and then the end is this one all the same.
    _state.update(ending=True, code=_CODES[signal.Signals(number)])
    _let_children_die()
    if not quiet:
        tell(f"error: {ended_by(_WORDS[signal.Signals(number)])}")
    sys.exit(_state["code"])


def _unraisable(dropped: Any) -> None:
    """Say nothing of an exception by a signal that is raised where it is dropped."""
    if not (_state["ending"] and issubclass(dropped.exc_type, SystemExit)):
        sys.__unraisablehook__(dropped)


def _let_children_die() -> None:
    """Have nothing raised by the end of a process that cuts batches, as torch does."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _watch(heard: int) -> None:
    """Read the signals of the process as they come, until a zero does."""
    first: float | None = None
    while True:
        for number in os.read(heard, 64):
            if not number:
                return
            if number not in SIGNALS:
                continue
            if first is None:
                first = time.monotonic()
            elif number == signal.SIGINT and time.monotonic() - first > _TWICE_SECONDS:
                _end_at_once()


def _end_at_once() -> None:
    _state["ending"] = True
    children = _told_to_end()
    _say_all(last=False)
    _end_by_force(children)
    _say_all(last=True)
    line = f"error: {ended_by('interrupted twice')}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    os._exit(INTERRUPTED)


def _say_all(*, last: bool) -> None:
    """Call what is to be called at a sudden end, for as long as that may take."""

    def say() -> None:
        for call, is_last in list(_at_sudden_end.values()):
            if is_last == last:
                with contextlib.suppress(Exception):
                    call()

    sayer = threading.Thread(target=say, daemon=True)
    sayer.start()
    sayer.join(_LAST_SECONDS)


def _told_to_end() -> list[Any]:
    """Send SIGTERM to the processes that this one has started, and return them."""
    import psutil

    children: list[Any] = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                # What cleans up after the others ends with the last of them.
                if not any("resource_tracker" in word for word in child.cmdline()):
                    child.terminate()
                    children.append(child)
    return children


def _end_by_force(children: list[Any]) -> None:
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.wait_procs(children, 1.0)[1]:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(children, 1.0)


def _forget() -> None:
    """In a fork: the pipe is the parent's, who would take a signal here for one of its own."""
    if _state["listening"]:
        _state.update(listening=False, ending=False)
        _at_sudden_end.clear()
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)
            _leave_ctrl_c()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
