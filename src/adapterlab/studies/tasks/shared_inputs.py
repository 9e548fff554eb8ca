"""What several tasks of a study need and none should make twice: bases, tokens, frozen prefixes.

On one machine whoever comes first makes it, and the others wait for a lock. Nodes that wait for a
lock are nodes lost, and their time runs out; so elsewhere it is made by tasks of its own, which
those that need it come after. It lies where runs find it: the base in its own run's folder, tokens
and features in the cache. Who has another disk finds it in MLflow (`tracking.shared_entries`).

Images are not decoded by a task: what is planned hangs on the data, so the command has read them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from adapterlab.config.parsing import to_container
from adapterlab.config.schema import Config, SplitName, TrainedBase
from adapterlab.data.splits import TextSplits
from adapterlab.runs.base_weights import base_run
from adapterlab.runs.data import RunData
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.runs.state import finished_run
from adapterlab.studies.planning.packing import OF_LANES, enumerated
from adapterlab.studies.tasks.engine import Task

if TYPE_CHECKING:
    from adapterlab.runs.packs.lanes import Outcome  # loads Lightning


LONG_TEXTS = 10_000_000
"""Characters that take longer to tokenise, by two million a second, than a task to begin."""


@dataclass(frozen=True)
class Need:
    """What a task of its own makes.

    Attributes:
        task: that makes it.
        of: places of the tasks that need it.
        base: it trains a base, beside what comes after that.
        prefixes: that it tries to compute.
        texts: names of data sets that it tokenises, beside that.
    """

    task: Task
    of: tuple[int, ...]
    base: bool
    prefixes: int
    texts: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What is made, and for how many tasks."""
        config, made = self.task.configs[0], []
        if self.base and isinstance(config.base, TrainedBase) and config.base.dataset is not None:
            made.append(f"the base, trained on {config.base.dataset.name}")
        if self.texts:
            made.append(f"the tokens of {', '.join(self.texts)}")
        if self.prefixes:
            made.append("the frozen prefix" if self.prefixes == 1 else "the frozen prefixes")
        return f"made once for {len(self.of)} tasks: {enumerated(made)}"


def needs(
    tasks: Sequence[Task], depths: Sequence[int], data: Callable[[Config], RunData]
) -> list[Need]:
    """Return what several tasks need that is not there, as far as that is known before.

    One task of its own a base, with all that is computed over it. Whether features of a frozen
    prefix are there is known to whoever has the weights, so these are asked for again.

    Args:
        tasks: of a study.
        depths: of each, frozen blocks of its model.
        data: reads the data of a run.
    """
    found: dict[str, list[int]] = {}
    for number, task in enumerate(tasks):
        found.setdefault(_ground(task.configs[0], data), []).append(number)
    made_once = (_made_over(numbers, tasks, depths, data) for numbers in found.values())
    return [need for need in made_once if need is not None]


def _made_over(
    every: Sequence[int],
    tasks: Sequence[Task],
    depths: Sequence[int],
    data: Callable[[Config], RunData],
) -> Need | None:
    """Return what is needed over one base; None where nothing is shared.

    Args:
        every: places of the tasks over it.
        tasks: of the study.
        depths: of each, frozen blocks of its model.
        data: reads the data of a run.
    """
    configs = {number: tasks[number].configs[0] for number in every}
    lacks = len(every) > 1 and _lacks_base(configs[every[0]], data)
    prefixes = _shared({n: _prefix(config, depths[n]) for n, config in configs.items()})
    texts = _shared({n: _texts(config, data) for n, config in configs.items()})
    of = {number for numbers in (*prefixes, *texts) for number in numbers}
    if not (of := set(every) if lacks else of):
        return None
    makers = [numbers[0] for numbers in prefixes]
    # Who computes a prefix has tokenised for it.
    tokenised = {_texts(configs[number], data) for number in makers}
    makers += [n for n, *_ in texts if _texts(configs[n], data) not in tokenised]
    made_by = tuple(configs[number] for number in makers or every[:1])
    return Need(
        Task(made_by, packed=False, prepares=True),
        tuple(sorted(of)),
        base=lacks,
        prefixes=len(prefixes),
        texts=tuple(dict.fromkeys(configs[numbers[0]].dataset.name for numbers in texts)),
    )


def _shared(kinds: Mapping[int, str]) -> list[list[int]]:
    """Return the places of tasks that are of one kind, where there are several; '' is none."""
    places: dict[str, list[int]] = {}
    for number, kind in kinds.items():
        places.setdefault(kind, []).append(number)
    return [numbers for kind, numbers in places.items() if kind and len(numbers) > 1]


def _lacks_base(config: Config, data: Callable[[Config], RunData]) -> bool:
    """Say whether a run's base is trained here, and has not been yet."""
    base, source = base_run(config), data(config).of_source
    return base is not None and source is not None and finished_run(base, source) is None


def _ground(config: Config, data: Callable[[Config], RunData]) -> str:
    """Return what says over which base runs compute, if several do."""
    if (base := base_run(config)) is not None:
        source = data(config).of_source
        return f"{RunFolder.of(base).path} {source.hash if source else ''}"
    values = to_container(config)
    return json.dumps([values["model"], values["base"]], sort_keys=True)


def _prefix(config: Config, depth: int) -> str:
    """Return what says which frozen prefix a run has; empty where it has none."""
    hardware = config.hardware
    if not depth or hardware.frozen_prefix == "never" or hardware.compile or hardware.devices > 1:
        return ""
    values = {name: v for name, v in to_container(config).items() if name not in OF_LANES}
    return json.dumps([values, depth], sort_keys=True)


def _texts(config: Config, data: Callable[[Config], RunData]) -> str:
    """Return what says which tokens a run reads; empty where they are made in a moment, or none."""
    read = data(config)
    count = read.once(f"characters of {config.limit}", lambda: _characters(config, read))
    if count < LONG_TEXTS:
        return ""
    values = to_container(config)
    said: list[Any] = [values[name] for name in ("dataset", "limit", "model")]
    return json.dumps(said, sort_keys=True)


def _characters(config: Config, read: RunData) -> int:
    """Return how many characters of texts a run reads, about."""
    count = 0.0
    for splits in (read.target, read.source):
        for name, split in (splits.named() if isinstance(splits, TextSplits) else {}).items():
            limit = config.limit_of(cast(SplitName, name)) or len(split)
            count += sum(map(len, split.parts)) * min(limit / len(split), 1.0)
    return int(count)


def made(config: Config, read: RunData) -> "Outcome | None":
    """Make what a run needs: train its base, tokenise, compute its frozen prefix, and keep them.

    Args:
        config: of the run.
        read: its data.

    Returns:
        None; or why there is something that it cannot have.
    """
    from adapterlab.runs.assembly import assemble
    from adapterlab.runs.single import frozen_prefix, run
    from adapterlab.training.hardware import choose_device

    try:
        device = choose_device(config.hardware, training=True)
        assembly = assemble(config, train=run, read=read)
        if config.hardware.frozen_prefix != "never":
            frozen_prefix(config, assembly, device)
    except Exception as error:  # the others go on, whatever this was
        return error
    return None
