"""Trying a pack out on a few rows before anything is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.errors import first_line
from adapterlab.data.targets import task_of
from adapterlab.packing.pack import PackedModel
from adapterlab.packing.signatures import CannotPackError


def take_rows(inputs: Any, rows: Tensor | slice) -> Any:
    """Return some rows of a batch; a number among its parts is of all rows."""
    if isinstance(inputs, Mapping):
        return {k: v[rows] if isinstance(v, Tensor) else v for k, v in inputs.items()}
    return inputs[rows]


def try_out(models: Sequence[AdaptedModel], inputs: Any, labels: Tensor) -> list[int]:
    """Compare logits and gradients of a pack with those of its models one by one.

    Whether a model computes the same for rows of several lanes at once is not taken from its
    name. It is in evaluation mode here; draws are each lane's own in training, see
    `LaneRandomness`. A lane whose numbers are not finite alone says nothing of the others: it
    fails by itself in training, as it does alone.

    Args:
        models: of the lanes, on one device, in any mode.
        inputs: a few rows.
        labels: theirs.

    Returns:
        The lanes that were compared, those of finite numbers.

    Raises:
        CannotPackError: they differ by more than rounding, the pack cannot be computed, or there
            is nothing to compare.
    """
    compared = []
    modes = [model.training for model in models]
    for model in models:
        model.eval()
    try:
        pack = PackedModel(models, [0] * len(models)).eval()
        logits = pack(inputs, len(labels), together=True)
        torch.autograd.backward(torch.stack([_some_loss(one, labels) for one in logits]).sum())
        _require_own_rows(models, inputs, len(labels))
        for lane, model in enumerate(models):
            own = model(inputs)
            trained = model.trainable()
            gradients = torch.autograd.grad(
                _some_loss(own, labels),
                list(trained.values()),
                materialize_grads=True,
                allow_unused=True,
            )
            if not all(part.isfinite().all() for part in (own, *gradients)):
                continue
            compared.append(lane)
            _require_close("logits", own, logits[lane])
            packed = _gradients(pack, lane)
            largest = max(float(gradient.abs().max()) for gradient in gradients)
            for name, gradient in zip(trained, gradients, strict=True):
                _require_close(f"gradients of {name}", gradient, packed[name], largest / 100)
    except CannotPackError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise CannotPackError(
            f"the model cannot be computed for several lanes: {first_line(error)}"
        ) from None
    finally:
        for model, mode in zip(models, modes, strict=True):
            model.train(mode)
    if not compared:
        raise CannotPackError("no run's first logits and gradients are finite")
    return compared


def _some_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return a loss that all logits have a part in, whatever the task's own is."""
    if task_of(labels) != "single_label":
        return (logits - 1).square().sum()
    return F.cross_entropy(logits, labels, reduction="sum")


@torch.no_grad()
def _require_own_rows(models: Sequence[AdaptedModel], inputs: Any, rows: int) -> None:
    """Give every lane rows of its own: a model that mixes rows shows only then.

    Raises:
        CannotPackError: a lane's logits depend on the rows of others.
    """
    lanes = len(models)
    pack = PackedModel(models, range(lanes)).eval()
    size = min(2, rows)
    own = [torch.arange(lane, lane + size) % rows for lane in range(lanes)]
    logits = pack(take_rows(inputs, torch.cat(own)), size)
    for lane, model in enumerate(models):
        alone = model(take_rows(inputs, own[lane]))
        if alone.isfinite().all():
            _require_close("logits", alone, logits[lane])


def _gradients(pack: PackedModel, lane: int) -> dict[str, Tensor]:
    none = {name: torch.zeros_like(p) for name, p in pack.lane_parameters(lane).items()}
    return none | pack.lane_gradients(lane)


def _require_close(what: str, expected: Tensor, actual: Tensor, floor: float = 0.0) -> None:
    """Allow a thousand roundings, relative to the largest number."""
    scale = max(float(expected.detach().abs().max()), floor)
    gap = float((expected - actual).detach().abs().max())
    allowed = 1000 * torch.finfo(expected.dtype).eps * scale
    if not gap <= allowed:
        raise CannotPackError(f"{what} differ by {gap:.0e}, rounding allows {allowed:.0e}")
