"""The frozen prefix of images: what frozen layers make of an image, computed once.

For `head` that is what the classifier takes, a vector or so an image. It is exact where images are
not augmented and nothing in the frozen layers is random, which is tried out on a few images, logits
and gradients, before anything is kept.
"""

import json
import time
from functools import partial
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.cache import spread
from adapterlab.base.revision import version_of
from adapterlab.data.batches import SplitName, on_device
from adapterlab.data.images import Batch, ImageBatches, ImageFeatures, RawBatch
from adapterlab.data.pixels import EVALUATED_ROWS
from adapterlab.data.splits import ImageSplit
from adapterlab.models.protocol import adaptable
from adapterlab.training.few_texts import difference, tolerance
from adapterlab.training.few_texts import outcome as logits_and_gradients
from adapterlab.training.prefix.files import GIB, bytes_within, keep
from adapterlab.training.prefix.frozen_layers import COMPARED, FrozenLayers, with_progress
from adapterlab.training.prefix.frozen_prefix import Prefix
from adapterlab.training.prefix.remembered import Tried, tried
from adapterlab.training.prefix.trial import (
    OffError,
    frozen_layers,
    require_read_again,
    require_same,
)

_FORMAT = 1  # raise it whenever features change, so that older files are left alone
_SPLITS: tuple[SplitName, ...] = ("train", "validation")
_TRIED = 4  # images


def use_image_prefix(
    adapted: AdaptedModel,
    data: ImageBatches,
    *,
    cache: Path,
    max_gib: float,
    epochs: int,
    device: torch.device,
    precision: str,
) -> Prefix:
    """Let training and validation batches carry what the frozen layers make of their images.

    Args:
        adapted: moved to `device`, and otherwise left as it is.
        data: gets the features; where the prefix is off, it has none afterwards.
        cache: the cache folder; the least recently used features in it give way to new ones.
        max_gib: what all features in the cache may take together.
        epochs: of the training.
        device: where to compute.
        precision: the Trainer's.
    """
    start = time.perf_counter()
    data.detach()
    training = adapted.training
    try:
        layers = frozen_layers(adapted, device, precision)
        at_head = layers.depth > len(adaptable(adapted.model).blocks)
        _require_unchanged(data)
        require_read_again("image", epochs, small=at_head)
        adapted.to(device)
        few, said = data.splits["train"].images[:_TRIED], data.normalize
        known = [sha256(few.contiguous().numpy().data).hexdigest(), list(few.shape)]
        known += [str(data.pixels), said.mean, said.std, str(data.dtype), data.task]
        outcome = tried(adapted, layers, known, cache, lambda: _try_out(adapted, layers, data))
        adapted.eval()
        size, found = _attach(layers, data, outcome, cache, max_gib)
    except OffError as off:
        return Prefix(0, str(off), time.perf_counter() - start, 0.0, False)
    finally:
        adapted.train(training)
    what = "all before the head" if at_head else f"{layers.depth} layers"
    seconds = time.perf_counter() - start
    return Prefix(layers.depth, "", seconds, size / GIB, False, found, what)


def _require_unchanged(data: ImageBatches) -> None:
    if data.augments:
        raise OffError("images are augmented, and so are others in every epoch")


def _try_out(adapted: AdaptedModel, layers: FrozenLayers, data: ImageBatches) -> Tried:
    """Compare the logits and gradients of a few images with those from features of them.

    Raises:
        OffError: the model computes something else from the features, or they are random.
    """
    batch = _prepared(data, data.splits["train"], slice(_TRIED), layers.device)
    plain = logits_and_gradients(adapted.eval(), [batch], layers.device)
    most = tolerance(plain[0])
    try:
        hidden = layers.unmixed(batch)
        given = Batch({"hidden_states": hidden.detach(), "depth": layers.depth}, batch.labels)
        apart = difference(plain, logits_and_gradients(adapted, [given], layers.device))
        with torch.no_grad():
            adapted.train()  # where what is frozen, and that alone, is as it is in evaluation
            moving = difference([hidden], [layers.unmixed(batch)])
    except Exception as error:  # whatever a model does that never expected this
        raise OffError(f"the model cannot go on from layer {layers.depth} ({error})") from None
    if hidden.requires_grad:
        raise OffError(f"layers beside the first {layers.depth} are trained and part of them")
    if not moving <= most:
        raise OffError("what the frozen layers give while training is random")
    require_same(layers.depth, apart, most)
    adapted.eval()
    with torch.inference_mode():
        dtype = layers(batch).dtype
    name = str(dtype).removeprefix("torch.")
    return Tried(layers.weights_hash(batch), tuple(hidden.shape[1:]), name)


def _attach(
    layers: FrozenLayers, data: ImageBatches, outcome: Tried, cache: Path, max_gib: float
) -> tuple[int, bool]:
    """Find or compute the features of both splits; return their bytes, and whether all were found.

    Raises:
        OffError: there is no room for them.
    """
    splits = {name: data.splits[name] for name in _SPLITS}
    shapes = {name: (len(split), *outcome.shape) for name, split in splits.items()}
    total = bytes_within(shapes, outcome.type, max_gib)
    keys = {name: _key(layers, outcome.weights, split, data) for name, split in splits.items()}
    fills = {
        name: partial(_fill, split=split, layers=layers, data=data, title=f"features of {name}")
        for name, split in splits.items()
    }
    some = {name: partial(_some, split, layers, data) for name, split in splits.items()}
    kept = keep(cache, keys, shapes, outcome.type, fills, some, max_gib, exact=layers.exact)
    for name, values in kept.values.items():
        data.attach(name, ImageFeatures(values, layers.depth, layers.mixed))
    return total, kept.found


@torch.inference_mode()
def _fill(
    values: Tensor, split: ImageSplit, layers: FrozenLayers, data: ImageBatches, title: str
) -> None:
    starts = range(0, len(split), EVALUATED_ROWS)
    for start in with_progress(starts, title):
        rows = slice(start, start + EVALUATED_ROWS)
        values[rows] = layers(_prepared(data, split, rows, layers.device)).cpu()


@torch.inference_mode()
def _some(split: ImageSplit, layers: FrozenLayers, data: ImageBatches) -> tuple[Tensor, Tensor]:
    """Return the rows of a few images, and their features."""
    rows = spread(len(split), COMPARED)
    return rows, layers(_prepared(data, split, rows, layers.device)).cpu()


def _prepared(
    data: ImageBatches, split: ImageSplit, rows: slice | Tensor, device: torch.device
) -> Batch:
    cut = RawBatch(split.images[rows], split.labels[rows], None)
    return data.prepared(on_device(cut, device))


def _key(layers: FrozenLayers, weights: str, split: ImageSplit, data: ImageBatches) -> str:
    """Return a digest of all that the features of a split depend on."""
    images = sha256(split.images.contiguous().numpy().data).hexdigest()
    parts = [
        *("images", _FORMAT, weights, adaptable(layers.model).architecture, layers.depth),
        *(images, list(split.images.shape), data.pixels, data.normalize.mean, data.normalize.std),
        *(layers.precision, layers.device.type, str(data.dtype)),
        *(torch.__version__, version_of("transformers")),
    ]
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
