"""What several tasks of a study need and none of them should make twice: bases, frozen prefixes.

On one machine whoever comes first makes it, and the others wait for a lock. Nodes that wait for a
lock are nodes lost, and their time runs out; so elsewhere it is made by tasks of its own, which
those that need it come after. It lies where runs find it: the base in its own run's folder, tokens
and features in the cache.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapterlab.config.parsing import to_container
from adapterlab.config.schema import Config, TrainedBase
from adapterlab.runs.base_weights import base_run
from adapterlab.runs.data import RunData
from adapterlab.runs.folder import RunFolder
from adapterlab.runs.state import finished_run
from adapterlab.studies.engine import Task
from adapterlab.studies.planning import OF_LANES

if TYPE_CHECKING:
    from adapterlab.runs.lanes import Outcome  # loads Lightning


@dataclass(frozen=True)
class Need:
    """What a task of its own makes.

    Attributes:
        task: that makes it.
        of: places of the tasks that need it.
        base: it trains a base, beside what comes after that.
        prefixes: that it tries to compute.
    """

    task: Task
    of: tuple[int, ...]
    base: bool
    prefixes: int

    @property
    def words(self) -> str:
        """What is made, and for how many tasks."""
        config, made = self.task.configs[0], []
        if self.base and isinstance(config.base, TrainedBase) and config.base.dataset is not None:
            made.append(f"the base, trained on {config.base.dataset.name}")
        if self.prefixes:
            made.append("the frozen prefix" if self.prefixes == 1 else "the frozen prefixes")
        return f"made once for {len(self.of)} tasks: {' and '.join(made)}"


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
    found: dict[str, dict[str, list[int]]] = {}
    for number, (task, depth) in enumerate(zip(tasks, depths, strict=True)):
        config = task.configs[0]
        kinds = found.setdefault(_ground(config, data), {})
        kinds.setdefault(_prefix(config, depth), []).append(number)
    made_once = (_made_over(kinds, tasks, data) for kinds in found.values())
    return [need for need in made_once if need is not None]


def _made_over(
    kinds: dict[str, list[int]], tasks: Sequence[Task], data: Callable[[Config], RunData]
) -> Need | None:
    """Return what is needed over one base; None where nothing is shared.

    Args:
        kinds: places of tasks, by which frozen prefix they have.
        tasks: of the study.
        data: reads the data of a run.
    """
    every = sorted(number for numbers in kinds.values() for number in numbers)
    first = tasks[every[0]].configs[0]
    lacks = len(every) > 1 and _lacks_base(first, data)
    shared = [numbers for kind, numbers in kinds.items() if kind and len(numbers) > 1]
    of = every if lacks else sorted(number for numbers in shared for number in numbers)
    if not of:
        return None
    configs = [tasks[numbers[0]].configs[0] for numbers in shared] or [first]
    task = Task(tuple(configs), packed=False, prepares=True)
    return Need(task, tuple(of), base=lacks, prefixes=len(shared))


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


def made(config: Config, read: RunData) -> "Outcome | None":
    """Make what a run needs: train its base, compute its frozen prefix, keep both.

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
