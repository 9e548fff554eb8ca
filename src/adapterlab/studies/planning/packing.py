"""Which runs of a study share a pack, what that takes of memory, and why a run stays alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapterlab.adapters import AdaptedModel
from adapterlab.config.own_data import is_own
from adapterlab.config.parsing import to_container
from adapterlab.config.schema import (
    CheckpointBase,
    Config,
    Dataset,
    PeftBase,
    PretrainedBase,
    ScratchBase,
)
from adapterlab.models.protocol import adaptable
from adapterlab.packing import CannotPackError, signature
from adapterlab.packing.memory import PackMemory, pack_memory
from adapterlab.runs.check import check
from adapterlab.runs.data import AnySplits, RunData
from adapterlab.runs.sketch import sketch
from adapterlab.studies.planning.workload import load_of
from adapterlab.training.hardware import resolve_accelerator, resolve_precision
from adapterlab.training.packed.trial import why_not_packed

MOST_LANES = 64
"""Lanes of a pack: by then nothing more is gained by one more."""

FEWEST_LANES = 8
"""Lanes of a pack that is not split for the sake of nodes that are free: with fewer, most of what
packs save is lost."""

OWN_WEIGHTS = 500_000
"""Trained weights of the model's own, per lane, above which products no longer gain by company."""

SEEDS = ("seed", "init_seed", "order_seed")

OF_LANES = (
    *("adapter", "optimizer", *SEEDS, "select_on", "early_stopping"),
    *("pack", "plan", "resume", "budget", "tuning", "told", "ranks", "trial_pruner"),
)
"""Options in which lanes of a pack may differ; strategies must still train at the same places."""


@dataclass(frozen=True)
class PlannedPack:
    """Runs that are carried out together.

    Attributes:
        jobs: their places in the study.
        why: what they share, or why a run stays alone.
        gib: memory that it takes beside the data at most, by an estimate.
        packed: False for a single run that is trained the ordinary way.
        lanes: that are trained at the same time, where runs that end early give their places to
            others; None for all.
        depth: frozen blocks before the first that is trained or adapted, whose output may be kept.
    """

    jobs: tuple[int, ...]
    why: str
    gib: float
    packed: bool
    lanes: int | None = None
    depth: int = 0


@dataclass(frozen=True)
class _Built:
    """What a model tells that is built without weights: the same for runs that differ in seeds."""

    memory: PackMemory
    alone: str | None
    ground: tuple[object, ...]
    parts: tuple[object, ...]
    draws_frozen_weights: bool
    depth: int


@dataclass(frozen=True)
class _Candidate:
    job: int
    config: Config
    key: str
    built: _Built

    @property
    def memory(self) -> PackMemory:
        return self.built.memory

    @property
    def parts(self) -> tuple[object, ...]:
        return self.built.parts

    @property
    def alone(self) -> str | None:
        return self.built.alone


def plan_packs(
    configs: Sequence[Config],
    data: Sequence[RunData | None],
    memory_gib: float,
    *,
    at_once: int = 1,
    nodes: int = 1,
) -> list[PlannedPack]:
    """Group runs into packs, in the order of their first runs.

    Several methods at the same places of a model are one pack, as long as nothing stands idle.

    Args:
        configs: of the runs, each checked.
        data: of each run, where only its files tell shape or classes; None elsewhere.
        memory_gib: that a pack may take; a larger one is split.
        at_once: packs that are carried out at the same time: several methods are no fewer.
        nodes: that are free: packs are split so that all have something to do.

    Raises:
        ConfigError: an option of a run is wrong.
    """
    groups: dict[str, list[_Candidate]] = {}
    built: dict[tuple[str, int], _Built] = {}
    for job, (config, read) in enumerate(zip(configs, data, strict=True)):
        alike = but_for_seeds(config), id(read)
        if alike not in built:
            built[alike] = _build(config, read)
        candidate = _candidate(job, config, to_container(config), built[alike])
        groups.setdefault(candidate.key, []).append(candidate)

    def split(tasks: int) -> list[PlannedPack]:
        packs: list[PlannedPack] = []
        for group in groups.values():
            share = min(tasks * len(group) // len(configs), len(group) // FEWEST_LANES)
            packs.extend(_split(group, memory_gib, at_once, share))
        return sorted(packs, key=lambda pack: pack.jobs[0])

    packs = split(1)
    # Where there are more than nodes, so many that the last round has something for all as well.
    return packs if nodes == 1 else split(nodes * -(-len(packs) // nodes))


def but_for_seeds(config: Config) -> str:
    """Return a text that is the same for configurations that differ in their seeds only."""
    values = to_container(config)
    seedless = {name: value for name, value in values.items() if name not in SEEDS}
    return json.dumps(seedless, sort_keys=True)


def unknown_plans(configs: Sequence[Config]) -> list[Config]:
    """Check runs, those that differ in seeds once; return those whose data a plan has to look at.

    They alone tell shape or classes, or are the user's own, which may be missing or damaged.

    Raises:
        ConfigError: an option of one is wrong; the first that is.
    """
    known: dict[str, bool] = {}
    unknown = []
    for config in configs:
        alike = but_for_seeds(config)
        if alike not in known:
            known[alike] = check(config) is not None and not is_own(config.dataset.loader)
        if not known[alike]:
            unknown.append(config)
    return unknown


def _build(config: Config, read: RunData | None) -> _Built:
    adapted = sketch(config, read)
    memory = pack_memory(adapted, load_of(config, read))
    alone = _why_alone(config, adapted, memory)
    ground: tuple[object, ...] = ()
    parts: tuple[object, ...] = ()
    if alone is None:
        try:
            found = signature(adapted)
            ground, parts = found.ground, found.parts
        except CannotPackError as error:
            alone = str(error)
    drawn = _draws_frozen_weights(config, adapted, read)
    depth = memory.depth if adaptable(adapted.model).hidden_states is not None else 0
    return _Built(memory, alone, ground, parts, drawn, depth)


def _candidate(job: int, config: Config, values: Mapping[str, Any], built: _Built) -> _Candidate:
    shared = _shared(config, values, draws_frozen_weights=built.draws_frozen_weights)
    key = f"alone {job}" if built.alone else json.dumps(shared, sort_keys=True)
    return _Candidate(job, config, f"{key} {built.ground}", built)


def _why_alone(config: Config, adapted: AdaptedModel, memory: PackMemory) -> str | None:
    """Say why a run would not gain from a pack or cannot be in one; None where it would."""
    accelerator = resolve_accelerator(config.hardware.accelerator)
    if config.pack == "never":
        return "pack=never"
    if config.hardware.compile:
        return "hardware.compile=true compiles one model"
    if config.hardware.recompute:
        return "hardware.recompute=true computes the blocks of one model again"
    if config.hardware.devices > 1:
        return f"hardware.devices={config.hardware.devices} train one run together"
    if config.accumulate > 1:
        return f"accumulate={config.accumulate}: a pack takes a step with every batch"
    if resolve_precision(config.hardware.precision, accelerator) == "16-mixed":
        return "precision=16-mixed scales one loss for all lanes"
    if memory.unknown:
        return memory.unknown
    if (why := why_not_packed(config.optimizer, config.allow_targets)) is not None:
        return why
    if config.pack == "always" or accelerator == "gpu":
        return None
    if memory.blocks and not memory.depth:
        what = f"all {memory.blocks} layers are trained or adapted"
        if adaptable(adapted.model).hidden_states is None:
            what = f"model={config.model['name']} gives no hidden states"
        return (
            f"{what}, so runs share nothing that is computed, and a CPU multiplies for several no "
            "faster than for one"
        )
    if memory.own_weights > OWN_WEIGHTS:
        return f"{memory.own_weights:,} weights of the model itself are trained in each run"
    return None


def _shared(
    config: Config, values: Mapping[str, Any], *, draws_frozen_weights: bool
) -> dict[str, Any]:
    """Return what lanes of one pack must agree on, besides what they train."""
    shared = {name: value for name, value in values.items() if name not in OF_LANES}
    shared["optimizer"] = config.optimizer.target
    if config.dataset.kind == "text":
        # Batches of two orders differ in the lengths of their texts.
        shared["order_seed"] = config.order_seed
    if draws_frozen_weights:
        shared["init_seed"] = config.init_seed
    return shared


def _draws_frozen_weights(config: Config, adapted: AdaptedModel, read: RunData | None) -> bool:
    """Say whether weights that stay as they are drawn hang on the init seed."""
    frozen = [name for name, p in adapted.model.named_parameters() if not p.requires_grad]
    if isinstance(config.base, ScratchBase):
        return bool(frozen)
    return _head_is_new(config, read) and any(adapted.in_head(name) for name in frozen)


def _head_is_new(config: Config, read: RunData | None) -> bool:
    """Say whether a run draws a head of its own, as `runs.base_weights.keeps_head` does."""
    base = config.base
    if isinstance(base, PretrainedBase | ScratchBase) or base.head == "new":
        return True
    if base.head == "keep":
        return False
    own = _classes(config.dataset, read.target if read else None)
    if isinstance(base, CheckpointBase | PeftBase):
        return base.classes is None or tuple(base.classes) != own
    assert base.dataset is not None
    theirs = _classes(base.dataset, read.source if read else None)
    return own is None or theirs != own


def _classes(dataset: Dataset, splits: AnySplits | None) -> tuple[str, ...] | None:
    """Return the names of a data set's classes, None where only files tell that are not read."""
    if splits is not None:
        return tuple(splits.classes)
    return None if dataset.classes is None else tuple(dataset.classes)


def _split(
    group: Sequence[_Candidate], memory_gib: float, at_once: int, fewest: int
) -> list[PlannedPack]:
    """Turn runs that could share a pack into packs that fit the memory, as even as can be."""
    first = group[0]
    if first.alone is not None or (len(group) == 1 and first.config.pack != "always"):
        why = (
            first.alone
            or "no other run trains the same parameters of the same base, in the same way"
        )
        if first.alone is None and first.config.dataset.kind == "text":
            why += ", which of texts takes one order_seed"
        gib, depth = first.memory.gib(1, 1), first.built.depth
        return [PlannedPack((first.job,), why, gib, packed=False, depth=depth)]
    if first.config.trial_pruner is not None:
        return _queues(group, memory_gib, at_once)
    most = MOST_LANES
    while most > 1 and _gib(group, most) > memory_gib:
        most -= 1
    kinds = list(dict.fromkeys(run.parts for run in group))
    count = max(-(-len(group) // most), min(at_once, len(kinds)), fewest)
    group = sorted(group, key=lambda run: kinds.index(run.parts))
    base, more = divmod(len(group), count)
    packs, start = [], 0
    for number in range(count):
        part = group[start : start + base + (number < more)]
        start += len(part)
        part = sorted(part, key=lambda run: run.job)
        strategies = dict.fromkeys(str(c.config.adapter["name"]) for c in part)
        why = f"{enumerated(list(strategies))} on one frozen base"
        if count > 1:
            why += f", part {number + 1} of {count}"
        gib, depth = _gib(part, len(part)), part[0].built.depth
        packs.append(PlannedPack(tuple(c.job for c in part), why, gib, packed=True, depth=depth))
    return packs


def _queues(group: Sequence[_Candidate], memory_gib: float, at_once: int) -> list[PlannedPack]:
    """Turn tuning runs that may be stopped early into packs that are refilled.

    All trials of an arm are in one, so that what is decided on them does not hang on processes.
    """
    arms = list(dict.fromkeys(_arm(run) for run in group))
    count = min(at_once, len(arms))
    packs = []
    for number in range(count):
        own = arms[len(arms) * number // count : len(arms) * (number + 1) // count]
        part = [run for run in group if _arm(run) in own]
        pruner = part[0].config.trial_pruner
        most = min((pruner and pruner.lanes) or MOST_LANES, MOST_LANES, len(part))
        # Lanes that begin at other times read other batches.
        while most > 1 and _gib(part, most, streams=most) > memory_gib:
            most -= 1
        strategies = dict.fromkeys(str(run.config.adapter["name"]) for run in part)
        why = f"{enumerated(list(strategies))} on one frozen base, {most} at a time"
        gib = _gib(part, most, streams=most)
        jobs = tuple(run.job for run in part)
        depth = part[0].built.depth
        packs.append(PlannedPack(jobs, why, gib, packed=True, lanes=most, depth=depth))
    return packs


def _arm(run: _Candidate) -> str:
    return run.config.trial_pruner.among if run.config.trial_pruner is not None else ""


def enumerated(names: Sequence[str]) -> str:
    """Write names, at least one, as people say them: ``a, b and c``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _gib(runs: Sequence[_Candidate], lanes: int, streams: int | None = None) -> float:
    """Return what so many of these runs take as one pack at most."""
    streams = streams or min(lanes, len({run.config.order_seed for run in runs}))
    return max(run.memory.gib(lanes, streams) for run in runs)
