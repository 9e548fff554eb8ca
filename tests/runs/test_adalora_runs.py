"""Ranks that a training shares out: alone, in a pack and where it goes on, they are the same."""

from pathlib import Path

import pytest

from adapterlab.adapters import read_metadata
from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.folders.folder import OUTCOME, RunResult
from adapterlab.runs.packs.pack import run_pack
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")


def configs(root: Path, study: str, *options: str) -> list[Config]:
    """Return lanes of other ranks, seeds, orders and limits of the gradient."""
    lanes = [
        "adapter.init_rank=4 adapter.rank=2",
        "adapter.init_rank=3 adapter.rank=1 seed=1 adapter.orth_reg_weight=0",
        "adapter.init_rank=4 adapter.rank=3 seed=2 optimizer.clip_norm=0.2 adapter.delta_t=2",
    ]
    fixed = [
        *("adapter=adalora", "hardware.precision=64-true", "epochs=3", f"study={study}"),
        *("base.epochs=1", "model.widths=[16,12]", "select_on=loss"),
    ]
    return [tiny(root, *fixed, *options, *lane.split()) for lane in lanes]


def assert_same(expected: RunResult, lane: object) -> None:
    assert isinstance(lane, RunResult), lane
    for epoch, metrics in expected.history.items():
        assert lane.history[epoch] == pytest.approx(metrics, rel=1e-9, abs=1e-9)
    assert lane.metrics["test/nll"] == pytest.approx(expected.metrics["test/nll"], rel=1e-9)
    assert lane.tags[OUTCOME] == expected.tags[OUTCOME]


def test_a_lane_is_its_run_alone_and_says_its_ranks(lab_root: Path) -> None:
    alone = [single.run(config) for config in configs(lab_root, "adalora-alone")]
    packed = run_pack(configs(lab_root, "adalora-packed"))
    for expected, lane in zip(alone, packed, strict=True):
        assert_same(expected, lane)
    said = alone[0].tags[OUTCOME]
    assert said.startswith("ranks kept of 4: layers.0 ")
    kept = [int(part.rsplit(" ", 1)[1]) for part in said.partition(": ")[2].split(", ")]
    assert sum(kept) == 4, "the best epoch is the last"
    assert "frozen" not in read_metadata(alone[0].folder / "adapter.safetensors")


def test_an_interrupted_pack_goes_on(lab_root: Path) -> None:
    whole = run_pack(configs(lab_root, "adalora-whole"))
    going_on = configs(lab_root, "adalora-on", "resume=true")

    class StopHere(BaseException):
        """Nothing that is caught on the way."""

    done = 0.0

    def stop(share: float) -> None:
        nonlocal done
        done += share
        if done > len(going_on) * 1.5 / 3:
            raise StopHere

    with pytest.raises(StopHere):
        run_pack(going_on, on_step=stop)
    for expected, lane in zip(whole, run_pack(going_on), strict=True):
        assert isinstance(expected, RunResult)
        assert_same(expected, lane)


def test_no_epoch_is_kept_that_has_more_ranks_than_were_asked_for(lab_root: Path) -> None:
    """The rate does harm, so that validation likes the first epoch best."""
    late = ("adapter.tfinal=0.1", "optimizer.lr=1", "early_stopping=1")
    first = configs(lab_root, "adalora-harmed", *late)[0]
    run = single.run(first)
    losses = {epoch: metrics["val/loss"] for epoch, metrics in run.history.items()}
    assert min(losses, key=losses.__getitem__) < max(losses) == run.metrics["best/epoch"]
    kept = run.tags[OUTCOME].partition(": ")[2].split(", ")
    assert sum(int(part.rsplit(" ", 1)[1]) for part in kept) == 4
