"""Weights that a training cuts away: alone, in a pack and where it goes on, they are the same."""

from pathlib import Path

import pytest

from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.folders.folder import OUTCOME, RunResult
from adapterlab.runs.packs.pack import run_pack
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

WEIGHTS = 64 * 16 + 16 * 12


def configs(root: Path, study: str, *options: str) -> list[Config]:
    """Return lanes that are cut in the second of three epochs, or by the last step."""
    lanes = [
        "adapter.share=0.1 adapter.cut=0.5",
        "adapter.share=0.3 adapter.cut=0.4 seed=1 adapter.penalty=1e-3",
        "adapter.cut=0.999 seed=2 optimizer.clip_norm=0.2",
    ]
    fixed = [
        *("adapter=diff_pruning", "hardware.precision=64-true", "epochs=3", f"study={study}"),
        *("base.epochs=1", "model.widths=[16,12]", "select_on=loss", "adapter.first_gate=1"),
    ]
    return [tiny(root, *fixed, *options, *lane.split()) for lane in lanes]


def test_a_lane_is_its_run_alone_and_one_that_was_stopped(lab_root: Path) -> None:
    alone = [single.run(config) for config in configs(lab_root, "cut-alone")]
    going_on = configs(lab_root, "cut-on", "resume=true")

    class StopHere(BaseException):
        """Nothing that is caught on the way."""

    done = 0.0

    def stop(share: float) -> None:
        nonlocal done
        done += share
        if done > len(going_on) * 2.2 / 3:
            raise StopHere

    with pytest.raises(StopHere):
        run_pack(going_on, on_step=stop)
    for expected, lane in zip(alone, run_pack(going_on), strict=True):
        assert isinstance(lane, RunResult), lane
        for epoch, metrics in expected.history.items():
            assert lane.history[epoch] == pytest.approx(metrics, rel=1e-9, abs=1e-9)
        assert lane.metrics["test/nll"] == pytest.approx(expected.metrics["test/nll"], rel=1e-9)
        assert lane.tags[OUTCOME] == expected.tags[OUTCOME]
    said = [one.tags[OUTCOME] for one in alone]
    assert said == [f"{round(s * WEIGHTS)} of 1,216 weights kept" for s in (0.1, 0.3, 0.005)]
    unsettled = [metrics["train/unsettled"] for metrics in alone[0].history.values()]
    assert unsettled == [1, 0, 0]


def test_patience_does_not_end_it_before_it_is_cut(lab_root: Path) -> None:
    """Nothing is better than the first epoch, at a rate at which nothing moves."""
    rate = ("optimizer.lr=1e-12", "early_stopping=1", "epochs=6")
    lanes = [
        *configs(lab_root, "patient", *rate)[:2],
        tiny(lab_root, "adapter=lora", "study=patient", "model.widths=[16,12]", *rate),
    ]
    cut, also_cut, other = (single.run(config) for config in lanes)
    assert (len(cut.history), len(also_cut.history), len(other.history)) == (4, 4, 2)
    assert cut.tags[OUTCOME] == f"{round(0.1 * WEIGHTS)} of 1,216 weights kept"
