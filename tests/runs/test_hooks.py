"""A method's ways of training: alone, in a pack and where a run goes on, they are the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters import AdaptedModel, Combined, LoRA
from adapterlab.adapters.hooks import Moment
from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs.pack import run_pack
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")


@dataclass(frozen=True, kw_only=True)
class Plain(LoRA):
    """LoRA with no hook, but of a name that a configuration can give."""


@dataclass(frozen=True, kw_only=True)
class FromData(LoRA):
    """B takes a step of its own gradient first, of any size, as LoRA-GA and its kin do."""

    calls: ClassVar[list[int]] = []
    wrong: bool = False

    @property
    def first_batches(self) -> int:
        return 2

    def first_values(
        self, model: AdaptedModel, batches: Sequence[Any], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        self.calls.append(len(batches))
        for batch in batches:
            loss: Tensor = F.cross_entropy(model(batch.inputs), batch.labels)
            torch.autograd.backward(loss)
        step = torch.rand((), generator=generator).item()
        if self.wrong:
            return {"layers.0.base.weight": torch.zeros(1)}
        return {
            name: -step * parameter.grad
            for name, parameter in model.trainable().items()
            if name.endswith("lora_B") and parameter.grad is not None
        }


@dataclass(frozen=True, kw_only=True)
class Orthogonal(LoRA):
    """The rows of A are to be orthogonal, as in AdaLoRA (Zhang et al. 2023, arXiv:2303.10512)."""

    def extra_loss(self, moment: Moment) -> Tensor | None:
        assert not moment.gradients
        gaps = [
            (A @ A.mT - torch.eye(len(A), dtype=A.dtype)).square().sum()
            for name, A in moment.parameters.items()
            if name.endswith("lora_A")
        ]
        return 0.1 * torch.stack(gaps).sum() if moment.step < moment.total / 2 else None


@dataclass(frozen=True, kw_only=True)
class Balanced(LoRA):
    """Gradients of B lose what lies along B, ever more of it, and have a norm in the end."""

    def after_backward(self, moment: Moment) -> None:
        assert moment.gradients.keys() == moment.parameters.keys()
        for name, gradient in moment.gradients.items():
            if name.endswith("lora_B"):
                B = moment.parameters[name]
                along = (gradient * B).sum() / (B.square().sum() + 1e-6)
                gradient -= (moment.step / moment.total) * along * B
                gradient /= gradient.norm() + 1e-3


HOOKED = {"first values": FromData, "extra loss": Orthogonal, "after backward": Balanced}


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    FromData.calls.clear()


def configs(root: Path, study: str, strategy: type[LoRA], *options: str) -> list[Config]:
    """Return lanes of other ranks, seeds, orders and limits of the gradient."""
    lanes = ["", "adapter.rank=2 seed=1", "seed=2 optimizer.clip_norm=0.2 adapter.dropout=0.2"]
    fixed = [
        *("hardware.precision=64-true", "epochs=3", f"study={study}", "base.epochs=1"),
        *(f"adapter._target_={__name__}.{strategy.__name__}", f"allow_targets=[{__name__}]"),
    ]
    return [tiny(root, *fixed, *options, *lane.split()) for lane in lanes]


def assert_same(expected: RunResult, lane: object) -> None:
    assert isinstance(lane, RunResult), lane
    assert lane.history.keys() == expected.history.keys()
    for epoch, metrics in expected.history.items():
        assert lane.history[epoch] == pytest.approx(metrics, rel=1e-10, abs=1e-10)
    assert lane.metrics["test/nll"] == pytest.approx(expected.metrics["test/nll"], rel=1e-10)


@pytest.mark.parametrize("hook", HOOKED)
def test_a_lane_is_its_run_alone(hook: str, lab_root: Path, tmp_path: Path) -> None:
    study = hook.replace(" ", "-")
    plain = single.run(configs(lab_root, f"{study}-plain", Plain)[0])
    alone = [single.run(c) for c in configs(lab_root, f"{study}-alone", HOOKED[hook])]
    gap = abs(plain.metrics["test/nll"] - alone[0].metrics["test/nll"])
    assert gap > 1e-6, "the hook changes nothing"
    packed = run_pack(configs(tmp_path, study, HOOKED[hook]))  # with a cache of its own
    for expected, lane in zip(alone, packed, strict=True):
        assert_same(expected, lane)
    assert len(FromData.calls) == 6 * (hook == "first values")


@pytest.mark.parametrize("hook", HOOKED)
def test_an_interrupted_pack_goes_on(hook: str, lab_root: Path) -> None:
    study = hook.replace(" ", "-")
    whole = run_pack(configs(lab_root, f"{study}-whole", HOOKED[hook]))
    going_on = configs(lab_root, f"{study}-on", HOOKED[hook], "resume=true")

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
    FromData.calls.clear()
    for expected, lane in zip(whole, run_pack(going_on), strict=True):
        assert isinstance(expected, RunResult)
        assert_same(expected, lane)
    assert FromData.calls == [], "first values are those before the training"


def test_first_values_are_kept_for_runs_that_share_them(tmp_path: Path) -> None:
    def run(*options: str) -> None:
        single.run(configs(tmp_path, "kept", FromData, *options)[0])

    run()
    run("optimizer.lr=0.002")
    assert FromData.calls == [2]
    for option in ("order_seed=5", "adapter.alpha=3"):
        run(option)
    assert FromData.calls == [2] * 3


def test_a_lane_whose_first_values_are_wrong_leaves_the_others_alone(lab_root: Path) -> None:
    lanes = configs(lab_root, "wrong", FromData)
    wrong = tiny(
        lab_root,
        "hardware.precision=64-true", "epochs=3", "study=wrong", "base.epochs=1", "seed=1",
        f"adapter._target_={__name__}.FromData", f"allow_targets=[{__name__}]",
        "+adapter.wrong=true",
    )  # fmt: skip
    first, failed, last = run_pack([lanes[0], wrong, lanes[2]])
    assert isinstance(first, RunResult)
    assert isinstance(last, RunResult)
    assert "which is no tensor that training can change" in str(failed)


@pytest.mark.parametrize("hook", HOOKED)
def test_a_combination_does_not_take_them(hook: str) -> None:
    with pytest.raises(ConfigError, match=r"adapter\.parts\.own has a way of training of its own"):
        Combined(parts={"own": HOOKED[hook]()})
