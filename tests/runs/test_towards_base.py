"""`full` with a decay towards the base: L2-SP, alone, in a pack and where a run goes on."""

from pathlib import Path

import pytest
import torch

from adapterlab.adapters import Combined, Full
from adapterlab.adapters.anchors import anchors_of
from adapterlab.adapters.hooks import Moment
from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config
from adapterlab.models import MLP
from adapterlab.runs import single
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.identity import config_hash
from adapterlab.runs.packs.pack import run_pack
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")


def config(root: Path, study: str, *options: str) -> Config:
    fixed = ("adapter=full", "hardware.precision=64-true", "epochs=3", "base.epochs=1")
    return tiny(root, *fixed, f"study={study}", *options)


LANES = (
    ["adapter.towards_base=1"],
    ["adapter.towards_base=0.1", "seed=1", "optimizer.clip_norm=0.2"],
    [],
)


def test_a_lane_is_its_run_alone_and_goes_on(lab_root: Path, tmp_path: Path) -> None:
    alone = [single.run(config(lab_root, "alone", *lane)) for lane in LANES]
    packed = run_pack([config(tmp_path, "packed", *lane) for lane in LANES])
    for expected, lane in zip(alone, packed, strict=True):
        assert isinstance(lane, RunResult), lane
        for epoch, metrics in expected.history.items():
            assert lane.history[epoch] == pytest.approx(metrics, rel=1e-10, abs=1e-10)
    losses = [result.history[3]["train/loss"] for result in alone]
    assert losses[0] > losses[2], "what is drawn back fits the training data less"


def test_the_gradient_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    strategy = Full(towards_base=0.5)
    adapted = strategy.apply(MLP((2,), 2, widths=(3,), generator=generator))
    base = anchors_of(adapted)
    assert base.keys() == {"layers.0.weight", "layers.0.bias"}, "the head has no base"
    before = {name: tensor.clone() for name, tensor in base.items()}
    with torch.no_grad():
        for parameter in adapted.trainable().values():
            parameter += 2
    gradients = {name: torch.ones_like(p) for name, p in adapted.trainable().items()}
    moment = Moment(
        step=0, total=1, parameters=adapted.trainable(), gradients=gradients, frozen={}, base=base
    )
    with torch.no_grad():
        strategy.after_backward(moment)
    for name, gradient in gradients.items():
        expected = 1 + 0.5 * 2 if name in base else 1
        torch.testing.assert_close(gradient, torch.full_like(gradient, expected))
    for name, tensor in anchors_of(adapted).items():
        assert torch.equal(tensor, before[name])
    assert not [name for name in adapted.state() if "anchors" in name]
    assert strategy.by_role()["adapter"].weight_decay == 0


def test_where_it_is_off_nothing_is_asked_and_nothing_kept(lab_root: Path) -> None:
    strategy = Full()
    assert not strategy.uses("after_backward")
    assert strategy.by_role() == {}
    assert anchors_of(strategy.apply(MLP((2,), 2))) == {}
    assert "towards_base" not in strategy.options()
    hashes = {config_hash(config(lab_root, "off", *lane)) for lane in LANES}
    assert len(hashes) == len(LANES)
    off = config(lab_root, "off", "adapter.towards_base=0")
    del off.adapter["towards_base"]
    assert config_hash(off) == config_hash(config(lab_root, "off"))


def test_mistakes() -> None:
    for value in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"adapter\.towards_base=.* must be 0 or more"):
            Full(towards_base=value)
    with pytest.raises(ConfigError, match=r"adapter\.parts\.own has a way of training of its own"):
        Combined(parts={"own": Full(towards_base=0.1)})
