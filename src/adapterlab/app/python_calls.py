"""Calls from Python: they leave the process as it was, and raise where a command would exit."""

import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

from hydra import version
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from adapterlab.app.arguments import for_hydra
from adapterlab.app.explaining import as_mistake, one_line
from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.base.full_disk import said_where_full
from adapterlab.base.interrupts import SIGNALS
from adapterlab.base.redaction import redact_files, shown
from adapterlab.config.choices import require_names
from adapterlab.config.conf_folder import CONF
from adapterlab.config.hydra_versions import composing as composing_from
from adapterlab.config.multirun import MULTIRUN_VARIABLE, STUDY_VARIABLE
from adapterlab.config.overrides import VARIED_VARIABLE
from adapterlab.tracking.servers.journal import take_left
from adapterlab.tracking.servers.patience import ANSWERED

_VARIABLES = (STUDY_VARIABLE, VARIED_VARIABLE, MULTIRUN_VARIABLE, ANSWERED, "MPLCONFIGDIR")
"""Environment variables by which the processes of a command know of each other."""

_one_at_a_time = threading.RLock()


@contextmanager
def in_python() -> Iterator[None]:
    """Do what a command does, and leave the process of a caller as it was.

    Hydra's state, handlers of signals and what is told by environment variables are put back;
    calls from several threads wait for each other, since Hydra's state is that of the process.

    Raises:
        AdapterLabError: whatever a command would say in one line, this line.
    """
    with _one_at_a_time, _errors(), _hydra(), _process(), _ctrl_c(), warnings.catch_warnings():
        # MLflow brings tqdm, which would have progress bars that notebooks can draw.
        warnings.filterwarnings("ignore", "IProgress not found")
        yield


def composing(name: str) -> AbstractContextManager[Any]:
    """Return a context in which Hydra reads conf/, for a program of this name."""
    return composing_from(CONF, job_name=name)


def options_of(overrides: Sequence[str]) -> list[str]:
    """Return options as Hydra takes them.

    Raises:
        ConfigError: they are no list of options, or a group is given something else than a name.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"{overrides!r} is one text; options are a list, [{overrides!r}]")
    for option in overrides:
        if not isinstance(option, str):
            raise ConfigError(f"{option!r} is no option; allowed: texts such as 'adapter=lora'")
        if option.startswith("-"):
            allowed = "option=value"
            if option.startswith(("--config-dir", "-cd")):
                allowed = "hydra.searchpath=[file:///FOLDER] in its place"
            raise ConfigError(f"{option} is a flag of the command line; allowed: {allowed}")
    options = [for_hydra(option) for option in overrides]
    for option in options:
        require_names(option, CONF)
    return options


def is_swept(option: str) -> bool:
    """Say whether an option is given several values."""
    try:
        return OverridesParser.create().parse_override(option).is_sweep_override()
    except HydraException:  # Hydra is to say it, when it comes to that
        return False


@contextmanager
def torch_as_it_was() -> Iterator[None]:
    """Put back torch's random numbers, which runs seed, and the threads that they may be told."""
    import torch

    before = torch.get_num_threads()
    # A GPU that nobody has used has no state to keep, and asking for it would start it up.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if used else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def no_main_program() -> Iterator[None]:
    """Start processes that do not begin by importing the caller's program.

    A program that calls `adapterlab.sweep` at its top level would call it again in each of them.
    """
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.pop("__spec__")
        main.update(hidden)


def warn_of_undelivered() -> None:
    """Warn of what a server that is away has not got."""
    if kept := take_left():
        from adapterlab.runs.folders.undelivered import explained

        warnings.warn(explained(kept, "its server does not answer"), stacklevel=4)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        with said_where_full():
            yield
    except AdapterLabError as error:
        error.args = (_line(error), *error.args[1:])
        raise
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning makes this of it
            raise KeyboardInterrupt from None
        raise AdapterLabError(f"it ended early, with code {stop.code}") from stop
    except Exception as error:
        if (mistake := as_mistake(error, CONF)) is None:
            raise
        mistake.args = (_line(mistake),)
        raise mistake from None


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end a call, also where a library makes another error of it."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    except Exception as error:
        if heard:
            raise KeyboardInterrupt from error
        raise


def _line(error: BaseException) -> str:
    return one_line(shown(str(error)))


@contextmanager
def _hydra() -> Iterator[None]:
    """Let Hydra start afresh, and put back the state of a caller that is a Hydra program itself."""
    own, job, base = GlobalHydra.instance(), HydraConfig.instance(), version.VersionBase.instance()
    before = own.hydra, job.cfg, base.version_base
    own.clear()
    job.cfg = None
    try:
        yield
    finally:
        GlobalHydra.set_instance(own)
        own.hydra, job.cfg, base.version_base = before


@contextmanager
def _process() -> Iterator[None]:
    """Put back handlers of signals, variables and the collecting of garbage."""
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS} if in_main else {}
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    frozen = gc.get_freeze_count()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if not frozen:
            gc.unfreeze()  # a study freezes what it has loaded


# At import, so that the processes of a launcher do so as well.
redact_files()
