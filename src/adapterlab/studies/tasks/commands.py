"""Which runs the commands of a study were asked for, written down before they begin them.

MLflow learns of a run when it begins; of those that wait, only these files know. Each command has
one of its own, of which no other writes: several may be at a study together. Tasks of other
machines have `records`.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from adapterlab.base.files import write_json
from adapterlab.base.process_identity import host_of, is_elsewhere, is_gone, this_process
from adapterlab.config.multirun import current_multirun
from adapterlab.config.schema import Config
from adapterlab.studies.tasks.records import read_as, run_names

FILES = "asked*.json"
"""Those of the commands that are at a study together; earlier versions had one for all."""


@dataclass(frozen=True)
class Asked:
    """What a command of a study was asked for.

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
    files = write_asked(configs)
    try:
        yield
    finally:
        for path, asked in files.items():
            write_json(path, asdict(replace(asked, over=True)))


def write_asked(configs: Sequence[Config]) -> Mapping[Path, Asked]:
    """Write down that this process is about to carry out runs; those of one study in one file.

    What commands have left that were at the study before is forgotten with the first that comes
    when none goes on.
    """
    studies: dict[Path, list[Config]] = {}
    for config in configs:
        if config.study is not None:
            studies.setdefault(config.mlruns / "studies" / config.study, []).append(config)
    multirun, process = current_multirun(), this_process()
    written: dict[Path, Asked] = {}
    for folder, own in studies.items():
        path = folder / f"asked-{multirun.split('-', 2)[1] if multirun else process}.json"
        before: Asked | None = read_as(path, _ASKED)
        if before is None:
            found = _read(folder)
            if not any(asked.goes_on for asked in found.values()):
                for left in found:
                    left.unlink(missing_ok=True)
            before = Asked(process, time.time(), (), multirun)
        runs = tuple(dict.fromkeys((*before.runs, *run_names(own))))
        written[path] = Asked(process, before.began, runs, multirun)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(written[path]))
    return written


def read_asked(mlruns: Path, study: str, hosts: Collection[str | None] = ()) -> tuple[Asked, ...]:
    """Return what the commands were asked for that are at a study together, or were last.

    Args:
        mlruns: the folder that everything is written under.
        study: its name.
        hosts: on which runs of it are RUNNING.

    Returns:
        In the order in which they began.
    """
    return tuple(_read(mlruns / "studies" / study, hosts).values())


def _read(folder: Path, hosts: Collection[str | None] = ()) -> dict[Path, Asked]:
    """Return what is written down, by the files, in the order in which the commands began.

    Of a command of another host it is not known whether it has ended: it counts while a run of the
    study is RUNNING there, and as long as no later one has begun.
    """
    read: dict[Path, Asked | None] = {path: read_as(path, _ASKED) for path in folder.glob(FILES)}
    known = [(path, asked) for path, asked in read.items() if asked is not None]
    known.sort(key=lambda one: one[1].began)
    found = {}
    for number, (path, asked) in enumerate(known, start=1):
        open_there = number == len(known) or host_of(asked.process) in hosts
        ended = is_elsewhere(asked.process) and not open_there
        found[path] = replace(asked, over=True) if ended else asked
    return found
