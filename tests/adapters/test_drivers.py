"""Whoever drives a training alone, Lightning's Trainer or our loop, it is the same bit for bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapter_cases import CLASSES, FEATURES, ROWS, Case

from adapterlab.adapters import AdaptedModel
from adapterlab.base.errors import ConfigError
from adapterlab.config.hardware import Hardware
from adapterlab.data.images import ImageBatches
from adapterlab.data.splits import ImageSplit
from adapterlab.training.driver import why_lightning
from adapterlab.training.fit import fit
from adapterlab.training.hardware import Device, choose_device
from adapterlab.training.lightning.classifier import Classifier
from adapterlab.training.outcome import Training, best_checkpoint, last_checkpoint
from adapterlab.training.steps import Steps
from lab import ONE_THREAD, tiny

STRATEGIES = [name for name, row in ROWS.items() if row.fits("mlp")]

OPTIONS: dict[str, list[str]] = {
    "cosine, warm-up, clipping": [
        "optimizer.schedule=cosine",
        "optimizer.warmup=0.2",
        "optimizer.hold=0.2",
        "optimizer.floor=0.1",
        "optimizer.layer_decay=0.5",
        "optimizer.clip_norm=0.1",
    ],
    "plateau": [
        "optimizer.schedule=plateau",
        "optimizer.plateau_patience=0",
        "optimizer.floor=0.02",
    ],
    "accumulation": ["accumulate=2", "optimizer.schedule=linear"],
    "early end": ["early_stopping=1", "optimizer.lr=1e-12", "optimizer=sgd"],
    "momentum": ["optimizer=sgd", "optimizer.momentum=0.9", "optimizer.lr=0.1"],
    "double": ["hardware.precision=64-true"],
    "mixed": ["hardware.precision=bf16-mixed", "optimizer.schedule=cosine"],
    "balanced, smoothed": ["sampling=balanced", "label_smoothing=0.1", "select_on=loss"],
    "recomputed": ["hardware.recompute=true"],
    "roles": ["+optimizer.roles.head.lr=0.1"],
}


class CutError(Exception):
    """Stands for a power cut."""


def trained(
    root: Path,
    strategy: str,
    driver: str,
    *options: str,
    folder: str | None = None,
    cut: int | None = None,
) -> tuple[Training, AdaptedModel]:
    """Train one of the table's cases; `cut` is the epoch whose checkpoint is not written."""
    config = tiny(root, "epochs=3", f"hardware.trainer={driver}", *options)
    dtype = torch.float64 if config.hardware.precision == "64-true" else torch.float32
    adapted = Case("mlp", strategy).adapted(dtype=dtype)
    adapted.train()

    def report(epoch: int, _: Mapping[str, float]) -> None:
        if epoch == cut:
            raise CutError

    training = fit(
        config,
        adapted,
        _data(dtype, balanced=config.sampling == "balanced"),
        num_classes=CLASSES,
        title="test",
        device=Device("cpu", torch.device("cpu"), config.hardware.precision),
        folder=root / (folder or driver),
        report=report,
    )
    return training, adapted


def _data(dtype: torch.dtype, *, balanced: bool) -> ImageBatches:
    rng = np.random.default_rng(0)

    def split(rows: int) -> ImageSplit:
        labels = rng.integers(0, CLASSES, rows)
        pixels = rng.integers(0, 200, (rows, 1, 1, FEATURES))
        pixels[np.arange(rows), 0, 0, labels] += 55
        return ImageSplit(torch.tensor(pixels, dtype=torch.uint8), torch.tensor(labels))

    return ImageBatches(
        train=split(40),
        validation=split(30),
        test=split(8),
        classes=[str(label) for label in range(CLASSES)],
        mean=[0.5],
        std=[0.5],
        flip=True,
        batch_size=16,
        order_seed=0,
        eval_batch_size=16,
        balanced=balanced,
        dtype=dtype,
    )


def assert_same(one: tuple[Training, AdaptedModel], other: tuple[Training, AdaptedModel]) -> None:
    assert one[0].history == other[0].history
    assert one[0].best_epoch == other[0].best_epoch
    assert_equal(one[1].state(), other[1].state())


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    """Assert that nested values are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    elif isinstance(one, Mapping):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right, f"{where}[]")
    else:
        assert one == other, where


def assert_same_files(root: Path) -> None:
    for file in (last_checkpoint, best_checkpoint):
        one, other = (
            torch.load(file(root / driver), weights_only=True) for driver in ("lightning", "plain")
        )
        assert_equal(one, other)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_both_give_the_same_and_leave_the_same(strategy: str, tmp_path: Path) -> None:
    options = ("epochs=2", "optimizer.lr=0.05", *OPTIONS["cosine, warm-up, clipping"])
    one = trained(tmp_path, strategy, "lightning", *options)
    other = trained(tmp_path, strategy, "plain", *options)
    assert_same(one, other)
    assert_same_files(tmp_path)


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("strategy", ["dora-dropout", "full"])
def test_whatever_the_options(strategy: str, case: str, tmp_path: Path) -> None:
    one = trained(tmp_path, strategy, "lightning", *OPTIONS[case])
    other = trained(tmp_path, strategy, "plain", *OPTIONS[case])
    assert_same(one, other)
    assert_same_files(tmp_path)


@pytest.mark.parametrize("case", ["cosine, warm-up, clipping", "plateau", "early end"])
@pytest.mark.parametrize("first", ["lightning", "plain"])
def test_a_run_goes_on_in_the_other(first: str, case: str, tmp_path: Path) -> None:
    second = {"lightning": "plain", "plain": "lightning"}[first]
    options = ("optimizer.lr=0.1", *OPTIONS[case])
    whole = trained(tmp_path, "dora-dropout", first, *options)
    for cut in (2, 3) if case != "early end" else (2,):
        with pytest.raises(CutError):
            trained(tmp_path, "dora-dropout", first, *options, folder="both", cut=cut)
        first, second = second, first
    after = trained(tmp_path, "dora-dropout", first, *options, folder="both")
    assert_same(whole, after)
    assert_same(whole, trained(tmp_path, "dora-dropout", second, *options, folder="both"))


def test_what_is_driven_is_one_and_the_same() -> None:
    """The LightningModule adds what the Trainer calls, and changes nothing."""
    own = {name for name in vars(Classifier) if not name.startswith("_")}
    assert own == {"strict_loading", "driver", "optimizer_step"}
    assert Classifier.__mro__[1] is Steps


@pytest.mark.parametrize(
    ("options", "accelerator", "why"),
    [
        ({}, "cpu", None),
        ({"recompute": True}, "cpu", None),
        ({"trainer": "lightning"}, "cpu", "hardware.trainer=lightning"),
        ({"compile": True}, "cpu", "hardware.compile=true"),
        ({"workers": 2}, "cpu", "hardware.workers=2"),
        ({}, "gpu", "a GPU"),
    ],
)
def test_lightning_drives_what_needs_it(
    options: dict[str, Any], accelerator: str, why: str | None
) -> None:
    assert why_lightning(_hardware(**options), accelerator) == why


def _hardware(**options: Any) -> Hardware:
    return Hardware(**{**vars(ONE_THREAD), **options})


@pytest.mark.parametrize("option", [{"compile": True}, {"workers": 1}])
def test_our_loop_is_not_asked_for_what_it_has_not(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"hardware\.trainer=plain drives no run with hardware"):
        choose_device(_hardware(accelerator="cpu", trainer="plain", **option))
