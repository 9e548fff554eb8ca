"""What can carry out packs, by name: ``hydra.launcher.engine``. One file each, of that name.

A file has three things, and is imported without the package that it works with:

- `Options`: a dataclass of its own options, as they stand under ``hydra.launcher``; each has a
  default, under which it works.
- `place(options, asked)`: where its tasks are carried out, as far as they are planned for that;
  None for this machine, whose process then takes part in the work.
- `start(options, work)`: the `Engine` itself.

One whose tasks go on without their command is a `Recalls` as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from adapterlab.base.errors import ConfigError
from adapterlab.base.planned_place import Place
from adapterlab.studies.tasks.engine import Engine

if TYPE_CHECKING:
    from adapterlab.studies.tasks.records import Record


@dataclass(frozen=True)
class Kind:
    """An engine, before it is imported.

    Attributes:
        package: that it cannot do without.
        extra: of this project, which installs that.
        goes_on: its tasks do not end with the command that has submitted them.
    """

    package: str | None = None
    extra: str | None = None
    goes_on: bool = False


KINDS: Mapping[str, Kind] = {
    "local": Kind(),
    "submitit": Kind(package="submitit", extra="submitit", goes_on=True),
    "ray": Kind(package="ray", extra="ray"),
    "dask": Kind(package="distributed", extra="dask"),
}


@dataclass(frozen=True)
class Asked:
    """What was said of the nodes, ``hydra.launcher.node``; None where nothing was.

    Attributes:
        memory_gib: of the device that a pack computes on: the GPU's where there is one.
        cores: that a task has.
        gpu: a task has a GPU.
    """

    memory_gib: float | None = None
    cores: int | None = None
    gpu: bool | None = None


@dataclass(frozen=True)
class Work:
    """What an engine is started for.

    Attributes:
        folder: of the study's tasks, on a disk that all see: for what an engine keeps.
        study: its name.
        slots: processes beside this one that this machine has room for.
        waited_for: the command stays until the tasks have ended.
    """

    folder: Path
    study: str
    slots: int = 0
    waited_for: bool = True


class Module(Protocol):
    """The file of an engine."""

    Options: type[Any]

    def place(self, options: Any, asked: Asked) -> Place | None:
        """Return where tasks are carried out; None for this machine.

        Raises:
            ConfigError: it is neither said nor known.
        """

    def start(self, options: Any, work: Work) -> Engine:
        """Start it."""


@runtime_checkable
class Recalls(Protocol):
    """The file of an engine whose tasks are ended by what was written down of them."""

    def require_reach(self, record: "Record") -> None:
        """Refuse a task that cannot be ended from here.

        Raises:
            AdapterLabError: it cannot; why, and where it can be, is said.
        """

    def open_recorded(self, records: "Sequence[Record]") -> set[str]:
        """Return the ids of the tasks that wait or are carried out.

        Raises:
            AdapterLabError: the cluster does not answer.
        """

    def end_recorded(self, record: "Record") -> None:
        """Tell a task to end; its runs are marked on the way out."""


def module_of(name: str) -> Module:
    """Return the file of an engine."""
    module: Any = import_module(f"{__name__}.{name}")
    return module  # type: ignore[no-any-return]


def require_package(name: str) -> None:
    """Refuse an engine whose package is not installed.

    Raises:
        ConfigError: a line that names what installs it.
    """
    kind = KINDS[name]
    if kind.package is not None and find_spec(kind.package) is None:
        raise ConfigError(
            f"hydra.launcher.engine={name} needs {kind.package}, which is not installed: "
            f"pip install '.[{kind.extra}]'"
        )
