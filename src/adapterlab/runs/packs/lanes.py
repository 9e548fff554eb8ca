"""Runs that become the lanes of a pack: locked, assembled over one base, tried out together."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby

from adapterlab.adapters import AdaptedModel
from adapterlab.base.amounts import counted
from adapterlab.base.errors import RunHeldError
from adapterlab.base.locks import holder
from adapterlab.config.multirun import current_multirun
from adapterlab.config.schema import Config
from adapterlab.packing import CannotPackError, share_frozen, signature
from adapterlab.packing.trial import take_rows, try_out
from adapterlab.runs.assembly import Assembly, assemble
from adapterlab.runs.data import RunData
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.homes import home_of
from adapterlab.runs.identity import run_name
from adapterlab.runs.lifecycle import OpenRun
from adapterlab.runs.single import run
from adapterlab.runs.state import goes_on, taken_up
from adapterlab.training.hardware import choose_device
from adapterlab.training.outcome import Training
from adapterlab.training.packed.begun_alone import saved_lane
from adapterlab.training.packed.lane import SavedLane
from adapterlab.training.packed.trial import require_packable
from adapterlab.training.representable import require_representable

log = logging.getLogger(__name__)

Outcome = RunResult | Exception
"""What came of a run: its result, or why there is none."""

OnStep = Callable[[float], None]
"""Takes how many runs' worth of training has been done, in all lanes together."""

_TRIAL_ROWS = slice(6)


@dataclass
class Lane:
    """A run in a pack. Its stack holds the lock of its folder and its open MLflow run."""

    number: int
    config: Config
    folder: RunFolder
    stack: ExitStack
    assembly: Assembly
    keep: bool
    saved: SavedLane | None
    kind: int  # runs of equal kinds are adapted alike
    opened: OpenRun | None = None
    training: Training | None = None


class Lanes:
    """The lanes that are open, and what came of those that are not.

    As a context it closes, as failed or interrupted, what an exception leaves open.

    Args:
        configs: of the runs.
        read: their data.
        on_step: called after every step.
        waited: other processes held their folders until now.
    """

    def __init__(
        self, configs: Sequence[Config], read: RunData, on_step: OnStep, *, waited: bool = False
    ) -> None:
        self.configs, self.read, self.on_step, self.waited = configs, read, on_step, waited
        self.device = choose_device(configs[0].hardware)
        self.open: list[Lane] = []
        self.outcomes: dict[int, Outcome] = {}
        self.alone: list[int] = []
        self.apart: list[int] = []
        self.held: list[int] = []
        self.sound: Lane | None = None
        self._like: Assembly | None = None
        self._kinds: dict[object, AdaptedModel] = {}

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        for lane in list(self.open):
            self.close(lane, error)
        return isinstance(error, Exception)  # noted for each run; other packs go on

    def open_all(self) -> None:
        """Lock the runs' folders, and assemble those that are not done over one base."""
        for number in sorted(range(len(self.configs)), key=self._order_seed):
            self.open_one(number)
        done = [n for n, one in self.outcomes.items() if isinstance(one, RunResult)]
        if not self.waited and (shared := sum(not self.configs[n].resume for n in done)):
            what = f"another command has carried out {counted(shared, 'run')} meanwhile"
            log.info("%s: %s", self.configs[0].study, what)
        self.try_out()

    def open_one(self, number: int) -> Lane | None:
        """Lock a run's folder, and assemble it over the base of those before; None if it is done.

        One that fails has its outcome, one over another base is kept for a pack of its own, and one
        that another command of the study is at for when that has ended.
        """
        config = self.configs[number]
        try:
            with ExitStack() as stack:
                require_representable(config)
                folder = home_of(config, self.read.hash)
                stack.enter_context(folder.lock(wait=False))
                keep, finished = taken_up(config, folder, self.read, waited=self.waited)
                if finished is None:
                    return self._assembled(number, folder, stack, keep=keep)
                self.outcomes[number] = finished
        except CannotPackError as error:
            log.info("%s: %s; another pack", run_name(config), error)
            self.apart.append(number)
        except RunHeldError as error:
            if current_multirun() is None:
                self.outcomes[number] = error
            else:
                self.held.append(number)
        except Exception as error:  # the other lanes go on, whatever this was
            self.outcomes[number] = error
        if number in self.outcomes:
            self.on_step(1.0)
        return None

    def _assembled(self, number: int, folder: RunFolder, stack: ExitStack, *, keep: bool) -> Lane:
        config = self.configs[number]
        assembly = assemble(config, train=run, read=self.read, like=self._like)
        like = self._like = self._like or assembly
        keep = keep and goes_on(config, folder, assembly)
        own = assembly.adapted
        share_frozen([like.adapted, own])  # never more than two whole models
        first = self._kinds.setdefault(kind := _kind(own), own)
        if first is not like.adapted:
            share_frozen([first, own])
        saved = saved_lane(config, folder.checkpoints, own) if keep else None
        place, held = list(self._kinds).index(kind), stack.pop_all()
        lane = Lane(number, config, folder, held, assembly, keep, saved, place)
        self.open.append(lane)
        return lane

    def _order_seed(self, number: int) -> int:
        return self.configs[number].order_seed

    def carry_out_held(self, carry_out: Callable[[list[Config]], list[Outcome]]) -> None:
        """Wait until other processes have let go of runs, then carry these out if need be.

        No lane may be open.

        Args:
            carry_out: takes the runs; gives what came of each.
        """
        held = [self.configs[number] for number in self.held]
        if not held:
            return
        what = counted(len(held), "run")
        said: str | None = holder(home_of(held[0], self.read.hash).path / ".lock")
        log.info("%s: %s is at %s, which is waited for", held[0].study, said, what)
        for config in held:
            said = home_of(config, self.read.hash).wait(said)
        self.outcomes |= dict(zip(self.held, carry_out(held), strict=True))

    def in_order(self) -> list[Outcome]:
        """Return what came of each run, in the order of their configurations."""
        return [self.outcomes[number] for number in range(len(self.configs))]

    def try_out(self) -> None:
        """Have those side by side that belong there; try the pack out, or give it up."""
        self.open.sort(key=_side_by_side)
        if len(self.open) < 2 and not any(lane.assembly.adapted.by_length for lane in self.open):
            return
        models = [lane.assembly.adapted.to(self.device.torch) for lane in self.open]
        batch = next(self.open[0].assembly.data.training_batches(0, self.device.torch))
        try:
            for lane in self.open:
                require_packable(lane.config.optimizer, lane.config.allow_targets)
            inputs, labels = take_rows(batch.inputs, _TRIAL_ROWS), batch.labels[_TRIAL_ROWS]
            self.sound = self.open[try_out(models, inputs, labels)[0]]
        except CannotPackError as error:
            log.warning("%s: %s; one by one", run_name(self.open[0].config), error)
            self.alone += [lane.number for lane in self.open]
            for lane in self.open:
                lane.stack.close()
            self.open = []

    @contextmanager
    def each_for_itself(self, lane: Lane) -> Iterator[None]:
        """Let what goes wrong with one run's files, say, end this run only."""
        try:
            yield
        except Exception as error:
            self.close(lane, error)

    def close(self, lane: Lane, error: BaseException) -> None:
        """End a lane as failed or interrupted."""
        if lane in self.open:
            self.open.remove(lane)
        left = error
        try:
            lane.stack.__exit__(type(error), error, error.__traceback__)
        except BaseException as raised:  # this very error, or what a run alone makes of it
            left = raised
        if isinstance(error, Exception):
            self.outcomes[lane.number] = left if isinstance(left, Exception) else error


def equally_far(lanes: Sequence[Lane]) -> Iterator[list[Lane]]:
    """Yield lanes that have come equally far; a killed process may leave two kinds."""

    def epochs(lane: Lane) -> int:
        return lane.saved.progress.epochs if lane.saved else 0

    for _, group in groupby(sorted(lanes, key=epochs), key=epochs):
        yield sorted(group, key=_side_by_side)


def _side_by_side(lane: Lane) -> tuple[int, int]:
    """Have lanes beside each other that are adapted alike, and among them those of one order."""
    return lane.kind, lane.config.order_seed


def _kind(adapted: AdaptedModel) -> object:
    with suppress(CannotPackError):  # the trial will say why
        return signature(adapted)
    return None
