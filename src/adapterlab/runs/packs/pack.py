"""Several runs as the lanes of one pack: what `single.run` does, for all of them at once."""

import time
from collections import deque
from collections.abc import Sequence
from functools import partial

from adapterlab.config.schema import Config
from adapterlab.drawing.pictures import PicturesBeside, get_ready
from adapterlab.packing import PackedModel
from adapterlab.runs.data import RunData, load_data
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.lifecycle import Costs, OpenRun, open_run
from adapterlab.runs.packs.lanes import Lane, Lanes, OnStep, Outcome, equally_far
from adapterlab.runs.results.measurements import OfTheBase
from adapterlab.runs.single import frozen_prefix, run
from adapterlab.training.hardware import PeakMemory
from adapterlab.training.packed.fit import fit_pack
from adapterlab.training.packed.lane import LaneTask
from adapterlab.training.predicting import predict_pack
from adapterlab.training.predictions import Predictions
from adapterlab.training.prefix.frozen_prefix import Prefix
from adapterlab.training.task_predictions import all_settled

_MANY_PICTURES = 4
"""Lanes from which on it pays to start a process for their pictures."""

ALONE_ONLY = ("train_seconds", "wall_seconds", "samples_per_second", "peak_memory_mib")
"""Costs that a run inside a pack does not have to itself."""


def run_pack(
    configs: Sequence[Config],
    read: RunData | None = None,
    on_step: OnStep = lambda _: None,
    *,
    core_is_free: bool = False,
    waited: bool = False,
) -> list[Outcome]:
    """Carry out runs as one pack; return what came of each, in their order.

    A run that fails does not end the others. One that an earlier process began alone goes on as a
    lane. All of them are left to `single.run` if they cannot be lanes of one pack after all; those
    over another frozen base than the first are a pack of their own. What another command of the
    study is at is waited for when the others have ended, and carried out if it has not been.

    Args:
        configs: of runs that `studies.planning` put together.
        read: their data, if they have been read before.
        on_step: called after every step.
        core_is_free: there is one for a process that draws the pictures of many lanes.
        waited: other processes held the folders of the runs until now.

    Raises:
        AdapterLabError: the data are missing or damaged; nothing has been trained.
    """
    drawn = sum(config.figures == "always" for config in configs)
    beside = core_is_free and drawn >= _MANY_PICTURES
    lanes = Lanes(configs, read or load_data(configs[0]), on_step, waited=waited)
    with lanes:
        lanes.open_all()
        _train_and_test(lanes, beside=beside)
    if len(lanes.apart) > 1:
        others = [configs[number] for number in lanes.apart]
        more = {"core_is_free": core_is_free, "waited": waited}
        theirs = run_pack(others, lanes.read, on_step, **more)
        lanes.outcomes |= dict(zip(lanes.apart, theirs, strict=True))
        lanes.apart = []
    for number in lanes.alone + lanes.apart:
        lanes.outcomes[number] = outcome_of(configs[number], lanes.read)
        on_step(1.0)
    again = partial(
        run_pack, read=lanes.read, on_step=on_step, core_is_free=core_is_free, waited=True
    )
    lanes.carry_out_held(again)
    return lanes.in_order()


def outcome_of(config: Config, read: RunData | None = None) -> Outcome:
    """Carry out a run alone, and return why it failed rather than raise it."""
    try:
        return run(config, read)
    except Exception as error:  # the other runs of a study go on, whatever this was
        return error


def _train_and_test(lanes: Lanes, *, beside: bool) -> None:
    """Train the lanes, test them in one pass, and finish them one by one."""
    if not lanes.open:
        return
    size = len(lanes.open)
    if beside:
        get_ready()
    for lane in list(lanes.open):
        with lanes.each_for_itself(lane):
            lane.opened = lane.stack.enter_context(
                open_run(
                    lane.config,
                    lane.assembly,
                    lanes.device,
                    lane.folder,
                    keep=lane.keep,
                    pack_size=size,
                    pictures=PicturesBeside() if beside else None,
                )
            )
    if not (first := next(iter(lanes.open), None)):
        return
    with PeakMemory(lanes.device.accelerator) as memory:
        start = time.perf_counter()
        # What is tried out on a lane whose numbers are broken says nothing of the others.
        sound = lanes.sound if lanes.sound in lanes.open else first
        prefix = frozen_prefix(sound.config, sound.assembly, lanes.device)
        seconds, rate, known = _train(lanes)
        prefix = prefix.beside(known)
        if not lanes.open:
            return
        pack = PackedModel([one.assembly.adapted for one in lanes.open], [0] * len(lanes.open))
        answer = partial(predict_pack, pack, first.assembly.data, device=lanes.device.torch)
        by = [lane.config.select_on for lane in lanes.open]
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
    resumed = any(lane.saved for lane in lanes.open)
    if resumed:
        costs = dict.fromkeys(costs, (None, "the pack was interrupted and resumed"))
    _finish(lanes, tests, prefix, costs, size, resumed=resumed)


def _train(lanes: Lanes) -> tuple[float, float | None, str]:
    """Train what is not trained yet; return the seconds, the samples a second, what was kept."""
    seconds, rate, known = 0.0, None, ""
    groups = list(equally_far(lanes.open))
    for group in groups:
        share = 1 / (group[0].config.epochs * group[0].assembly.data.steps)
        training = fit_pack(
            [_task(lane) for lane in group],
            group[0].assembly.data,
            saved=[lane.saved for lane in group],
            num_classes=len(group[0].assembly.data.classes),
            device=lanes.device,
            on_step=lambda count, share=share: lanes.on_step(count * share),  # type: ignore[misc]
        )
        seconds += training.seconds
        rate, known = training.samples_per_second, training.known
        for lane, outcome in zip(group, training.lanes, strict=True):
            if isinstance(outcome, Exception):
                lanes.close(lane, outcome)
            else:
                lane.training = outcome
                if group is not groups[-1]:
                    with lanes.each_for_itself(lane):
                        _opened(lane).catch_up()
    return seconds, rate, known


def _finish(
    lanes: Lanes,
    tests: Sequence[Predictions],
    prefix: Prefix,
    costs: Costs,
    size: int,
    *,
    resumed: bool,
) -> None:
    """Write what every lane leaves."""
    first = lanes.open[0]
    base = OfTheBase.of(first.config, first.assembly, lanes.device.torch)
    taken: dict[int, RunResult] = {}
    for lane, test in zip(list(lanes.open), tests, strict=True):
        assert lane.opened is not None
        assert lane.training is not None
        why = f"trained in a pack of {size}: see cost/lane_seconds and cost/pack_*"
        own = {**costs, **dict.fromkeys(ALONE_ONLY, (None, why))}
        if not resumed:
            own["lane_seconds"] = (lane.training.seconds + prefix.seconds / size, "")
        with lanes.each_for_itself(lane):
            taken[lane.number] = lane.opened.take(lane.training, test, prefix, own, base)
    waiting = deque((lane, lane.opened) for lane in lanes.open if lane.opened is not None)
    while waiting:
        # A process that draws pictures began with the first lane: what it has not come to is
        # done here, from the last lane on, so that both are at work to the end.
        first_is_drawn = waiting[0][1].pictures.drawn()
        lane, opened = waiting.popleft() if first_is_drawn else waiting.pop()
        with lanes.each_for_itself(lane):
            result = opened.conclude(taken[lane.number])
            lanes.open.remove(lane)
            lane.stack.close()
            lanes.outcomes[lane.number] = result


def _task(lane: Lane) -> LaneTask:
    opened, model = _opened(lane), lane.assembly.adapted
    return LaneTask(lane.config, model, lane.folder.checkpoints, opened.report, opened.catch_up)


def _opened(lane: Lane) -> OpenRun:
    assert lane.opened is not None
    return lane.opened
