"""What a pack takes of memory at most, estimated from a model that has no weights yet.

The estimate is an upper bound with a margin, so that packs which are made to fit do fit; how near
it comes is measured by scripts/benchmarks/memory.py. It counts what is there at the worst moment of
three: while lanes are trained, while they are evaluated, and while a run's files are written.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from adapterlab.adapters.anchors import anchors_of
from adapterlab.adapters.decomposition import KEPT_BYTES
from adapterlab.adapters.frozen import frozen_depth
from adapterlab.adapters.methods.dora import DoRALinear
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer
from adapterlab.adapters.targeted import LinearAdapter, WholeWeight
from adapterlab.adapters.weights import is_linear, sizes
from adapterlab.base.dotted_names import within
from adapterlab.base.errors import first_line
from adapterlab.data.pixels import EVALUATED_ROWS
from adapterlab.models.protocol import adaptable
from adapterlab.packing.known_rows import MOST_BYTES

MARGIN = 1.2
"""What an allocator keeps between tensors, and libraries for their products."""

FIXED = 24 * 2**20
"""Bytes that any pack takes: samples, tables, files on their way."""

_WAITING = 32
"""Batches whose logits wait to be counted; see `adapterlab.training.tally`."""

_IN_FLIGHT, _IN_A_BLOCK, _MORE_OF_WIDE = 5, 8, 2
"""Rows of the widest layer that are there at once: outputs, updates, and gradients of both; in a
transformer's block what attention makes of them, too; of updates that are wide on their
way, as DoRA's and those between singular vectors, what they make of it."""

_SCORES = 3
"""Copies of attention's scores where it drops some: as they are, which ones, and the rest."""


_WORKSPACE = 3
"""Numbers that LAPACK works with to decompose a weight, for each of it and of its vectors."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Load:
    """What a pack works on, besides its model.

    Attributes:
        batch: rows of a training batch.
        evaluated: rows of the largest batch in evaluation.
        tested: examples of the test split.
        tokens: of a row; 1 where a row is one vector.
        classes: of the task.
        moments: numbers that the optimizer keeps for each parameter.
        bytes_per_number: of weights and activations.
        mixed: products are computed in half as many bytes.
        kept_models: whole sets of weights that are kept beside the model while it trains.
        spare_models: whole models that are there for a moment, before or after the training.
        shape: of an image; empty for texts.
        images: that are trained and validated on; 0 for texts, and where nothing is kept of them.
    """

    batch: int
    evaluated: int
    tested: int
    tokens: int
    classes: int
    moments: int
    bytes_per_number: int
    mixed: bool
    kept_models: int
    spare_models: int
    shape: tuple[int, ...] = ()
    images: int = 0


@dataclass(frozen=True)
class PackMemory:
    """Bytes of the parts of a pack, and how much of the model its lanes share.

    Attributes:
        model: weights that are there all the time.
        saving: one lane's copy on its way to a file, and weights in a second format.
        lane: of each lane while it is trained and evaluated: weights, gradients, moments.
        training: what layers make of a batch, of each lane.
        training_shared: likewise, of each stream of data that lanes share.
        evaluating: what layers make of a batch in evaluation, of each lane.
        evaluating_shared: likewise, once for all.
        writing: what is there once while a run's files are written, or a lane is assembled.
        resting: of each lane then.
        own_weights: trained parameters of one lane that are the model's own, outside adapters.
        depth: frozen blocks before the first that is trained or adapted.
        blocks: of the model; both are 0 where lanes share rows whatever the blocks are.
        unknown: why there is no estimate; empty where there is one.
    """

    model: int
    saving: int
    lane: int
    training: int
    training_shared: int
    evaluating: int
    evaluating_shared: int
    writing: int
    resting: int
    own_weights: int
    depth: int
    blocks: int
    unknown: str = ""

    def gib(self, lanes: int, streams: int) -> float:
        """Return the estimate for so many lanes that read so many streams of data, in GiB."""
        trained = self.saving + lanes * self.lane
        worst = max(
            trained + lanes * self.training + streams * self.training_shared,
            trained + lanes * self.evaluating + self.evaluating_shared,
            self.writing + lanes * self.resting,
        )
        return (MARGIN * (self.model + worst) + FIXED) / 2**30


@dataclass(frozen=True)
class _Row:
    """Numbers that layers make of a row's token.

    Attributes:
        kept: for the backward pass, of each lane.
        widest: outputs, or inputs, of the widest layer that each lane has to itself.
        shared: likewise, of the widest layer before these.
        in_flight: rows of a widest layer that are there at once.
    """

    kept: int
    widest: int
    shared: int
    in_flight: int

    @property
    def total(self) -> int:
        """Of the widest of all."""
        return max(self.widest, self.shared)


def pack_memory(adapted: AdaptedModel, load: Load) -> PackMemory:
    """Estimate the memory of a pack; it works on the meta device.

    Args:
        adapted: the model of a lane.
        load: what it works on.
    """
    pixels = adaptable(adapted.model).pixels
    if pixels is not None and load.shape:
        rows = min(load.evaluated, EVALUATED_ROWS)
        load = replace(load, shape=pixels.shape(load.shape), evaluated=rows)
    count, size = adapted.count(), load.bytes_per_number
    depth = frozen_depth(adapted)
    said = adaptable(adapted.model)
    is_chain, blocks = said.is_chain, () if said.is_chain else said.blocks
    row, unknown = _row(adapted, blocks[:depth], is_chain=is_chain), ""
    if load.shape and any(isinstance(m, CONVOLUTIONS) for m in adapted.modules()):
        try:
            row = _row_of_outputs(adapted, load.shape)
        except Exception as error:  # whatever somebody's model does without weights
            unknown = f"its memory cannot be told ({first_line(error)})"
    kept = row.kept + _scores(adapted, blocks[depth:], load.tokens)
    own = sum(
        p.numel()
        for name, module in adapted.model.named_modules()
        if not isinstance(module, AdapterLayer) and not adapted.in_head(name)
        for p in module.parameters(recurse=False)
        if p.requires_grad
    )
    weights, trained = count.total * size, count.trainable * size
    batch, evaluated = (n * load.tokens * size for n in (load.batch, load.evaluated))
    logits = _WAITING * load.evaluated * load.classes * (size + 8)
    frozen = size * sum(  # which lanes may share, or not
        tensor.numel()
        for saved in (False, True)
        for tensor in adapted.frozen_state(saved=saved).values()
    )
    shared, kept_apart, deciding = _of_base(adapted, size)
    frozen -= shared
    largest = max(p.numel() for p in adapted.trainable().values()) * size
    half = 2 if load.mixed else 0  # products keep the weights that they took in half the bytes
    return PackMemory(
        model=(1 + load.kept_models) * weights
        + shared
        + kept_apart
        + min(load.images * size * _known(adapted), MOST_BYTES),
        saving=(2 + load.moments) * trained + weights * half // 4,
        # Of its model, in the pack, the gradient, the best epoch's, and the moments; a gradient is
        # there twice while it is brought into its parameter's layout.
        lane=(4 + load.moments) * trained
        + largest
        + trained * half // 4
        + 2 * frozen
        + (_whole_weights(adapted) + _anchors(adapted)) * size,
        training=batch * (kept + row.in_flight * row.widest),
        training_shared=batch * row.in_flight * row.shared,
        evaluating=evaluated * row.in_flight * row.widest + logits,
        evaluating_shared=evaluated * row.in_flight * row.shared,
        writing=load.spare_models * weights + deciding + evaluated * row.in_flight * row.total,
        resting=3 * trained + frozen + 3 * load.tested * load.classes * size,
        own_weights=own,
        depth=depth,
        blocks=len(blocks),
        unknown=unknown,
    )


def _known(adapted: AdaptedModel) -> int:
    """Count what is kept of a row once frozen matrices of the first layer have met it."""
    said = adaptable(adapted.model)
    layers = adapted.model.modules() if said.is_chain else ()
    first = next((m for m in layers if isinstance(m, AdapterLayer) or is_linear(m)), None)
    if first is None:
        return 0
    _, d_out = sizes(first.base if isinstance(first, AdapterLayer) else first)
    return d_out + (first.inner if isinstance(first, LinearAdapter) else 0)


def _anchors(adapted: AdaptedModel) -> int:
    """Count what a lane keeps of the base's weights beside those that it trains."""
    return 2 * sum(tensor.numel() for tensor in anchors_of(adapted).values())


def _whole_weights(adapted: AdaptedModel) -> int:
    """Count what a lane makes of the base's weights in each step, and gradients of it."""
    layers = [module for module in adapted.modules() if isinstance(module, WholeWeight)]
    return sum(layer.matrices * math.prod(sizes(layer.base)) for layer in layers)


def _of_base(adapted: AdaptedModel, size: int) -> tuple[int, int, int]:
    """Return bytes of what adapters are made of from the base, which lanes share.

    Returns:
        Of frozen state, of decompositions that are kept apart from it, and of the largest weight
        while it is decomposed, in float64.
    """
    shared = apart = largest = 0
    for module in adapted.modules():
        if not isinstance(module, LinearAdapter):
            continue
        shared += sum(getattr(module, name).numel() for name in module.of_base)
        if module.singular:
            d_in, d_out = sizes(module.base)
            vectors = min(d_in, d_out) * (d_in + d_out)
            apart += 0 if module.of_base else vectors
            largest = max(largest, _WORKSPACE * (vectors + d_in * d_out))
    return shared * size, min(apart * size, KEPT_BYTES), 8 * largest


def _row(adapted: AdaptedModel, frozen: tuple[str, ...], *, is_chain: bool) -> _Row:
    modules = dict(adapted.model.named_modules())
    dropping = any(isinstance(m, nn.Dropout) and m.p > 0 for m in modules.values())
    both = dropping or any(isinstance(m, nn.GELU | nn.SiLU) for m in modules.values())
    # A nonlinearity keeps its input or its output, and what follows keeps its own input; in a
    # block, sums and norms keep theirs.
    times = (1 + both) if is_chain else 3
    kept, widest, shared, is_shared = 0, 1, 1, is_chain
    for name, module in modules.items():
        if not is_linear(module):
            continue
        d_in, d_out = sizes(module)
        layer = modules[name.rpartition(".")[0]] if name.endswith(".base") else module
        is_shared = is_shared and not (
            isinstance(layer, AdapterLayer) or any(p.requires_grad for p in layer.parameters())
        )
        if is_shared or within(name, frozen):
            shared = max(shared, d_in, d_out)
            continue
        if not kept:
            shared = max(shared, d_in)
        widest = max(widest, d_out, d_in if kept else 1)
        kept += (times + isinstance(layer, DoRALinear)) * d_out
        if isinstance(layer, LinearAdapter):
            kept += 2 * layer.inner + d_out
            widest = max(widest, layer.inner)
    wide = any(isinstance(module, DoRALinear | LinearAdapter) for module in modules.values())
    in_flight = _IN_FLIGHT if is_chain else _IN_A_BLOCK
    return _Row(kept, widest, shared, in_flight + _MORE_OF_WIDE * wide)


def _row_of_outputs(adapted: AdaptedModel, shape: tuple[int, ...]) -> _Row:
    """Count what the layers give for one image: convolutions have as many outputs as places.

    Lanes share none of it, and from the first trained layer on, gradients need all of it.
    """
    outputs: list[int] = []
    kept: list[int] = []

    def note(layer: nn.Module, arguments: object, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.append(output.numel())
            if kept or any(p.requires_grad for p in layer.parameters()):
                kept.append(output.numel())

    leaves = [m for m in adapted.modules() if isinstance(m, AdapterLayer) or not list(m.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    weight, training = next(adapted.parameters()), adapted.training
    try:
        with torch.no_grad():
            adapted.eval()(weight.new_empty(1, *shape))
    finally:
        adapted.train(training)
        for hook in hooks:
            hook.remove()
    widest = max(math.prod(shape), *outputs)
    return _Row(kept=2 * sum(kept), widest=widest, shared=1, in_flight=_IN_FLIGHT)


def _scores(adapted: AdaptedModel, blocks: tuple[str, ...], tokens: int) -> int:
    """Return the numbers that attention keeps of a token where its dropout is on."""
    said = adaptable(adapted.model)
    parts = map(adapted.model.get_submodule, blocks)
    dropping = [
        part
        for part in parts
        if said.frozen_dropout or all(p.requires_grad for p in part.parameters())
    ]
    return _SCORES * said.attention_heads * tokens * len(dropping)
