"""The packed launcher: all jobs of a sweep composed, grouped into packs, and carried out."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import psutil
from hydra.core.utils import JobReturn, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from adapterlab.base.amounts import memory
from adapterlab.base.errors import TrialPrunedError
from adapterlab.base.planned_place import Place, planned_for
from adapterlab.base.workers import cores
from adapterlab.config.hardware import Hardware
from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.homes import latest_home
from adapterlab.runs.plan_checks import require_all_data, require_all_weights
from adapterlab.runs.sketch import sketched_once
from adapterlab.runs.state import finished_run
from adapterlab.studies.engines import Work
from adapterlab.studies.launching.dispatch import carry_out_elsewhere, submit_elsewhere
from adapterlab.studies.launching.failures import tell_failed, tell_rest
from adapterlab.studies.launching.options import Launching
from adapterlab.studies.launching.progress import StudyProgress, quiet
from adapterlab.studies.launching.submitted import submitted
from adapterlab.studies.planning.for_place import for_place
from adapterlab.studies.planning.packing import PlannedPack, plan_packs, unknown_plans
from adapterlab.studies.planning.power import planned
from adapterlab.studies.sweeps.composing import SweepComposer
from adapterlab.studies.sweeps.jobs import Job, composed_job, is_told, job_return
from adapterlab.studies.sweeps.shared_data import ReadOnce
from adapterlab.studies.tasks.adopted import alone_with_tasks, taken_up
from adapterlab.studies.tasks.commands import asked_for
from adapterlab.studies.tasks.engine import Task
from adapterlab.studies.tasks.execution import carry_out
from adapterlab.studies.tasks.records import Record, State, read_there, state_of, task_folder
from adapterlab.studies.tasks.shared_inputs import needs
from adapterlab.tracking.client import require_store
from adapterlab.tracking.finished_runs import Logged
from adapterlab.tracking.mlflow_run import mark_pruned
from adapterlab.training.hardware import free_memory_gib, resolve_accelerator

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.8
"""Of the memory that is free, what packs may take."""


class Output(Protocol):
    """Shows people how a study goes."""

    def print_packs(
        self, packs: Sequence[PlannedPack], differences: Sequence[str], where: str
    ) -> None:
        """Show a plan: its packs, what the jobs differ in, and where it is carried out."""

    def print_tasks(self, tasks: Sequence[tuple[Record, State]], where: str) -> None:
        """Show tasks that were submitted and are not waited for, with their states."""

    def print_line(self, result: RunResult, config: Config) -> None:
        """Show what came of a run that was asked for by a configuration."""

    def print_pruned(self, error: TrialPrunedError, config: Config) -> None:
        """Show that a run was stopped by a pruner."""


def launch(
    context: HydraContext,
    composer: SweepComposer,
    task_function: TaskFunction,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    chosen: Launching,
    output: Output,
) -> list[JobReturn]:
    """Carry out the jobs of a sweep; return for each what Hydra's own launcher would.

    Args:
        context: Hydra's.
        composer: composes jobs.
        task_function: the program, for callbacks.
        config: of the sweep.
        job_overrides: of each job.
        initial_job_idx: number of the first job.
        chosen: options of the launcher.
        output: where the plan and the results are shown.

    Raises:
        AdapterLabError: an option of a job is wrong, or its data are missing; nothing has been
            trained.
        SystemExit: a plan was asked for, and has been printed, or tasks were submitted that are not
            waited for; sweepers want results.
    """
    setup_globals()
    Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)  # sweepers write there
    data, said = ReadOnce(), set[str]()
    with sketched_once(), planned_for(place := chosen.place()):
        jobs = [
            composed_job(composer, config, overrides, initial_job_idx + number, data, said)
            for number, overrides in enumerate(job_overrides)
        ]
        for job in jobs if is_told(context, "on_job_start") else ():
            context.callbacks.on_job_start(config=job.composed, task_function=task_function)
        outcomes = _Study(jobs, data, chosen, place, output).carry_out()
    returns = [job_return(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]
    if is_told(context, "on_job_end"):
        for job, returned in zip(jobs, returns, strict=True):
            context.callbacks.on_job_end(config=job.composed, job_return=returned)
    return returns


class _Study:
    """The jobs of one call, and what has come of them."""

    def __init__(
        self,
        jobs: Sequence[Job],
        data: ReadOnce,
        chosen: Launching,
        place: Place | None,
        output: Output,
    ) -> None:
        self.jobs, self.data, self.output = jobs, data, output
        self.chosen, self.place = chosen, place
        self.outcomes: dict[int, Any] = {}
        self.logged = Logged()

    def carry_out(self) -> list[Any]:
        """Plan, carry out and print; return a result or an exception for each job."""
        unknown = unknown_plans([job.config for job in self.jobs])
        plan_only = any(job.config.plan for job in self.jobs)
        self.data.read_all(unknown if plan_only else [job.config for job in self.jobs])
        waiting = self._first_of_each_run()
        if not plan_only:
            require_store(self.jobs[0].config)
            waiting = [number for number in waiting if not self._has_finished(number)]
        require_all_weights([self.jobs[n].config for n in waiting], self.data.if_read)
        if plan_only:
            require_all_data([self.jobs[n].config for n in waiting], self.data.if_read)
            self.output.print_packs(self._packs(waiting), self._differences(), self._where)
            planned.extend(job.config for job in self.jobs)
            sys.exit(0)
        if self.place is None:
            self._say(packs := self._packs(waiting))
            if packs:
                self._work(packs)
        elif waiting:
            with alone_with_tasks(folder := task_folder(self.jobs[0].config), self._name):
                self._elsewhere(waiting, folder, self.place)
        # A run that the sweep asks for twice is carried out once.
        firsts = {self._run(self.jobs[n].config): n for n in self.outcomes}
        return [self.outcomes[firsts[self._run(job.config)]] for job in self.jobs]

    def _differences(self) -> list[str]:
        """Return for each job the overrides that not all jobs have."""
        common = set.intersection(*(set(job.overrides) for job in self.jobs))
        kept = [[o for o in job.overrides if o not in common] for job in self.jobs]
        return [" ".join(own) or str(job) for own, job in zip(kept, self.jobs, strict=True)]

    def _first_of_each_run(self) -> list[int]:
        numbers: dict[Any, int] = {}
        for number, job in enumerate(self.jobs):
            numbers.setdefault(self._run(job.config), number)
        return list(numbers.values())

    def _run(self, config: Config) -> tuple[Path, str]:
        """Return what makes a job's run the same as another's: what it computes, on which data."""
        read = self.data.if_read(config)
        return RunFolder.of(config).path, str(config.data_dir) if read is None else read.hash

    def _has_finished(self, number: int) -> bool:
        config = self.jobs[number].config
        if not config.resume:
            return False
        found: Any = finished_run(config, self.data(config), self.logged)
        if found is None and config.trial_pruner is not None:
            from adapterlab.runs.trial_pruner import TrialJudge  # which few studies need

            found = TrialJudge(self.data(config).hash).before(config)
            mark_pruned(config, latest_home(config).link.run_id(), found)
        if found is not None:
            self.outcomes[number] = found
        return found is not None

    def _packs(self, waiting: Sequence[int]) -> list[PlannedPack]:
        configs = [self.jobs[number].config for number in waiting]
        if not configs:
            return []
        free = self.place.memory_gib if self.place else free_memory_gib(configs[0].hardware)
        most = self.chosen.memory_gib or MEMORY_SHARE * free
        data = [self.data.if_read(config) for config in configs]
        busy = self.chosen.to_be_busy(at_once := self._at_once(configs[0].hardware))
        packs = plan_packs(configs, data, most, at_once=at_once, nodes=busy)
        return [replace(p, jobs=tuple(waiting[n] for n in p.jobs)) for p in packs]

    def _say(self, packs: Sequence[PlannedPack]) -> None:
        """Say what is grouped, and what is not, with the reason."""
        pruned = sum(isinstance(one, TrialPrunedError) for one in self.outcomes.values())
        if finished := len(self.outcomes) - pruned:
            log.info("%d runs had finished", finished)
        if pruned:
            log.info("%d runs had been pruned", pruned)
        alone: dict[str, int] = {}
        for pack in packs:
            if pack.packed:
                log.info("a pack of %d: %s, %s", len(pack.jobs), pack.why, memory(pack.gib))
            else:
                alone[pack.why] = alone.get(pack.why, 0) + 1
        for why, count in alone.items():
            log.info("%d one by one: %s", count, why)

    def _work(self, packs: Sequence[PlannedPack]) -> None:
        """Carry packs out on this machine."""
        order = sorted(packs, key=lambda pack: -len(pack.jobs))
        helpers = self._helpers(order)
        tasks = [self._as_task(pack, helpers) for pack in order]
        asked = asked_for([config for task in tasks for config in task.configs])
        work = Work(task_folder(self.jobs[0].config), self._name, helpers)
        told = self._told([pack.jobs for pack in order])
        with asked, told as callbacks, closing(self.chosen.start(work)) as engine:
            carry_out(tasks, self.data, engine, **callbacks)

    def _elsewhere(self, waiting: Sequence[int], folder: Path, place: Place) -> None:
        """Carry runs out by an engine of other machines, or submit them and end.

        Raises:
            SystemExit: they have been submitted, and are not waited for.
        """
        configs = [for_place(self.jobs[number].config, place) for number in waiting]
        resume, name = self.jobs[0].config.resume, self.chosen.engine
        work = Work(folder, self._name, waited_for=self.chosen.wait)
        with closing(self.chosen.start(work)) as engine:
            going = taken_up(folder, name, engine, configs, study=self._name, resume=resume)
            going = [replace(one, places=tuple(waiting[n] for n in one.places)) for one in going]
            taken = {number for one in going for number in one.places}
            packs = self._packs([number for number in waiting if number not in taken])
            self._say(packs)
            order = sorted(packs, key=lambda pack: -len(pack.jobs))
            tasks = [self._as_task(pack, 0) for pack in order]
            first = needs(tasks, [pack.depth for pack in order], self.data)
            for need in first:
                log.info("%s, by a task of its own", need.words)
            if going:
                log.info("on their way, of an earlier command: %d of the runs", len(taken))
            if not self.chosen.wait:
                told = submit_elsewhere(tasks, engine, name, folder, first)
                submitted.append(self._name)
                known = [*(one.record for one in going), *told]
                now = [(one, state_of(one, read_there(folder, one.id))) for one in known]
                self.output.print_tasks(now, place.words)
                sys.exit(0)
            jobs = [*(pack.jobs for pack in order), *(one.places for one in going)]
            with self._told(jobs) as callbacks:
                carry_out_elsewhere(tasks, engine, name, folder, going, first, **callbacks)

    @contextmanager
    def _told(self, order: Sequence[Sequence[int]]) -> Iterator[dict[str, Any]]:
        """Yield what is called as tasks go on, each known by its place in `order`, their jobs."""
        total, here = len(self.jobs), sum(map(len, order))
        progress = StudyProgress(self._name, total, before=total - here)

        def end(number: int, outcomes: Sequence[Any]) -> None:
            jobs = order[number]
            lost = sum(not isinstance(one, RunResult | TrialPrunedError) for one in outcomes)
            progress.end(len(jobs), failed=lost)
            with progress.writing():
                for job, outcome in zip(jobs, outcomes, strict=True):
                    self.outcomes[job] = outcome
                    if isinstance(outcome, RunResult):
                        self.output.print_line(outcome, self.jobs[job].config)
                    elif isinstance(outcome, TrialPrunedError):
                        self.output.print_pruned(outcome, self.jobs[job].config)
                    else:
                        tell_failed(str(self.jobs[job]), outcome)

        try:
            with quiet():
                yield {
                    "begin": lambda number: progress.begin(len(order[number])),
                    "move": progress.move,
                    "end": end,
                }
        finally:
            progress.close()
            tell_rest()

    def _helpers(self, packs: Sequence[PlannedPack]) -> int:
        """Return how many processes may work beside this one."""
        processes = self._at_once(self.jobs[packs[0].jobs[0]].config.hardware)
        gib = max(pack.gib for pack in packs)
        fit = int(MEMORY_SHARE * psutil.virtual_memory().available / 2**30 / max(gib, 1.0))
        return max(min(processes, len(packs), fit) - 1, 0)

    def _at_once(self, hardware: Hardware) -> int:
        """Return how many packs may be carried out at the same time, but for their memory."""
        if self.place is not None:
            return self.place.tasks
        if resolve_accelerator(hardware.accelerator) == "gpu":
            return 1  # one device, and its memory is planned for one pack
        return max(self.chosen.options.processes or cores() // (hardware.threads or 1), 1)

    def _as_task(self, pack: PlannedPack, helpers: int) -> Task:
        """Return a pack's configurations; processes side by side have one thread each."""
        configs = [self.jobs[number].config for number in pack.jobs]
        if self.place is not None:
            here = tuple(for_place(c, self.place) for c in configs)
            return Task(here, pack.packed, lanes=pack.lanes)
        if helpers:
            configs = [
                replace(c, hardware=replace(c.hardware, threads=c.hardware.threads or 1))
                for c in configs
            ]
        free = helpers + 1 < cores()
        return Task(tuple(configs), pack.packed, core_is_free=free, lanes=pack.lanes)

    @property
    def _name(self) -> str:
        return self.jobs[0].config.study or "study"

    @property
    def _where(self) -> str:
        """Return where packs are carried out; empty for this machine."""
        if self.place is None:
            return ""
        device = "of a GPU" if self.place.gpu else "of memory"
        offered = f"{memory(self.place.memory_gib)} {device}, cores: {self.place.cores}"
        return f"{self.place.words}; a task has {offered}"
