"""The LightningModule and the trainer around it, on data small enough to reason about."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch

import adapterlab.base.torchvision_compat  # noqa: F401  # before Lightning, which imports torchvision

# isort: split

import pytorch_lightning as pl
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adapterlab.adapters import AdaLoRA, AdaptedModel, Full, Head, LoRA
from adapterlab.adapters.hooks import Moment
from adapterlab.config.schema import Config
from adapterlab.data.images import ImageBatches
from adapterlab.data.splits import ImageSplit
from adapterlab.models import MLP
from adapterlab.training.fit import fit
from adapterlab.training.hardware import Device
from adapterlab.training.lightning.classifier import Classifier
from adapterlab.training.lightning.data import LightningData
from adapterlab.training.lightning.drive import quieten
from adapterlab.training.outcome import Training, TrainingDivergedError
from adapterlab.training.tally import Tally
from lab import tiny

CPU = Device("cpu", torch.device("cpu"), "32-true")
Fit = Callable[..., tuple[Training, AdaptedModel]]


def images(rows: int, seed: int, noise: float = 0.0) -> ImageSplit:
    """Three classes of 2x2 images, one bright pixel each; `noise` is the share of wrong labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    pixels = rng.integers(0, 80, (rows, 1, 2, 2))
    pixels.reshape(rows, 4)[np.arange(rows), labels] = 255
    wrong = rng.random(rows) < noise
    labels[wrong] = rng.integers(0, 3, wrong.sum())
    return ImageSplit(torch.tensor(pixels, dtype=torch.uint8), torch.tensor(labels))


def data(noise: float = 0.0, batch_size: int = 16) -> ImageBatches:
    return ImageBatches(
        train=images(48, 0, noise),
        validation=images(40, 1, noise),
        test=images(30, 2),
        classes=("a", "b", "c"),
        mean=[0.5],
        std=[0.5],
        batch_size=batch_size,
        order_seed=0,
    )


def model(strategy: Any = None, **options: Any) -> AdaptedModel:
    generator = torch.Generator().manual_seed(0)
    mlp = MLP((1, 2, 2), 3, widths=(16,), generator=generator, **options)
    return (strategy or Full()).apply(mlp, seed=0)


@pytest.fixture
def train(tmp_path: Path) -> Fit:
    def run(
        *overrides: str,
        adapted: AdaptedModel | None = None,
        module: ImageBatches | None = None,
        report: Callable[[int, Mapping[str, float]], None] = lambda epoch, metrics: None,
        folder: str = "checkpoints",
    ) -> tuple[Training, AdaptedModel]:
        config: Config = tiny(tmp_path, "epochs=4", "optimizer=adam", *overrides)
        adapted = adapted or model()
        training = fit(
            config,
            adapted,
            module or data(),
            num_classes=3,
            title="test",
            device=CPU,
            folder=tmp_path / folder,
            report=report,
        )
        return training, adapted

    return run


@given(
    labels=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40),
    cut=st.integers(1, 39),
)
@settings(max_examples=40, deadline=None)
def test_a_tally_agrees_with_sklearn_however_it_is_fed(
    labels: list[tuple[int, int]], cut: int
) -> None:
    truth, said = (torch.tensor(column) for column in zip(*labels, strict=True))
    logits = F.one_hot(said, 4).float() * 3
    tally = Tally(4)
    tally.watch({"f1/b": 2})
    tally.add(logits, truth, torch.tensor(9.0))
    tally.reset()
    for part in (slice(0, cut), slice(cut, None)):
        if len(truth[part]):
            loss = F.cross_entropy(logits[part], truth[part])
            tally.add(logits[part], truth[part], loss)
    assert tally.compute() == pytest.approx(
        {
            "loss": float(F.cross_entropy(logits, truth)),
            "accuracy": sklearn.metrics.accuracy_score(truth, said),
            "macro_f1": sklearn.metrics.f1_score(
                truth, said, labels=range(4), average="macro", zero_division=0
            ),
            "mcc": sklearn.metrics.matthews_corrcoef(truth, said),
            "balanced_accuracy": sklearn.metrics.recall_score(
                truth, said, labels=truth.unique(), average="macro", zero_division=0
            ),
            "f1/b": sklearn.metrics.f1_score(
                truth, said, labels=[2], average="macro", zero_division=0
            ),
        },
        abs=1e-6,
    )


def test_a_training_learns_and_keeps_its_history(train: Fit) -> None:
    reported: dict[int, dict[str, float]] = {}
    training, _ = train(
        "epochs=6",
        "optimizer.lr=0.05",
        report=lambda epoch, metrics: reported.update({epoch: dict(metrics)}),
    )
    assert list(training.history) == [1, 2, 3, 4, 5, 6]
    assert training.history == reported
    scores = ("loss", "accuracy", "macro_f1", "mcc", "balanced_accuracy")
    names = {f"{split}/{score}" for split in ("train", "val") for score in scores}
    assert set(training.history[1]) == names | {"train/lr"}
    assert training.history[6]["val/accuracy"] > 0.9
    assert training.seconds > 0


def test_the_history_is_what_the_model_did(train: Fit) -> None:
    """With a rate of almost zero the metrics of the first epoch are those of the fresh model."""
    fresh, module = model(), data()
    training, _ = train("epochs=1", "optimizer.lr=1e-12")
    for name, split in (("train", "train"), ("val", "validation")):
        batch = next(module.batches(split))
        logits = fresh(batch.inputs).detach()
        loss = float(F.cross_entropy(logits, batch.labels))
        hits = float((logits.argmax(1) == batch.labels).double().mean())
        assert training.history[1][f"{name}/loss"] == pytest.approx(loss, abs=1e-5)
        assert training.history[1][f"{name}/accuracy"] == pytest.approx(hits)


def test_labels_are_smoothed_in_training_only(train: Fit) -> None:
    plain, _ = train("epochs=1", "optimizer.lr=1e-12", folder="plain")
    smooth, _ = train("epochs=1", "optimizer.lr=1e-12", "label_smoothing=0.5", folder="smooth")
    assert smooth.history[1]["val/loss"] == plain.history[1]["val/loss"]
    batch = next(data().batches("train"))
    logits = model()(batch.inputs).detach()
    expected = F.cross_entropy(logits, batch.labels, label_smoothing=0.5)
    assert smooth.history[1]["train/loss"] == pytest.approx(float(expected), abs=1e-5)
    assert smooth.history[1]["train/loss"] != pytest.approx(
        plain.history[1]["train/loss"], abs=0.01
    )


def test_a_clipped_step_is_no_longer_than_allowed(train: Fit) -> None:
    def step(*overrides: str) -> float:
        before = nn.utils.parameters_to_vector(model().parameters())
        _, after = train(
            "epochs=1", "optimizer=sgd", "optimizer.lr=1", *overrides,
            module=data(batch_size=48), folder="-".join(overrides) or "free",
        )  # fmt: skip
        moved = nn.utils.parameters_to_vector(after.parameters()) - before
        return float(moved.detach().norm())

    assert step() > 0.1
    assert step("optimizer.clip_norm=0.01") == pytest.approx(0.01, rel=1e-3)


def test_the_model_has_the_parameters_of_its_best_epoch(
    train: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validation accuracy is made to fall after the second epoch."""
    wanted = iter([0.2, 0.9, 0.5, 0.9])  # the first of equals is the best
    compute = Tally.compute

    def fake(tally: Tally) -> dict[str, float]:
        metrics = compute(tally)
        return metrics | {"accuracy": next(wanted)} if int(tally.confusion.sum()) == 40 else metrics

    states: dict[int, dict[str, torch.Tensor]] = {}
    adapted = model(LoRA(rank=2))
    monkeypatch.setattr(Tally, "compute", fake)
    training, _ = train(
        adapted=adapted,
        report=lambda epoch, _: states.update(
            {epoch: {name: t.clone() for name, t in adapted.state().items()}}
        ),
    )
    assert training.best_epoch == 2
    for name, tensor in adapted.state().items():
        assert torch.equal(tensor, states[2][name])
        assert not torch.equal(tensor, states[4][name])


@pytest.mark.parametrize("select_on", ["loss", "accuracy", "macro_f1", "mcc"])
def test_the_best_epoch_is_the_best_by_the_chosen_metric(train: Fit, select_on: str) -> None:
    training, _ = train(
        "epochs=8", "optimizer.lr=0.3", f"select_on={select_on}", module=data(noise=0.5)
    )
    values = {epoch: metrics[f"val/{select_on}"] for epoch, metrics in training.history.items()}
    best = min(values.values()) if select_on == "loss" else max(values.values())
    assert training.best_epoch == next(epoch for epoch, value in values.items() if value == best)


def test_training_stops_early(train: Fit) -> None:
    """At this rate nothing changes: the first epoch stays the best, two more are allowed."""
    training, _ = train("epochs=20", "optimizer.lr=1e-12", "early_stopping=2", "optimizer=sgd")
    assert list(training.history) == [1, 2, 3]
    assert training.best_epoch == 1


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.04, 0.04]),
        ("linear", [0.02, 0.0]),
        ("cosine", [0.02, 0.0]),
    ],
)
def test_the_rate_is_stepped_after_every_batch(
    train: Fit, schedule: str, rates: list[float]
) -> None:
    # 48 rows in batches of 16: three steps an epoch; what is logged is the rate after an epoch.
    training, _ = train("epochs=2", "optimizer.lr=0.04", f"optimizer.schedule={schedule}")
    logged = [metrics["train/lr"] for metrics in training.history.values()]
    assert logged == pytest.approx(rates, abs=1e-9)


def test_the_plateau_follows_the_validation_loss(train: Fit) -> None:
    options = ("optimizer=sgd", "optimizer.schedule=plateau", "optimizer.plateau_patience=0")
    training, _ = train("epochs=4", "optimizer.lr=1e-6", *options)
    rates = [metrics["train/lr"] for metrics in training.history.values()]
    losses = [metrics["val/loss"] for metrics in training.history.values()]
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)  # torch takes less than 1e-4 for none
    assert rates == pytest.approx([1e-6, 1e-6, 1e-7, 1e-8])


def test_a_diverged_training_says_what_to_try(train: Fit) -> None:
    with pytest.raises(TrainingDivergedError, match=r"epoch 1; try a lower optimizer.lr"):
        train("optimizer=sgd", "optimizer.lr=1e25")


@pytest.mark.parametrize("strategy", [Head(), LoRA(rank=2), LoRA(rank=2, head="freeze")])
def test_what_is_frozen_stays_bit_for_bit(train: Fit, strategy: Any) -> None:
    adapted = model(strategy)
    before = {name: p.clone() for name, p in adapted.model.named_parameters()}
    trainable = adapted.trainable()
    train(adapted=adapted)
    for name, parameter in adapted.model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in trainable), name


def test_checkpoints_hold_what_is_trained_and_not_the_base(train: Fit, tmp_path: Path) -> None:
    _, adapted = train("epochs=1", adapted=model(LoRA(rank=2)))
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=False)
    names = {name.removeprefix("model.model.") for name in saved["state_dict"]}
    assert names == set(adapted.trainable())


def test_masks_are_a_function_of_the_seed_alone(train: Fit) -> None:
    def after(seed: int, folder: str) -> torch.Tensor:
        _, adapted = train(
            "epochs=1", f"init_seed={seed}", adapted=model(dropout=0.5), folder=folder
        )
        return nn.utils.parameters_to_vector(adapted.parameters()).detach()

    first = after(1, "first")
    torch.manual_seed(99)  # as if something else had drawn random numbers
    assert torch.equal(first, after(1, "second"))
    assert not torch.equal(first, after(2, "third"))


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_gradients_that_no_step_is_taken_by_are_seen_by_no_method(tmp_path: Path) -> None:
    """Mixed float16 begins with a scale that is too large, and makes it less until it fits."""
    adapted = model(AdaLoRA(rank=1, init_rank=2, tinit=0.0, tfinal=0.5))
    config = tiny(tmp_path, "optimizer=adam")
    module = Classifier(adapted, 3, config.optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)  # type: ignore[attr-defined]
    quieten()
    trainer = pl.Trainer(
        accelerator="cpu",
        plugins=[pl.plugins.MixedPrecision("16-mixed", "cpu", scaler)],
        max_steps=8,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )
    seen = []
    strategy = type(adapted.strategy)
    with pytest.MonkeyPatch.context() as patch:
        after = strategy.after_step

        def noting(self: Any, moment: Moment) -> None:
            seen.append((bool(moment.gradients), dict(moment.gradients)))
            after(self, moment)

        patch.setattr(strategy, "after_step", noting)
        trainer.fit(module, LightningData(data()))
    assert [there for there, _ in seen][:1] == [False]
    assert any(there for there, _ in seen)
    assert all(bool(t.isfinite().all()) for _, found in seen for t in found.values())
    assert all(bool(tensor.isfinite().all()) for tensor in adapted.state().values())
