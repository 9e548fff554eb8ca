"""Several runs as the lanes of one pack: what `single.run` does, for all of them at once."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from adapterlab.adapters import AdaptedModel
from adapterlab.config.schema import Config
from adapterlab.drawing.pictures import PicturesBeside, get_ready
from adapterlab.packing import CannotPackError, PackedModel, share_frozen, signature
from adapterlab.packing.trial import take_rows, try_out
from adapterlab.runs.assembly import Assembly, assemble
from adapterlab.runs.data import RunData, load_data
from adapterlab.runs.folder import RunFolder, RunResult
from adapterlab.runs.homes import home_of
from adapterlab.runs.identity import run_name
from adapterlab.runs.lifecycle import Costs, OpenRun, open_run
from adapterlab.runs.measurements import OfTheBase
from adapterlab.runs.single import frozen_prefix, run
from adapterlab.runs.state import goes_on, taken_up
from adapterlab.training.hardware import PeakMemory, choose_device
from adapterlab.training.outcome import Training
from adapterlab.training.packed.begun_alone import saved_lane
from adapterlab.training.packed.fit import fit_pack
from adapterlab.training.packed.lane import LaneTask, SavedLane
from adapterlab.training.packed.trial import require_packable
from adapterlab.training.predictions import Predictions, predict_pack
from adapterlab.training.prefix.frozen_prefix import Prefix
from adapterlab.training.representable import require_representable
from adapterlab.training.task_predictions import all_settled

log = logging.getLogger(__name__)

Outcome = RunResult | Exception
"""What came of a run: its result, or why there is none."""

OnStep = Callable[[float], None]
"""Takes how many runs' worth of training has been done, in all lanes together."""

_TRIAL_ROWS = slice(6)

_MANY_PICTURES = 4
"""Lanes from which on it pays to start a process for their pictures."""


@dataclass
class _Lane:
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


def run_pack(
    configs: Sequence[Config],
    read: RunData | None = None,
    on_step: OnStep = lambda _: None,
    *,
    core_is_free: bool = False,
) -> list[Outcome]:
    """Carry out runs as one pack; return what came of each, in their order.

    A run that fails does not end the others. One that an earlier process began alone goes on as a
    lane. All of them are left to `single.run` if they cannot be lanes of one pack after all; those
    over another frozen base than the first are a pack of their own.

    Args:
        configs: of runs that `planning` put together.
        read: their data, if they have been read before.
        on_step: called after every step.
        core_is_free: there is one for a process that draws the pictures of many lanes.

    Raises:
        AdapterLabError: the data are missing or damaged; nothing has been trained.
    """
    beside = core_is_free and len(configs) >= _MANY_PICTURES
    pack = _Pack(configs, read or load_data(configs[0]), on_step, beside=beside)
    with pack:
        pack.open()
        pack.train_and_test()
    if len(pack.apart) > 1:
        others = [configs[number] for number in pack.apart]
        theirs = run_pack(others, pack.read, on_step, core_is_free=core_is_free)
        pack.outcomes |= dict(zip(pack.apart, theirs, strict=True))
        pack.apart = []
    for number in pack.alone + pack.apart:
        pack.outcomes[number] = outcome_of(configs[number], pack.read)
        on_step(1.0)
    return [pack.outcomes[number] for number in range(len(configs))]


def outcome_of(config: Config, read: RunData | None = None) -> Outcome:
    """Carry out a run alone, and return why it failed rather than raise it."""
    try:
        return run(config, read)
    except Exception as error:  # the other runs of a study go on, whatever this was
        return error


class _Pack:
    """The lanes that are open, and what came of those that are not.

    As a context it closes, as failed or interrupted, what an exception leaves open.
    """

    def __init__(
        self, configs: Sequence[Config], read: RunData, on_step: OnStep, *, beside: bool
    ) -> None:
        self.configs, self.read, self.on_step, self.beside = configs, read, on_step, beside
        self.device = choose_device(configs[0].hardware)
        self.lanes: list[_Lane] = []
        self.outcomes: dict[int, Outcome] = {}
        self.alone: list[int] = []
        self.apart: list[int] = []
        self._sound: _Lane | None = None

    def __enter__(self) -> "_Pack":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        for lane in list(self.lanes):
            self._close(lane, error)
        return isinstance(error, Exception)  # noted for each run; other packs go on

    def open(self) -> None:
        """Lock the runs' folders, and assemble those that are not done over one base."""
        like: Assembly | None = None
        kinds: dict[object, AdaptedModel] = {}
        for number in sorted(range(len(self.configs)), key=self._order_seed):
            config = self.configs[number]
            try:
                with ExitStack() as stack:
                    require_representable(config)
                    folder = home_of(config, self.read.hash)
                    stack.enter_context(folder.lock(wait=False))
                    keep, finished = taken_up(config, folder, self.read)
                    if finished is not None:
                        self.outcomes[number] = finished
                    else:
                        assembly = assemble(config, train=run, read=self.read, like=like)
                        like = like or assembly
                        keep = keep and goes_on(config, folder, assembly)
                        own = assembly.adapted
                        share_frozen([like.adapted, own])  # never more than two whole models
                        first = kinds.setdefault(kind := _kind(own), own)
                        if first is not like.adapted:
                            share_frozen([first, own])
                        saved = saved_lane(config, folder.checkpoints, own) if keep else None
                        place, held = list(kinds).index(kind), stack.pop_all()
                        self.lanes.append(
                            _Lane(number, config, folder, held, assembly, keep, saved, place)
                        )
            except CannotPackError as error:
                log.info("%s: %s; another pack", run_name(config), error)
                self.apart.append(number)
            except Exception as error:  # the other lanes go on, whatever this was
                self.outcomes[number] = error
            if number in self.outcomes:
                self.on_step(1.0)
        self.lanes.sort(key=_side_by_side)
        if len(self.lanes) > 1 or any(lane.assembly.adapted.by_length for lane in self.lanes):
            self._try_out()

    def train_and_test(self) -> None:
        """Train the lanes, test them in one pass, and finish them one by one."""
        if not self.lanes:
            return
        size = len(self.lanes)
        if self.beside:
            get_ready()
        for lane in list(self.lanes):
            with self._each_for_itself(lane):
                lane.opened = lane.stack.enter_context(
                    open_run(
                        lane.config,
                        lane.assembly,
                        self.device,
                        lane.folder,
                        keep=lane.keep,
                        pack_size=size,
                        pictures=PicturesBeside() if self.beside else None,
                    )
                )
        if not (first := next(iter(self.lanes), None)):
            return
        with PeakMemory(self.device.accelerator) as memory:
            start = time.perf_counter()
            # What is tried out on a lane whose numbers are broken says nothing of the others.
            sound = self._sound if self._sound in self.lanes else first
            prefix = frozen_prefix(sound.config, sound.assembly, self.device)
            seconds, rate = self._train()
            if not self.lanes:
                return
            pack = PackedModel([one.assembly.adapted for one in self.lanes], [0] * len(self.lanes))
            answer = partial(predict_pack, pack, first.assembly.data, device=self.device.torch)
            by = [lane.config.select_on for lane in self.lanes]
            tests = all_settled(answer("test"), by, lambda: answer("validation"))
            wall_seconds = time.perf_counter() - start
        costs: dict[str, tuple[float | None, str]] = {
            "lane_seconds": (None, ""),
            "pack_seconds": (seconds + prefix.seconds, ""),
            "prefix_seconds": (prefix.seconds, ""),
            "pack_wall_seconds": (wall_seconds, ""),
            "pack_samples_per_second": (rate, "the training has no more steps than the warm-up"),
            "pack_peak_memory_mib": (memory.mib, memory.why or ""),
        }
        resumed = any(lane.saved for lane in self.lanes)
        if resumed:
            costs = dict.fromkeys(costs, (None, "the pack was interrupted and resumed"))
        self._finish(tests, prefix, costs, size, resumed=resumed)

    def _order_seed(self, number: int) -> int:
        return self.configs[number].order_seed

    def _try_out(self) -> None:
        """Try the pack out, or give it up."""
        models = [lane.assembly.adapted.to(self.device.torch) for lane in self.lanes]
        batch = next(self.lanes[0].assembly.data.training_batches(0, self.device.torch))
        try:
            for lane in self.lanes:
                require_packable(lane.config.optimizer, lane.config.allow_targets)
            inputs, labels = take_rows(batch.inputs, _TRIAL_ROWS), batch.labels[_TRIAL_ROWS]
            self._sound = self.lanes[try_out(models, inputs, labels)[0]]
        except CannotPackError as error:
            log.warning("%s: %s; one by one", run_name(self.lanes[0].config), error)
            self.alone += [lane.number for lane in self.lanes]
            for lane in self.lanes:
                lane.stack.close()
            self.lanes = []

    def _train(self) -> tuple[float, float | None]:
        """Train what is not trained yet; return the seconds and the samples a second."""
        seconds, rate = 0.0, None
        for lanes in _equally_far(self.lanes):
            share = 1 / (lanes[0].config.epochs * lanes[0].assembly.data.steps)
            training = fit_pack(
                [_task(lane) for lane in lanes],
                lanes[0].assembly.data,
                saved=[lane.saved for lane in lanes],
                num_classes=len(lanes[0].assembly.data.classes),
                device=self.device,
                on_step=lambda count, share=share: self.on_step(count * share),  # type: ignore[misc]
            )
            seconds += training.seconds
            rate = training.samples_per_second
            for lane, outcome in zip(lanes, training.lanes, strict=True):
                if isinstance(outcome, Exception):
                    self._close(lane, outcome)
                else:
                    lane.training = outcome
        return seconds, rate

    def _finish(
        self,
        tests: Sequence[Predictions],
        prefix: Prefix,
        costs: Costs,
        size: int,
        *,
        resumed: bool,
    ) -> None:
        """Write what every lane leaves."""
        first = self.lanes[0]
        base = OfTheBase.of(first.config, first.assembly, self.device.torch)
        taken: dict[int, RunResult] = {}
        for lane, test in zip(list(self.lanes), tests, strict=True):
            assert lane.opened is not None
            assert lane.training is not None
            why = f"trained in a pack of {size}: see cost/lane_seconds and cost/pack_*"
            own = {**costs, **dict.fromkeys(ALONE_ONLY, (None, why))}
            if not resumed:
                own["lane_seconds"] = (lane.training.seconds + prefix.seconds / size, "")
            with self._each_for_itself(lane):
                taken[lane.number] = lane.opened.take(lane.training, test, prefix, own, base)
        waiting = deque((lane, lane.opened) for lane in self.lanes if lane.opened is not None)
        while waiting:
            # A process that draws pictures began with the first lane: what it has not come to is
            # done here, from the last lane on, so that both are at work to the end.
            first_is_drawn = waiting[0][1].pictures.drawn()
            lane, opened = waiting.popleft() if first_is_drawn else waiting.pop()
            with self._each_for_itself(lane):
                result = opened.conclude(taken[lane.number])
                self.lanes.remove(lane)
                lane.stack.close()
                self.outcomes[lane.number] = result

    @contextmanager
    def _each_for_itself(self, lane: _Lane) -> Iterator[None]:
        """Let what goes wrong with one run's files, say, end this run only."""
        try:
            yield
        except Exception as error:
            self._close(lane, error)

    def _close(self, lane: _Lane, error: BaseException) -> None:
        """End a lane as failed or interrupted."""
        if lane in self.lanes:
            self.lanes.remove(lane)
        left = error
        try:
            lane.stack.__exit__(type(error), error, error.__traceback__)
        except BaseException as raised:  # this very error, or what a run alone makes of it
            left = raised
        if isinstance(error, Exception):
            self.outcomes[lane.number] = left if isinstance(left, Exception) else error


ALONE_ONLY = ("train_seconds", "wall_seconds", "samples_per_second", "peak_memory_mib")
"""Costs that a run inside a pack does not have to itself."""


def _task(lane: _Lane) -> LaneTask:
    assert lane.opened is not None
    return LaneTask(lane.config, lane.assembly.adapted, lane.folder.checkpoints, lane.opened.report)


def _equally_far(lanes: Sequence[_Lane]) -> Iterator[list[_Lane]]:
    """Yield lanes that have come equally far; a killed process may leave two kinds."""

    def epochs(lane: _Lane) -> int:
        return lane.saved.progress.epochs if lane.saved else 0

    for _, group in groupby(sorted(lanes, key=epochs), key=epochs):
        yield sorted(group, key=_side_by_side)


def _side_by_side(lane: _Lane) -> tuple[int, int]:
    """Have lanes beside each other that are adapted alike, and among them those of one order."""
    return lane.kind, lane.config.order_seed


def _kind(adapted: AdaptedModel) -> object:
    with suppress(CannotPackError):  # the trial will say why
        return signature(adapted)
    return None
