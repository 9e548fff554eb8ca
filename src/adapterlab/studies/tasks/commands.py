"""Which runs a command of this machine was asked for, written down before it begins them.

MLflow learns of a run when it begins; of those that wait, only this file knows. Tasks of other
machines have `records`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from adapterlab.base.files import write_json
from adapterlab.base.process_identity import is_gone, this_process
from adapterlab.config.multirun import current_multirun
from adapterlab.config.schema import Config
from adapterlab.studies.tasks.records import read_as, run_names

NAME = "asked.json"


@dataclass(frozen=True)
class Asked:
    """What the latest command of a study was asked for.

    Attributes:
        process: of the command, as `base.process_identity` names it.
        began: when it began to carry out runs, in seconds since 1970.
        runs: names of their folders; a sweeper may ask for more of them later.
        multirun: its name; None outside of one.
        over: it has ended, or what it was asked for so far has; a process in Python goes on.
    """

    process: str
    began: float
    runs: tuple[str, ...]
    multirun: str | None = None
    over: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether the command is still at it, as far as that can be known here."""
        return not self.over and not is_gone(self.process)


_ASKED = TypeAdapter(Asked)


@contextmanager
def asked_for(configs: Sequence[Config]) -> Iterator[None]:
    """Have it written down that this process carries out runs, and that it no longer does."""
    folders = write_asked(configs)
    try:
        yield
    finally:
        for folder, asked in folders.items():
            write_json(folder / NAME, asdict(replace(asked, over=True)))


def write_asked(configs: Sequence[Config]) -> Mapping[Path, Asked]:
    """Write down that this process is about to carry out runs; those of one study in one file."""
    studies: dict[Path, list[Config]] = {}
    for config in configs:
        if config.study is not None:
            studies.setdefault(config.mlruns / "studies" / config.study, []).append(config)
    multirun, process = current_multirun(), this_process()
    written: dict[Path, Asked] = {}
    for folder, own in studies.items():
        before = _read(folder)
        if before is None or (before.multirun, before.process) != (multirun, process):
            before = Asked(process, time.time(), (), multirun)
        runs = tuple(dict.fromkeys((*before.runs, *run_names(own))))
        written[folder] = Asked(process, before.began, runs, multirun)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / NAME, asdict(written[folder]))
    return written


def read_asked(mlruns: Path, study: str) -> Asked | None:
    """Return what the latest command of a study was asked for; None if nothing can be read."""
    return _read(mlruns / "studies" / study)


def _read(folder: Path) -> Asked | None:
    asked: Asked | None = read_as(folder / NAME, _ASKED)
    return asked
