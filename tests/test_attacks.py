"""Each attack of `scripts/torture.py attacks`, once: nothing of a stranger's runs."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import attacks
from faults.hostile import Lab
from faults.trying import Setting


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A finished run, and what attacks need."""
    path = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        setting = Setting(random.Random(12), tmp_path_factory.mktemp("attacks"), 1)
        yield Lab.prepared(setting)
    sys.path[:] = path


@pytest.mark.parametrize("fault", attacks.ATTACKS)
def test_an_attack(fault: str, lab: Lab, tmp_path: Path) -> None:
    lab.rng = random.Random(fault)  # by itself: workers of pytest share attacks out as they like
    trial = attacks.made(fault, lab, tmp_path)
    assert trial.held, trial.what


def test_a_canary_is_noticed(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(lab: Lab, folder: Path) -> str:
        lab.canary.touch()
        return "done"

    monkeypatch.setitem(attacks.ATTACKS, "careless", careless)
    assert not attacks.made("careless", lab, tmp_path).held
