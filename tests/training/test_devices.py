"""One run on several devices is that run on one, to rounding."""

import copy
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adapterlab.adapters import AdaptedModel, DoRA, Full, LoRA, Strategy
from adapterlab.base.errors import ConfigError
from adapterlab.config.hardware import Hardware
from adapterlab.data.images import ImageBatches
from adapterlab.data.splits import ImageSplit
from adapterlab.models.mlp import MLP
from adapterlab.runs.identity import config_hash
from adapterlab.studies.planning.packing import plan_packs
from adapterlab.training.devices import drive
from adapterlab.training.devices.drive import DeviceLostError
from adapterlab.training.devices.shares import SharedDraws, share_of
from adapterlab.training.devices.trial import require_shares
from adapterlab.training.fit import fit
from adapterlab.training.hardware import Device, choose_device, fingerprint
from adapterlab.training.losses import TrainingLoss
from adapterlab.training.outcome import Training
from lab import ONE_THREAD, tiny

ROWS, BATCH, CLASSES = 33, 8, 3  # the last batch has one row: less than one for each device

STRATEGIES: dict[str, Strategy] = {
    "full": Full(),
    "lora": LoRA(rank=2, dropout=0.3),
    "dora": DoRA(rank=2, dropout=0.3),
}

OPTIONS = {
    "clipping": ["optimizer.clip_norm=0.1", "optimizer.schedule=cosine"],
    "accumulation": ["accumulate=2", "early_stopping=1"],
    "weighted": ["loss.class_weights=balanced", "label_smoothing=0.1"],
}


def adapted(strategy: Strategy) -> AdaptedModel:
    model = MLP((1, 2, 3), CLASSES, widths=(7,), dropout=0.2, generator=_seeded()).double()
    return strategy.apply(model, seed=1).train()


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def batches(rows: int = ROWS) -> ImageBatches:
    rng = np.random.default_rng(0)

    def split(size: int) -> ImageSplit:
        images = rng.integers(0, 255, (size, 1, 2, 3))
        labels = rng.integers(0, CLASSES, size)
        return ImageSplit(torch.tensor(images, dtype=torch.uint8), torch.tensor(labels))

    return ImageBatches(
        train=split(rows),
        validation=split(20),
        test=split(8),
        classes=["a", "b", "c"],
        mean=[0.5],
        std=[0.5],
        flip=True,
        batch_size=BATCH,
        order_seed=0,
        eval_batch_size=8,
        dtype=torch.float64,
    )


def trained(
    folder: Path,
    strategy: str,
    devices: int,
    *options: str,
    how: str = "ddp",
    report: Callable[[int, Mapping[str, float]], None] = lambda *_: None,
) -> tuple[Training, AdaptedModel]:
    config = tiny(
        folder, "epochs=3", "optimizer.lr=0.05", "hardware.precision=64-true",
        f"hardware.devices={devices}", *([f"hardware.strategy={how}"] if devices > 1 else []),
        *options,
    )  # fmt: skip
    model = adapted(STRATEGIES[strategy])
    training = fit(
        config,
        model,
        batches(),
        num_classes=CLASSES,
        title="test",
        device=Device(
            "cpu", torch.device("cpu"), "64-true", in_parts=how == "fsdp" and devices > 1
        ),
        folder=folder,
        report=report,
    )
    return training, model


def assert_same(one: tuple[Training, AdaptedModel], other: tuple[Training, AdaptedModel]) -> None:
    assert one[0].best_epoch == other[0].best_epoch
    assert one[0].history.keys() == other[0].history.keys()
    for epoch, metrics in one[0].history.items():
        assert other[0].history[epoch] == pytest.approx(metrics, rel=0, abs=1e-10)
    for name, tensor in one[1].state().items():
        torch.testing.assert_close(other[1].state()[name], tensor, rtol=0, atol=1e-10)


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
@pytest.mark.parametrize(
    ("strategy", "case"),
    [("full", "clipping"), ("lora", "accumulation"), ("dora", "weighted")],
)
def test_two_devices_train_as_one_does(strategy: str, case: str, how: str, tmp_path: Path) -> None:
    seen: list[int] = []
    one = trained(tmp_path / "one", strategy, 1, *OPTIONS[case])
    two = trained(
        tmp_path / "two", strategy, 2, *OPTIONS[case], how=how,
        report=lambda epoch, _: seen.append(epoch),
    )  # fmt: skip
    assert_same(one, two)
    assert seen == list(two[0].history)
    assert two[0].samples_per_second is not None


class CutError(Exception):
    """Stands for a power cut."""


def test_a_run_goes_on_with_another_number_and_a_dead_process_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: list[drive._Processes] = []
    real = drive._Processes.begin

    def begin(processes: drive._Processes, *arguments: Any) -> Any:
        at_work.append(processes)
        return real(processes, *arguments)

    def cut(epoch: int, _: Mapping[str, float]) -> None:
        if epoch == 2:
            raise CutError

    def kill(epoch: int, _: Mapping[str, float]) -> None:
        if epoch == 3:
            # Not just the last child of this process, which may be the one for small things.
            (last,) = at_work[-1]._workers[-1]._executor._processes.values()
            os.kill(last.pid, signal.SIGKILL)
            last.join(10)

    monkeypatch.setattr(drive._Processes, "begin", begin)
    whole = trained(tmp_path / "whole", "dora", 1)
    with pytest.raises(CutError):
        trained(tmp_path / "both", "dora", 1, report=cut)
    with pytest.raises(DeviceLostError, match=r"process of device \d of 2 has died.*resume=true"):
        trained(tmp_path / "both", "dora", 2, report=kill)
    assert not list((tmp_path / "both").glob("devices-*"))
    assert_same(whole, trained(tmp_path / "both", "dora", 1))


def test_a_run_goes_on_with_parts_and_from_parts(tmp_path: Path) -> None:
    def cut(at: int) -> Callable[[int, Mapping[str, float]], None]:
        def report(epoch: int, _: Mapping[str, float]) -> None:
            if epoch == at:
                raise CutError

        return report

    folder, options = tmp_path / "parts", OPTIONS["clipping"]
    whole = trained(tmp_path / "whole", "full", 1, *options)
    with pytest.raises(CutError):
        trained(folder, "full", 1, *options, report=cut(2))
    with pytest.raises(CutError):
        trained(folder, "full", 2, *options, how="fsdp", report=cut(3))
    assert_same(whole, trained(folder, "full", 1, *options))


class Mixing(MLP):
    """Has a row depend on the others, as batch norm does."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = super().forward(images)
        return logits - logits.mean(0)


class Other(MLP):
    """Draws in a way of its own."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = super().forward(images)
        return logits * logits.new_empty(len(logits), 1).bernoulli_(0.5)


class Normed(MLP):
    """Takes statistics of a batch, which one row has none of."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.norm = nn.BatchNorm1d(CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.norm(super().forward(images))
        return logits


@pytest.mark.parametrize("kind", [Mixing, Other, Normed])
def test_rows_that_are_not_computed_each_for_itself_are_refused(kind: type[MLP]) -> None:
    data, device = batches(), torch.device("cpu")
    sound = adapted(LoRA(rank=2, dropout=0.3))
    before = copy.deepcopy(sound.state())
    assert not require_shares(sound, data, 2, device)
    assert all(torch.equal(before[name], tensor) for name, tensor in sound.state().items())
    model = kind((1, 2, 3), CLASSES, widths=(7,), generator=_seeded()).double()
    with pytest.raises(ConfigError, match=r"hardware\.devices=2: rows of a batch c.* shares.*: 1$"):
        require_shares(Full().apply(model, seed=1), data, 2, device)


@pytest.mark.parametrize("transposed", [False, True])
def test_attention_draws_in_a_share_what_it_draws_in_the_whole(transposed: bool) -> None:
    q, k, v = (torch.randn(5, 3, 4, 6, dtype=torch.float64, generator=_seeded()) for _ in range(3))
    if transposed:
        q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    mask = torch.ones(5, 1, 1, q.shape[2], dtype=torch.bool)
    mask[2, ..., -1] = False

    def attended(*tensors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        one = nn.functional.scaled_dot_product_attention(*tensors, attn_mask=mask, dropout_p=0.4)
        return nn.functional.dropout(one, 0.4)

    whole, parts = attended(q, k, v, mask=mask), []
    draws = SharedDraws()
    for rank in range(2):
        share = share_of(5, rank, 2)
        rows = slice(share.start, share.stop)
        with draws.of(share):
            parts.append(attended(q[rows], k[rows], v[rows], mask=mask[rows]))
    torch.testing.assert_close(torch.cat(parts), whole)
    assert draws.drew


@pytest.mark.parametrize(
    "loss",
    [
        TrainingLoss(smoothing=0.1, weights=torch.tensor([0.0, 1.0, 3.0])),
        TrainingLoss(gamma=2.0),
        TrainingLoss(task="multi_label"),
        TrainingLoss(task="regression"),
    ],
    ids=["weighted", "focal", "labels", "numbers"],
)
def test_shares_of_a_loss_sum_to_it(loss: TrainingLoss) -> None:
    logits = torch.randn(5, 3, dtype=torch.float64, generator=_seeded())
    labels: torch.Tensor = torch.tensor([0, 0, 2, 1, 2])  # the first share has no weight at all
    if loss.task != "single_label":
        labels = (logits > 0).double() if loss.task == "multi_label" else logits[:, 1]
    shares = [share_of(5, rank, 2) for rank in range(2)]
    parts = [
        loss.of_share(logits[one.start : one.stop], labels[one.start : one.stop], labels)
        for one in shares
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), loss(logits, labels))


def test_every_row_is_in_one_share_that_counts() -> None:
    for devices in (1, 2, 3):
        for rows in range(1, 8):
            shares = [share_of(rows, rank, devices) for rank in range(devices)]
            counted = [one for one in shares if one.counts]
            assert [r for one in counted for r in range(one.start, one.stop)] == list(range(rows))
            assert all(one.stop == 1 for one in shares if not one.counts)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"compile": True}, r"hardware\.compile=true does not go with hardware\.devices=2"),
        ({"recompute": True}, r"hardware\.recompute=true does not go with hardware\.devices=2"),
        ({"trainer": "plain"}, r"trainer=plain drives no run with hardware\.devices=2"),
        (
            {"devices": 1, "strategy": "fsdp"},
            r"strategy=fsdp leaves each device a part of the model, and hardware\.devices=1",
        ),
        ({"devices": 64}, r"hardware\.devices=64 is too many for the \d+ cores"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        choose_device(_hardware(**{"devices": 2, **options}), training=True)


def test_only_a_training_takes_several() -> None:
    assert choose_device(_hardware(devices=2), training=True).accelerator == "cpu"
    with pytest.raises(ConfigError, match=r"hardware\.devices=2: several train a run alone, and"):
        choose_device(_hardware(devices=2))


def _hardware(**options: Any) -> Hardware:
    return Hardware(**{**vars(ONE_THREAD), "accelerator": "cpu", **options})


def test_it_is_in_no_hash_and_in_the_machine(tmp_path: Path) -> None:
    one, two = (tiny(tmp_path, f"hardware.devices={devices}") for devices in (1, 2))
    assert config_hash(one) == config_hash(two)
    assert fingerprint("cpu", 1) == fingerprint("cpu")
    assert fingerprint("cpu", 2)["devices"] == "2"
    assert fingerprint("cpu", 2)["id"] != fingerprint("cpu")["id"]


def test_runs_on_several_devices_stay_alone(tmp_path: Path) -> None:
    configs = [
        tiny(tmp_path, "model=mlp", "adapter=lora", f"seed={seed}", "pack=always",
             "hardware.devices=2") for seed in (0, 1)
    ]  # fmt: skip
    packs = plan_packs(configs, [None, None], 1.0)
    assert [list(pack.jobs) for pack in packs] == [[0], [1]]
    assert {pack.why for pack in packs} == {"hardware.devices=2 train one run together"}
