"""Options of `hydra/launcher=packed`: those of every engine, and those of the one that is named."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.base.planned_place import Place
from adapterlab.config.domains import Positive
from adapterlab.config.validation import STRICT, checked
from adapterlab.studies.engines import KINDS, Asked, Work, module_of, require_package
from adapterlab.studies.tasks.engine import Engine

WHERE = "hydra.launcher"


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Node:
    """What the engine's nodes offer a task, where that is said; see `Asked`."""

    memory_gib: Positive | None = None
    cores: Annotated[int, Field(ge=1, le=4096)] | None = None
    gpu: bool | None = None


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Common:
    """Options that every engine has."""

    engine: str = "local"
    memory_gib: Positive | None = None
    node: Node = Field(default_factory=Node)
    nodes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    wait: bool = True


@dataclass(frozen=True)
class Launching:
    """What was chosen of the launcher's options, checked.

    Attributes:
        engine: its name.
        memory_gib: that a pack may take, None for most of what there is.
        node: what was said of the nodes.
        nodes: that are free, for which packs are split.
        wait: for the tasks to end; without it they are submitted, and the command ends.
        options: the engine's own, of its module's `Options`.
    """

    engine: str
    memory_gib: float | None
    node: Asked
    nodes: int
    wait: bool
    options: Any

    def place(self) -> Place | None:
        """Return where packs are carried out; None for this machine.

        Raises:
            ConfigError: it is neither said nor known.
        """
        return module_of(self.engine).place(self.options, self.node)

    def to_be_busy(self, at_once: int) -> int:
        """Return how many should have something to do, for which packs are split.

        Of this machine's processes those that were asked for: a pack is not worth the start of
        another process unless it is long, which a plan does not know.

        Args:
            at_once: packs that are carried out at the same time.
        """
        asked = self.engine == "local" and self.options.processes is not None
        return at_once if asked else self.nodes

    def start(self, work: Work) -> Engine:
        """Start the engine."""
        return module_of(self.engine).start(self.options, work)


def launching(values: Mapping[str, Any]) -> Launching:
    """Check the launcher's options.

    Args:
        values: by name; None stands for one that was not given.

    Raises:
        ConfigError: one line: a value is wrong, an option is none of this engine's, or the package
            of the engine is not installed.
    """
    given = {name: value for name, value in values.items() if value is not None}
    own = {name: given.pop(name) for name in list(given) if name not in _names(Common)}
    common = checked(TypeAdapter(Common), given, WHERE)
    if common.engine not in KINDS:
        raise ConfigError(f"{WHERE}.engine={common.engine!r}; {allowed(common.engine, KINDS)}")
    kind, schema = KINDS[common.engine], module_of(common.engine).Options
    for name, value in own.items():
        if name not in _names(schema):
            raise ConfigError(f"{WHERE}.{name}={value} {_whose(name, common.engine)}")
    node = Asked(common.node.memory_gib, common.node.cores, common.node.gpu)
    if common.engine == "local" and node != Asked():
        raise ConfigError(
            f"{WHERE}.node is of engines that carry packs elsewhere; engine=local asks this machine"
        )
    if common.engine == "local" and common.nodes is not None:
        raise ConfigError(
            f"{WHERE}.nodes={common.nodes} is of engines that carry packs elsewhere; of "
            f"engine=local, {WHERE}.processes says how many there are"
        )
    if not common.wait and not kind.goes_on:
        raise ConfigError(
            f"{WHERE}.wait=false: tasks of engine={common.engine} end with their command; "
            f"{allowed('', (name for name, one in KINDS.items() if one.goes_on))}"
        )
    options = checked(TypeAdapter(schema), own, WHERE)
    require_package(common.engine)
    nodes = common.nodes or 1
    return Launching(common.engine, common.memory_gib, node, nodes, common.wait, options)


def _names(schema: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(schema))


def _whose(name: str, engine: str) -> str:
    """Say which engines have an option that this one has not."""
    have = [other for other in KINDS if name in _names(module_of(other).Options)]
    if have:
        return f"is an option of engine={' and '.join(have)}, and engine={engine} has none such"
    return f"is not an option of engine={engine}"
