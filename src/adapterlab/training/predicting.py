"""Running a model, or the lanes of a pack, over a split: what each says, in the split's order."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapterlab.data.batches import AnyBatches, SplitName
from adapterlab.packing import PackedModel
from adapterlab.training.predictions import Predictions
from adapterlab.training.task_predictions import predictions_of


@torch.inference_mode()
def predict(
    model: nn.Module, data: AnyBatches, split: SplitName, device: torch.device
) -> Predictions:
    """Run a model over a split, in evaluation mode; the result is in the split's order.

    It computes in the precision of the model's weights, without autocast or what frozen layers made
    under it, so that evaluating again gives the same logits whatever the training's precision was.
    """
    (one,) = _predict(model, lambda batch: model(batch.inputs)[None], data, split, device)
    return one


@torch.inference_mode()
def predict_pack(
    pack: PackedModel, data: AnyBatches, split: SplitName, device: torch.device
) -> list[Predictions]:
    """Do as `predict` for every lane of a pack; frozen layers that lanes share run once."""

    def logits(batch: Any) -> Tensor:
        return cast(Tensor, pack(batch.inputs, len(batch.labels), together=True))

    return _predict(pack, logits, data, split, device)


def _predict(
    model: nn.Module,
    call: Callable[[Any], Tensor],
    data: AnyBatches,
    split: SplitName,
    device: torch.device,
) -> list[Predictions]:
    """Gather the logits of each lane, ``[K, B, C]`` a batch."""
    training = model.training
    model.eval().to(device)
    logits, labels = [], []
    for batch in data.in_full().batches(split, device):
        logits.append(call(batch).cpu())
        labels.append(batch.labels.cpu())
    model.train(training)
    back = data.order(split).argsort()
    in_order = torch.cat(labels)[back].numpy()
    if data.task == "single_label":
        kind: Callable[..., Predictions] = Predictions
    else:
        kind = partial(predictions_of, data)
    return [kind(lane[back].numpy(), in_order, data.classes) for lane in torch.cat(logits, dim=1)]
