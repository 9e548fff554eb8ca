"""A model on a few short texts: what it makes of them in one way and in another.

Whether a model computes the same for a text whatever stands beside it is not taken from its name,
but tried before anything is trained.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.plan import never_learning, refuse_idle
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.errors import ConfigError, first_line, out_of_memory
from adapterlab.data.batches import on_device
from adapterlab.data.images import Batch
from adapterlab.data.targets import task_of
from adapterlab.data.text import TextBatch, TextBatches, cut
from adapterlab.data.tokens import TokenizedSplit

_WIDER = 5
"""Tokens of padding beside that of the batch."""

_SURELY_ROUNDING = 1e-9
"""A difference that no padding makes, relative to the largest number."""


def some_texts(split: TokenizedSplit) -> TokenizedSplit:
    """Return up to four short texts, not all of one length if there are others."""
    order = split.lengths.argsort(stable=True)
    last = len(order) - 1
    rows = order[sorted({0, min(1, last), last // 4, last // 2})]
    if split.lengths[rows[-1]] == split.lengths[rows[0]]:
        rows = torch.cat([rows[:-1], order[-1:]])
    places = [torch.arange(int(split.offsets[row]), int(split.offsets[row + 1])) for row in rows]
    kept = torch.cat(places)
    return TokenizedSplit(
        split.tokens[kept],
        F.pad(split.lengths[rows].cumsum(0), (1, 0)),
        split.labels[rows],
        split.max_length,
        truncated_texts=0,
        truncated_tokens=0,
        types=None if split.types is None else split.types[kept],
    )


def outcome(
    adapted: AdaptedModel, batches: Sequence[TextBatch | Batch], device: torch.device
) -> list[Tensor]:
    """Return the logits of all batches, and the gradients of their loss for what is trained."""
    with torch.enable_grad():
        logits = torch.cat([adapted(on_device(batch.inputs, device)) for batch in batches])
        labels = torch.cat([batch.labels for batch in batches])
        loss = _some_loss(logits, labels.to(device))
        trained = list(adapted.trainable().values())
        gradients = torch.autograd.grad(loss, trained, materialize_grads=True, allow_unused=True)
    return [logits.detach(), *gradients]


def _some_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return a loss that all logits have a part in, whatever the task's own is."""
    if task_of(labels) != "single_label":
        return (logits - 1).square().mean()
    return F.cross_entropy(logits, labels)


def difference(expected: Sequence[Tensor], actual: Sequence[Tensor]) -> float:
    """Return how far outcomes are apart: the largest difference over the largest number.

    A gradient counts by its own largest number; where that is tiny (an attention's key bias has
    none but rounding) by a hundredth of the largest of all gradients.
    """
    largest = [float(tensor.abs().max()) for tensor in expected]
    floor = max(largest[1:], default=0.0) / 100
    scales = [largest[0], *(max(one, floor) for one in largest[1:])]
    apart = [float((a - b).abs().max()) for a, b in zip(expected, actual, strict=True)]
    # Not a number counts as apart, and nothing over nothing does not.
    return max(
        0.0 if gap == 0 else gap / scale if scale and gap == gap else float("inf")
        for gap, scale in zip(apart, scales, strict=True)
    )


def tolerance(like: Tensor) -> float:
    """Return a thousand roundings; they are relative to the largest number, see `difference`."""
    return 1000 * torch.finfo(like.dtype).eps


def why_by_length(adapted: AdaptedModel, data: TextBatches, name: str) -> str | None:
    """Say why texts have to be computed by their length; None if padding is lost on the model.

    A few texts are computed alone, and padded in one batch: logits and gradients are compared. A
    classifier that reads a place by its token, or a model that passes over the mask, shows there.

    Args:
        adapted: where it is, in any mode.
        data: whose training texts are taken.
        name: of the model, for errors.

    Raises:
        ConfigError: the model cannot be computed, an adapter can never learn, or the logits are
            others in a batch whether texts are padded or not.
    """
    split = some_texts(data.splits["train"])
    device = next(adapted.parameters()).device
    rows = torch.arange(len(split))
    twice = torch.cat([rows[:1], rows])  # so that two are of one length in any case
    longest = int(split.lengths.max())
    training = adapted.training
    adapted.eval()
    try:
        singles = [cut(split, row[None], data.pad_token_id) for row in twice]
        alone = outcome(adapted, singles, device)
        refuse_idle(never_learning(adapted, on_device(singles[0].inputs, device)))
        if not all(tensor.isfinite().all() for tensor in alone):
            return None  # of broken numbers nothing can be said; training says so
        apart = 0.0
        for width in sorted({longest, min(longest + _WIDER, split.max_length)}):
            batch = cut(split, twice, data.pad_token_id, width=width)
            apart = max(apart, difference(alone, outcome(adapted, [batch], device)))
        # Large weights let roundings grow; what is computed otherwise differs by far more.
        allowed = max(tolerance(alone[0]), _SURELY_ROUNDING)
        if apart <= allowed:
            return None
        adapted.by_length = True
        exact = difference(alone, outcome(adapted, [cut(split, twice, data.pad_token_id)], device))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        if out_of_memory(error) is not None:
            raise
        raise ConfigError(
            f"model={name} cannot be computed for these texts: {first_line(error)}"
        ) from None
    finally:
        adapted.by_length = False
        adapted.train(training)
    if not exact <= allowed:
        raise ConfigError(
            f"model={name} computes something else for a text in a batch than alone, also without "
            f"padding: logits or gradients differ by {exact:.0e} of the largest; it cannot be "
            "trained here"
        )
    return (
        f"model={name} computes something else for a text that is padded than alone (logits or "
        f"gradients differ by {apart:.0e} of the largest), so texts of each length are computed "
        "apart, without padding: exact, and slower"
    )


def alone_and_padded(model: nn.Module, data: TextBatches, rows: int) -> tuple[Tensor, Tensor]:
    """Return the logits of the first validation texts one at a time, and as batches come.

    Args:
        model: of texts, in evaluation mode.
        data: whose validation texts are taken.
        rows: how many.
    """
    split = data.splits["validation"]
    device = next(model.parameters()).device
    first = torch.arange(min(rows, len(split)))

    @torch.inference_mode()
    def logits(batch: TextBatch) -> Tensor:
        found: Tensor = model(on_device(batch.inputs, device))
        return found.cpu()

    alone = torch.cat([logits(cut(split, row[None], data.pad_token_id)) for row in first])
    return alone, logits(cut(split, first, data.pad_token_id))
