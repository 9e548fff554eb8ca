"""Runs whose first values come from weights and from data: in one pack as alone, and going on."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from adapterlab.adapters.data_driven_init import FromData
from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.evaluation import Request, evaluate_saved
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.identity import arm_hash, config_hash
from adapterlab.runs.packs.pack import run_pack
from lab import ONE_THREAD, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

LANES = (
    "adapter=lora",
    "adapter=lora adapter.init=pissa adapter.rank=4",
    "adapter=lora adapter.init=lora_ga adapter.rank=3 seed=1",
    "adapter=lora adapter.init=corda adapter.corda_method=kpm adapter.rank=2",
    "adapter=dora adapter.init=eva adapter.rank=2",
    "adapter=dora adapter.init=olora adapter.rank=3",
)


def configs(root: Path, study: str, *options: str) -> list[Config]:
    fixed = ("hardware.precision=64-true", "epochs=2", f"study={study}", "base.epochs=1")
    return [tiny(root, *fixed, "adapter.init_batches=2", *options, *lane.split()) for lane in LANES]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    own = FromData.first_values

    def counted(self: FromData, *arguments: object) -> object:
        made.append(self.init)
        return own(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FromData, "first_values", counted)
    return made


def test_lanes_are_their_runs_alone_and_go_on(
    lab_root: Path, tmp_path: Path, calls: list[str]
) -> None:
    alone = [single.run(config) for config in configs(lab_root, "alone")]
    assert calls == ["lora_ga", "corda", "eva"]
    losses = [result.history[1]["train/loss"] for result in alone]
    assert len({round(loss, 9) for loss in losses}) == len(LANES), "they train alike"

    going_on = configs(tmp_path, "on", "resume=true")
    done = 0.0

    class StopHere(BaseException):
        """Nothing that is caught on the way."""

    def stop(share: float) -> None:
        nonlocal done
        done += share
        if done > len(LANES) / 2 + 0.5:
            raise StopHere

    calls.clear()
    with pytest.raises(StopHere):
        run_pack(going_on, on_step=stop)
    assert sorted(calls) == ["corda", "eva", "lora_ga"]
    calls.clear()
    for expected, lane in zip(alone, run_pack(going_on), strict=True):
        assert isinstance(lane, RunResult), lane
        assert lane.history.keys() == expected.history.keys()
        for epoch, metrics in expected.history.items():
            assert lane.history[epoch] == pytest.approx(metrics, rel=1e-9, abs=1e-9)
        assert lane.metrics["test/nll"] == pytest.approx(expected.metrics["test/nll"], rel=1e-9)
    assert calls == [], "first values are those before the training"
    for result in alone:
        again = evaluate_saved(
            Request(
                run=str(result.folder), split="test", tracking_uri=None, root=str(lab_root),
                data_dir=None, hardware=ONE_THREAD, allow_targets=[],
            )
        )  # fmt: skip
        assert again.metrics["nll"] == pytest.approx(result.metrics["test/nll"], rel=1e-6)
    held = []
    for result in alone:
        with safe_open(result.folder / "adapter.safetensors", framework="pt") as file:
            held.append({name.rpartition(".")[2] for name in file.keys()})  # noqa: SIM118
    assert ["first_A" in names for names in held] == [False, False, True, True, False, False]


def test_options_that_first_values_have_no_use_for_are_no_other_run(lab_root: Path) -> None:
    def hashes(*options: str) -> tuple[str, str]:
        config = tiny(lab_root, "adapter=lora", *options)
        return config_hash(config), arm_hash(config)

    plain = hashes()
    assert hashes("adapter.init_batches=3", "adapter.corda_method=kpm") == plain
    assert hashes("adapter.init=eva") != plain
    assert hashes("adapter.init=eva", "adapter.init_batches=3") != hashes("adapter.init=eva")
    corda = hashes("adapter.init=corda")
    assert hashes("adapter.init=corda", "adapter.corda_method=kpm") != corda
    assert hashes("adapter.init=corda", "adapter.init_batches=8") == corda


def test_a_part_of_a_combination_has_those_from_the_weight_only(lab_root: Path) -> None:
    def combined(init: str) -> Config:
        return tiny(lab_root, "adapter=combined", f"adapter.parts.lora.init={init}", "epochs=1")

    assert torch.isfinite(torch.tensor(single.run(combined("pissa")).metrics["test/nll"]))
    with pytest.raises(ConfigError, match=r"parts\.lora\.init=eva has a way of training"):
        single.run(combined("eva"))
