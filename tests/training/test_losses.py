"""Losses are torch's and the papers', alone and for each lane."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from adapterlab.base.errors import ConfigError
from adapterlab.data.batches import rows_of_epoch, shares_of_rows
from adapterlab.training.losses import TrainingLoss, class_weights

WEIGHTS = torch.tensor([0.5, 1.0, 4.0])
LOSSES = {
    "plain": TrainingLoss(),
    "smoothed": TrainingLoss(smoothing=0.2),
    "weighted": TrainingLoss(weights=WEIGHTS),
    "weighted and smoothed": TrainingLoss(smoothing=0.2, weights=WEIGHTS),
    "focal": TrainingLoss(gamma=2.0),
    "focal and weighted": TrainingLoss(gamma=1.5, weights=WEIGHTS),
}


def batch(lanes: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(lanes, 8, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(3, (lanes, 8), generator=draw)


@pytest.mark.parametrize("name", LOSSES)
def test_a_lane_has_the_loss_that_it_has_alone(name: str) -> None:
    logits, labels = batch()
    together = LOSSES[name].of_lanes(logits, labels)
    (gradient,) = torch.autograd.grad(together.sum(), logits)
    for lane in range(len(labels)):
        own = logits[lane].detach().requires_grad_()
        alone = LOSSES[name](own, labels[lane])
        torch.testing.assert_close(together[lane], alone, rtol=1e-12, atol=1e-12)
        (expected,) = torch.autograd.grad(alone, own)
        torch.testing.assert_close(gradient[lane], expected, rtol=1e-12, atol=1e-12)


def test_weights_are_those_of_torch() -> None:
    logits, labels = batch(1)
    for smoothing in (0.0, 0.3):
        ours = TrainingLoss(smoothing=smoothing, weights=WEIGHTS).of_lanes(logits, labels)[0]
        theirs = F.cross_entropy(logits[0], labels[0], WEIGHTS.double(), label_smoothing=smoothing)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("loss", [TrainingLoss(weights=WEIGHTS / 3), TrainingLoss(gamma=2.0)])
def test_half_precision_rounds_neither_weights_nor_focus(loss: TrainingLoss) -> None:
    logits, labels = batch()
    logits = logits.bfloat16()
    expected = loss.of_lanes(logits.float(), labels)
    with torch.autocast("cpu", torch.bfloat16):
        together = loss.of_lanes(logits, labels)
        alone = torch.stack([loss(*lane) for lane in zip(logits, labels, strict=True)])
    assert together.dtype == alone.dtype == torch.float32
    torch.testing.assert_close(together, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(alone, expected, rtol=1e-6, atol=0)


def test_the_focal_loss_by_hand() -> None:
    """A row that is right at 0.9 counts (1 - 0.9)^2 of its cross-entropy."""
    logits = torch.tensor([[0.9, 0.1]], dtype=torch.float64).log()
    loss = TrainingLoss(gamma=2.0)(logits, torch.tensor([0]))
    assert float(loss) == pytest.approx(0.01 * -torch.tensor(0.9).log().item(), rel=1e-6)


def test_a_row_that_is_all_but_sure_has_a_finite_gradient() -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    TrainingLoss(gamma=0.5)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = torch.tensor([0] * 7 + [1] * 2 + [3])
    found = class_weights("balanced", labels, ["a", "b", "empty", "c"])
    assert found is not None
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels.numpy())
    assert found[[0, 1, 3]].tolist() == pytest.approx(expected.tolist())
    assert found[2] == 1


def test_weights_by_name_and_a_name_that_is_none() -> None:
    found = class_weights({"spam": 5.0}, torch.zeros(1, dtype=torch.long), ["ham", "spam"])
    assert found is not None
    assert found.tolist() == [1.0, 5.0]
    with pytest.raises(ConfigError, match=r"loss\.class_weights\.spma is no class; .*spam"):
        class_weights({"spma": 5.0}, torch.zeros(1, dtype=torch.long), ["ham", "spam"])


def test_balanced_rows_are_of_each_class_alike_and_the_same_again() -> None:
    labels = torch.tensor([0] * 950 + [1] * 50)
    shares = shares_of_rows(labels)

    def drawn() -> Tensor:
        return rows_of_epoch(1000, torch.Generator().manual_seed(3), shares)

    assert torch.equal(drawn(), drawn())
    # Binomial: a standard deviation of 16.
    assert 430 < int(labels[drawn()].sum()) < 570
