"""The frozen prefix: what the first layers make of a text is computed once, and trained on.

Where the embeddings and the first layers of a model are frozen and unadapted, their output for a
text never changes. Whether the rest of a model computes the same from it is not taken from the
model's name, but tried on a few texts before anything is kept.
"""

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.amounts import duration
from adapterlab.data.batches import SplitName
from adapterlab.data.text import TextBatches, TokenFeatures, cut
from adapterlab.models.protocol import adaptable
from adapterlab.training.few_texts import difference, some_texts, tolerance
from adapterlab.training.few_texts import outcome as logits_and_gradients
from adapterlab.training.prefix.files import GIB, bytes_within, keep
from adapterlab.training.prefix.frozen_layers import FrozenLayers, hash_split
from adapterlab.training.prefix.remembered import Tried, tried
from adapterlab.training.prefix.trial import (
    OffError,
    frozen_layers,
    require_read_again,
    require_same,
)

_SPLITS: tuple[SplitName, ...] = ("train", "validation")


@dataclass(frozen=True)
class Prefix:
    """What came of asking for a frozen prefix.

    Attributes:
        depth: blocks that are not computed while training; 0 if it is off.
        why: the reason then.
        seconds: wall time of trying it out, and of computing or finding the features.
        gib: size of the features of both splits.
        first_token_only: whether one hidden state a text is all that the model looks at.
        found: whether an earlier run had computed them.
        what: of which layers, in words; empty for those of a text.
    """

    depth: int
    why: str
    seconds: float
    gib: float
    first_token_only: bool
    found: bool = False
    what: str = ""

    def beside(self, kept: str) -> "Prefix":
        """Add to why it is off what is kept instead, if anything is."""
        return replace(self, why=f"{self.why}; {kept}") if kept and not self.depth else self

    def described(self) -> str:
        """Say in a few words what is kept, or why nothing is."""
        if not self.depth:
            return f"off: {self.why}"
        tokens = "the first token" if self.first_token_only else "all tokens"
        what = self.what or f"{self.depth} layers of {tokens}"
        origin = "found" if self.found else "computed"
        took = duration(self.seconds)
        return f"{what}, {self.gib:.2f} GiB, {origin} in {took}"


def use_frozen_prefix(
    adapted: AdaptedModel,
    data: TextBatches,
    *,
    cache: Path,
    max_gib: float,
    epochs: int,
    device: torch.device,
    precision: str,
    batch_size: int = 64,
) -> Prefix:
    """Let training and validation batches carry what the frozen layers make of them.

    Features are kept in the cache folder, where all runs with the same frozen layers find them.
    They are computed in the training's precision. The test split, which is read once, has none.

    Args:
        adapted: moved to `device`, and otherwise left as it is.
        data: gets the features; where the prefix is off, it has none afterwards.
        cache: the cache folder; the least recently used features in it give way to new ones.
        max_gib: what all features in the cache may take together.
        epochs: of the training.
        device: where to compute.
        precision: the Trainer's.
        batch_size: texts computed together.
    """
    start = time.perf_counter()
    data.detach()
    training = adapted.training
    try:
        layers = frozen_layers(adapted, device, precision)
        adapted.eval().to(device)
        split = some_texts(data.splits["train"])
        known = [hash_split(split), split.max_length, data.pad_token_id, data.task]
        outcome = tried(adapted, layers, known, cache, lambda: _try_out(adapted, layers, data))
        first_only = outcome.first_token_only
        require_read_again("text", epochs, small=first_only)
        size, found = _attach(layers, data, outcome, cache, max_gib, batch_size)
    except OffError as off:
        return Prefix(0, str(off), time.perf_counter() - start, 0.0, False)
    finally:
        adapted.train(training)
    seconds = time.perf_counter() - start
    return Prefix(layers.depth, "", seconds, size / GIB, first_only, found)


def _try_out(adapted: AdaptedModel, layers: FrozenLayers, data: TextBatches) -> Tried:
    """Compare a batch's logits and gradients with those from features of its texts one by one.

    Raises:
        OffError: the model computes something else from the features.
    """
    depth = layers.depth
    split = some_texts(data.splits["train"])
    rows = torch.arange(len(split))
    batch = cut(split, rows, data.pad_token_id)
    plain = logits_and_gradients(adapted, [batch], layers.device)
    most = tolerance(plain[0])
    unmixed = replace(layers, precision="")

    def apart_with(first_only: bool) -> float:
        shape = (len(split if first_only else split.tokens), hidden.shape[-1])
        values = torch.empty(shape, dtype=hidden.dtype)
        unmixed.fill(values, split, data.pad_token_id, first_only, batch_size=1)
        features = TokenFeatures(values, depth, first_only)
        given = cut(split, rows, data.pad_token_id, features=features)
        return difference(plain, logits_and_gradients(adapted, [given], layers.device))

    try:
        hidden = unmixed(batch)
        apart = apart_with(first_only=False)
    except Exception as error:  # whatever a model does that never expected this
        raise OffError(f"the model cannot go on from layer {depth} ({error})") from None
    if hidden.requires_grad:
        raise OffError(f"layers beside the first {depth} are trained and part of their output")
    require_same(depth, apart, most)
    blocks = adaptable(adapted.model).blocks
    first_only = depth == len(blocks) and apart_with(first_only=True) <= most
    with torch.inference_mode():
        dtype = layers(batch).dtype
    name = str(dtype).removeprefix("torch.")
    return Tried(layers.weights_hash(batch), (hidden.shape[-1],), name, first_only)


def _attach(
    layers: FrozenLayers,
    data: TextBatches,
    outcome: Tried,
    cache: Path,
    max_gib: float,
    batch_size: int,
) -> tuple[int, bool]:
    """Find or compute the features of both splits; return their bytes, and whether all were found.

    Raises:
        OffError: there is no room for them.
    """
    first_only = outcome.first_token_only
    splits = {name: data.splits[name] for name in _SPLITS}
    shapes = {
        name: (len(split if first_only else split.tokens), *outcome.shape)
        for name, split in splits.items()
    }
    total = bytes_within(shapes, outcome.type, max_gib)
    keys = {name: layers.key(outcome.weights, split, first_only) for name, split in splits.items()}
    fills = {
        name: partial(
            layers.fill,
            split=split,
            pad_token_id=data.pad_token_id,
            first_only=first_only,
            batch_size=batch_size,
            title=f"frozen layers of {name}",
        )
        for name, split in splits.items()
    }
    some = {
        name: partial(layers.some, split, data.pad_token_id, first_only)
        for name, split in splits.items()
    }
    kept = keep(cache, keys, shapes, outcome.type, fills, some, max_gib, exact=layers.exact)
    for name, values in kept.values.items():
        data.attach(name, TokenFeatures(values, layers.depth, first_only, layers.mixed))
    return total, kept.found
