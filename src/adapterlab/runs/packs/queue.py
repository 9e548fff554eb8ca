"""Many runs in the lanes of one pack: those that end give their places to those that wait.

Each is a lane as in `pack`, opened when its turn comes and finished when it has ended. What a
pruner stops ends there and then; see `trial_pruner`.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial

from adapterlab.base.errors import TrialPrunedError
from adapterlab.config.schema import Config
from adapterlab.data.text import TextBatches
from adapterlab.packing import PackedModel
from adapterlab.packing.signatures import CannotPackError
from adapterlab.packing.trial import take_rows, try_out
from adapterlab.runs.data import RunData, load_data
from adapterlab.runs.folders.homes import latest_home
from adapterlab.runs.lifecycle import open_run
from adapterlab.runs.packs.lanes import Lane, Lanes, OnStep, Outcome
from adapterlab.runs.packs.pack import ALONE_ONLY, outcome_of
from adapterlab.runs.results.measurements import OfTheBase
from adapterlab.runs.single import frozen_prefix
from adapterlab.runs.state import finished_run
from adapterlab.runs.trial_pruner import TrialJudge
from adapterlab.tracking.mlflow_run import mark_pruned
from adapterlab.training.outcome import Training
from adapterlab.training.packed.fit import Fitting, Joining, Left
from adapterlab.training.packed.lane import LaneTask
from adapterlab.training.predicting import predict_pack
from adapterlab.training.prefix.frozen_prefix import Prefix
from adapterlab.training.task_predictions import all_settled

_OF_ONE_PACK = (
    *("pack_seconds", "pack_wall_seconds", "pack_samples_per_second", "pack_peak_memory_mib"),
    "prefix_seconds",
)
"""Costs of a pack whose lanes begin and end together."""


def run_queue(
    configs: Sequence[Config],
    lanes: int,
    read: RunData | None = None,
    on_step: OnStep = lambda _: None,
    *,
    waited: bool = False,
) -> list[Outcome]:
    """Carry out runs in so many lanes; return what came of each, in their order.

    The first ones begin; whenever some end, the next ones take their places. On texts, whose
    batches differ in length from epoch to epoch, they wait until all of a pack have ended. What
    another command of the study is at is waited for at the end.

    Args:
        configs: of runs that `studies.planning` put together.
        lanes: that are trained at the same time.
        read: their data, if they have been read before.
        on_step: called after every step.
        waited: other processes held the folders of the runs until now.

    Raises:
        AdapterLabError: the data are missing or damaged; nothing has been trained.
    """
    runs = Lanes(configs, read or load_data(configs[0]), on_step, waited=waited)
    queue = _Queue(runs, lanes)
    with runs:
        queue.carry_out()
    if len(runs.apart) > 1 and len(runs.apart) < len(configs):
        others = [configs[number] for number in runs.apart]
        theirs = run_queue(others, lanes, runs.read, on_step, waited=waited)
        runs.outcomes |= dict(zip(runs.apart, theirs, strict=True))
        runs.apart = []
    for number in (*runs.alone, *runs.apart, *queue.waiting):
        if number not in runs.outcomes:
            runs.outcomes[number] = outcome_of(configs[number], runs.read)
            on_step(1.0)
    again = partial(run_queue, lanes=lanes, read=runs.read, on_step=on_step, waited=True)
    runs.carry_out_held(again)
    return runs.in_order()


class _Queue:
    """Runs that wait, and those that are trained.

    Attributes:
        waiting: the numbers of those that have not begun.
    """

    def __init__(self, lanes: Lanes, size: int) -> None:
        self.lanes, self.size = lanes, size
        self.waiting = deque(range(len(lanes.configs)))
        self.judge = TrialJudge(lanes.read.hash)
        self._of_tasks: dict[int, Lane] = {}
        self._prefix: Prefix | None = None
        self._base: OfTheBase | None = None
        self._tried: dict[int, Lane] = {}  # a lane of each kind that was tried out in this pack

    def carry_out(self) -> None:
        """Train, test and finish all runs that can be lanes of this pack."""
        lanes = self.lanes
        while self.waiting and len(lanes.open) < self.size:
            self._assembled(self.waiting.popleft())
        lanes.try_out()
        self._tried = {lane.kind: lane for lane in lanes.open}
        first = [lane for lane in list(lanes.open) if self._open(lane)]
        if not first:
            return
        sound = lanes.sound if lanes.sound in lanes.open else first[0]
        assert sound is not None
        self._prefix = frozen_prefix(sound.config, sound.assembly, lanes.device)
        data, epochs = first[0].assembly.data, first[0].config.epochs
        share = 1 / (epochs * data.steps)
        fitting = Fitting(
            data,
            num_classes=len(data.classes),
            device=lanes.device,
            on_step=lambda count: lanes.on_step(count * share),
            judge=self.judge,
            epochs=epochs * len(lanes.configs),
        )
        fitting.fit([self._joining(lane) for lane in first], self._relieve)

    def _assembled(self, number: int) -> Lane | None:
        """Return a run as a lane; None where there is nothing to train of it."""
        config = self.lanes.configs[number]
        pruned = self.judge.before(config)
        if pruned is not None and finished_run(config, self.lanes.read) is None:
            self._said_before(number, pruned)
            return None
        return self.lanes.open_one(number)

    def _said_before(self, number: int, pruned: TrialPrunedError) -> None:
        config = self.lanes.configs[number]
        mark_pruned(config, latest_home(config).link.run_id(), pruned)
        self.lanes.outcomes[number] = pruned
        self.lanes.on_step(1.0)

    def _open(self, lane: Lane) -> bool:
        """Open the MLflow run of a lane, and say whether that went well."""
        with self.lanes.each_for_itself(lane):
            lane.opened = lane.stack.enter_context(
                open_run(
                    lane.config,
                    lane.assembly,
                    self.lanes.device,
                    lane.folder,
                    keep=lane.keep,
                    pack_size=self.size,
                )
            )
        return lane in self.lanes.open

    def _joining(self, lane: Lane) -> Joining:
        assert lane.opened is not None
        adapted, report = lane.assembly.adapted, lane.opened.report
        task = LaneTask(lane.config, adapted, lane.folder.checkpoints, report)
        self._of_tasks[id(task)] = lane
        return Joining(task, lane.saved)

    def _relieve(self, left: Sequence[Left]) -> list[Joining]:
        """Finish lanes that have left, and open those that take their places."""
        ended = []
        for one in left:
            lane = self._of_tasks.pop(id(one.task))
            if isinstance(one.outcome, Training):
                lane.training = one.outcome
                ended.append(lane)
                continue
            if isinstance(one.outcome, TrialPrunedError) and lane.opened is not None:
                with self.lanes.each_for_itself(lane):
                    lane.opened.prune(one.outcome)
            if lane in self.lanes.open:
                self.lanes.close(lane, one.outcome)
        if ended:
            self._finish(ended)
        return [self._joining(lane) for lane in self._next()]

    def _next(self) -> list[Lane]:
        """Return the runs that begin now."""
        found: list[Lane] = []
        staying = len(self._of_tasks)
        of_texts = isinstance(self._data(), TextBatches)
        while self.waiting and staying + len(found) < self.size and not (of_texts and staying):
            lane = self._assembled(self.waiting.popleft())
            if lane is not None and self._fits(lane) and self._open(lane):
                found.append(lane)
        return found

    def _data(self) -> object:
        return next(iter(self._tried.values())).assembly.data

    def _fits(self, lane: Lane) -> bool:
        """Try a lane out that is adapted as none before it; say whether it can be in this pack."""
        if lane.kind in self._tried:
            return True
        several = [*self._tried.values(), lane]
        device = self.lanes.device.torch
        batch = next(lane.assembly.data.training_batches(0, device))
        try:
            models = [one.assembly.adapted.to(device) for one in several]
            try_out(models, take_rows(batch.inputs, slice(6)), batch.labels[:6])
        except CannotPackError:
            self.lanes.open.remove(lane)
            lane.stack.close()
            self.lanes.alone.append(lane.number)
            return False
        self._tried[lane.kind] = lane
        return True

    def _finish(self, ended: Sequence[Lane]) -> None:
        """Test lanes in one pass, and write what each leaves."""
        lanes, first = self.lanes, ended[0]
        ended = sorted(ended, key=lambda lane: lane.kind)
        pack = PackedModel([one.assembly.adapted for one in ended], [0] * len(ended))
        answer = partial(predict_pack, pack, first.assembly.data, device=lanes.device.torch)
        by = [lane.config.select_on for lane in ended]
        tests = all_settled(answer("test"), by, lambda: answer("validation"))
        if self._base is None:
            self._base = OfTheBase.of(first.config, first.assembly, lanes.device.torch)
        prefix = self._prefix
        assert prefix is not None
        alone = f"trained in a pack of {self.size}: see cost/lane_seconds"
        refilled = "its pack was refilled: others began and ended beside it"
        for lane, test in zip(ended, tests, strict=True):
            assert lane.opened is not None
            assert lane.training is not None
            costs: dict[str, tuple[float | None, str]] = {
                **dict.fromkeys(_OF_ONE_PACK, (None, refilled)),
                **dict.fromkeys(ALONE_ONLY, (None, alone)),
                "lane_seconds": (lane.training.seconds + prefix.seconds / len(lanes.configs), ""),
            }
            if lane.saved:
                costs = dict.fromkeys(costs, (None, "the pack was interrupted and resumed"))
            with lanes.each_for_itself(lane):
                taken = lane.opened.take(lane.training, test, prefix, costs, self._base)
                result = lane.opened.conclude(taken)
                lanes.open.remove(lane)
                lane.stack.close()
                lanes.outcomes[lane.number] = result
