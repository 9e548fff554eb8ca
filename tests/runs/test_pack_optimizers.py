"""The law of packs for rates by role and for any optimizer, and how packs with them go on."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.lifecycle import OpenRun
from adapterlab.runs.packs.pack import run_pack
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

SHARED = ("hardware.precision=64-true", "epochs=4", "base=scratch", "init_seed=0")

NADAM = ("optimizer._target_=torch.optim.NAdam", "optimizer.name=nadam")

LANES = {
    "roles": [
        "adapter.rank=2",
        "+optimizer.roles.head.lr=0.03",
        "+optimizer.roles.B.lr=0.05 +optimizer.roles.adapter.weight_decay=0.3 adapter.rank=4",
        "+optimizer.roles.A.lr=0.001 optimizer.schedule=linear optimizer.warmup=0.2",
        "optimizer.layer_decay=0.3 optimizer.schedule=linear optimizer.hold=0.4",
    ],
    "plateau": [
        "optimizer.schedule=plateau optimizer.plateau_patience=0",
        "optimizer.schedule=plateau optimizer.plateau_patience=0 +optimizer.roles.B.lr=0.05 "
        "optimizer.floor=0.3",
        "+optimizer.roles.head.lr=0.5 optimizer.schedule=plateau optimizer.plateau_patience=0",
    ],
    "nadam": [
        " ".join(NADAM),
        " ".join((*NADAM, "adapter.rank=2", "+optimizer.momentum_decay=0.02")),
        " ".join((*NADAM, "+optimizer.roles.head.lr=0.03", "early_stopping=1")),
    ],
}


def configs(root: Path, study: str, lanes: str, *options: str) -> list[Config]:
    return [tiny(root, f"study={study}", *SHARED, *options, *lane.split()) for lane in LANES[lanes]]


def assert_same(expected: RunResult, lane: object) -> None:
    assert isinstance(lane, RunResult), lane
    assert lane.history.keys() == expected.history.keys()
    for epoch, metrics in expected.history.items():
        assert lane.history[epoch] == pytest.approx(metrics, rel=1e-10, abs=1e-10)
    assert lane.metrics["test/nll"] == pytest.approx(expected.metrics["test/nll"], rel=1e-10)


@pytest.mark.parametrize("lanes", LANES)
def test_a_lane_is_its_run_alone(lanes: str, lab_root: Path) -> None:
    alone = [single.run(config) for config in configs(lab_root, f"alone-{lanes}", lanes)]
    losses = [run.history[max(run.history)]["train/loss"] for run in alone]
    assert len(set(losses)) == len(losses), "roles and options change nothing"
    packed = run_pack(configs(lab_root, f"packed-{lanes}", lanes))
    for expected, lane in zip(alone, packed, strict=True):
        assert_same(expected, lane)


CROSSING = {
    "adamw": ["optimizer.schedule=cosine optimizer.clip_norm=0.5", "seed=1 adapter.rank=2"],
    "sgd": ["optimizer=sgd optimizer.momentum=0.9", "optimizer=sgd seed=1"],
    "plateau": LANES["plateau"],
    # Several groups of one rate alone, which are one rate of a lane.
    "floor": [
        "optimizer.schedule=plateau optimizer.plateau_patience=0 optimizer.floor=0.3 "
        f"optimizer.weight_decay=0.1 +optimizer.roles.bias.weight_decay=0 {more}"
        for more in ("optimizer.lr=0.5", "optimizer.lr=0.3 +optimizer.roles.head.lr=0.9 seed=1")
    ],
    "roles": LANES["roles"],
    "nadam": LANES["nadam"],
}


@pytest.mark.parametrize("lanes", CROSSING)
def test_runs_that_began_alone_go_on_in_a_pack(
    lanes: str, lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both what was read in and what is then computed are those of a run that never stopped."""

    def made(study: str, *more: str) -> list[Config]:
        fixed = (f"study={study}-{lanes}", *SHARED, "epochs=5", *more)
        return [tiny(lab_root, *fixed, *lane.split()) for lane in CROSSING[lanes]]

    class StopHere(BaseException):
        """Nothing that is caught on the way."""

    whole = [single.run(config) for config in made("never-stopped")]
    going_on = made("crossing", "resume=true")
    report = OpenRun.report

    def stop(run: OpenRun, epoch: int, metrics: Mapping[str, float]) -> None:
        report(run, epoch, metrics)
        if epoch == 3:
            raise StopHere

    with monkeypatch.context() as patch:
        patch.setattr(OpenRun, "report", stop)
        for config in going_on:
            with pytest.raises(StopHere):
                single.run(config)
    shares: list[float] = []
    packed = run_pack(going_on, on_step=shares.append)
    for expected, lane in zip(whole, packed, strict=True):
        assert_same(expected, lane)
    left = sum(len(run.history) - 2 for run in whole)  # the last checkpoints are of epoch 2
    assert sum(shares) == pytest.approx(left / 5)


def test_lanes_with_roles_go_on_where_they_stopped(lab_root: Path) -> None:
    whole = run_pack(configs(lab_root, "whole", "plateau"))
    going_on = configs(lab_root, "going-on", "plateau", "resume=true")

    class StopHere(BaseException):
        """Nothing that is caught on the way."""

    done = 0.0

    def stop(share: float) -> None:
        nonlocal done
        done += share
        if done > len(going_on) * 2.5 / 4:
            raise StopHere

    with pytest.raises(StopHere):
        run_pack(going_on, on_step=stop)
    last = single.run(going_on[2])
    for expected, lane in zip(whole, [*run_pack(going_on[:2]), last], strict=True):
        assert isinstance(expected, RunResult)
        assert_same(expected, lane)


def test_an_optimizer_that_mixes_lanes_trains_alone(lab_root: Path) -> None:
    adafactor = ("optimizer._target_=torch.optim.Adafactor", "optimizer.name=adafactor",
                 "~optimizer.betas", "~optimizer.eps")  # fmt: skip
    runs = [
        tiny(lab_root, "study=mixing", *SHARED, *adafactor, f"adapter.rank={rank}")
        for rank in (1, 2)
    ]
    for outcome in run_pack(runs):
        assert isinstance(outcome, RunResult), outcome
        assert "cost/lane_seconds" not in outcome.metrics
