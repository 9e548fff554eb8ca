"""A short part of the torture of lanes: every fault of its kind once."""

import random
from pathlib import Path

from faults import lanes
from faults.trying import Setting

EACH_ONCE = 10


def test_a_lane_that_fails_fails_as_it_does_alone_and_leaves_the_others(tmp_path: Path) -> None:
    assert len({fault.words for fault in lanes.FAULTS}) <= EACH_ONCE
    trials = list(lanes.tries(Setting(random.Random(2), tmp_path, EACH_ONCE)))
    assert [trial.what for trial in trials if not trial.held] == []
    assert len({trial.fault for trial in trials}) == EACH_ONCE
