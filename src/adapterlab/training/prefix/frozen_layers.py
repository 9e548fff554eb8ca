"""The frozen layers of a classifier as a function from inputs to features, with a name."""

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from adapterlab.adapters.strategy import hash_weights
from adapterlab.base.cache import spread
from adapterlab.base.revision import version_of
from adapterlab.data.batches import on_device
from adapterlab.data.images import Batch
from adapterlab.data.text import OrderedByLength, TextBatch, cut
from adapterlab.data.tokens import TokenizedSplit
from adapterlab.models.protocol import adaptable
from adapterlab.training.hardware import MIXED, autocast

T = TypeVar("T")

COMPARED = 4
"""Examples that are computed once more before features of others are taken."""

_FORMAT = 1  # raise it whenever features change, so that older files are left alone


@dataclass(frozen=True)
class FrozenLayers:
    """The embeddings and first blocks of a model in evaluation mode, and how they are computed.

    Args:
        model: gives hidden states.
        depth: how many blocks.
        device: where the model is.
        precision: the Trainer's; the mixed ones autocast.
    """

    model: nn.Module
    depth: int
    device: torch.device
    precision: str

    def __call__(self, batch: TextBatch | Batch) -> Tensor:
        """Return their output, of texts [batch, tokens, hidden]."""
        with autocast(self.device, self.precision):
            return self.unmixed(batch)

    def unmixed(self, batch: TextBatch | Batch) -> Tensor:
        """Return the same in the precision of the weights."""
        states = adaptable(self.model).hidden_states
        assert states is not None
        return states(on_device(batch.inputs, self.device), self.depth)

    @property
    def mixed(self) -> bool:
        """Whether they are computed in half precision, which evaluation is not."""
        return self.precision in MIXED

    @property
    def exact(self) -> bool:
        """Whether nothing but the order of sums tells one machine's output from another's."""
        return self.device.type == "cpu" and self.precision in ("32-true", "64-true")

    @torch.inference_mode()
    def some(
        self, split: TokenizedSplit, pad_token_id: int, first_only: bool
    ) -> tuple[Tensor, Tensor]:
        """Return where a few texts have their features in what `fill` writes, and these."""
        rows = spread(len(split), COMPARED)
        return self._features(split, rows, pad_token_id, first_only)

    def _features(
        self, split: TokenizedSplit, rows: Tensor, pad_token_id: int, first_only: bool
    ) -> tuple[Tensor, Tensor]:
        batch = cut(split, rows, pad_token_id)
        hidden = self(batch).cpu()
        if first_only:
            return rows, hidden[:, 0]
        real = batch.inputs["attention_mask"].bool()
        places = split.offsets[rows, None] + torch.arange(real.shape[1])
        return places[real], hidden[real]

    @torch.inference_mode()
    def fill(
        self,
        values: Tensor,
        split: TokenizedSplit,
        pad_token_id: int,
        first_only: bool,
        batch_size: int,
        title: str | None = None,
    ) -> None:
        """Write the features of a split, laid out as `TokenFeatures` says, with a progress bar."""
        draws = list(OrderedByLength(split.lengths, batch_size))
        for rows in with_progress(draws, title):
            places, features = self._features(split, rows, pad_token_id, first_only)
            values[places] = features

    def weights_hash(self, batch: TextBatch | Batch) -> str:
        """Return a digest of the weights that the output depends on, wherever they are.

        Which those are is read off the graph that autograd builds: relative positions, say, are
        embedded beside the blocks.
        """
        parameters = dict(self.model.named_parameters())
        asked = {name: parameter.requires_grad for name, parameter in parameters.items()}
        try:
            self.model.requires_grad_(True)
            with torch.enable_grad():
                output = self.unmixed(batch)
        finally:
            for name, parameter in parameters.items():
                parameter.requires_grad_(asked[name])
        used, seen, ahead = set(), set(), [output.grad_fn]
        while ahead:
            node = ahead.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            used.add(id(getattr(node, "variable", None)))
            ahead.extend(before for before, _ in node.next_functions)
        unused = (name for name, parameter in parameters.items() if id(parameter) not in used)
        return hash_weights(self.model, without=tuple(unused))

    def key(self, weights: str, split: TokenizedSplit, first_only: bool) -> str:
        """Return a digest of all that the features of a split depend on."""
        parts = [
            _FORMAT,
            weights,
            adaptable(self.model).architecture,
            self.depth,
            first_only,
            *hash_split(split),
            self.precision,
            self.device.type,
            torch.__version__,
            version_of("transformers"),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def hash_split(split: TokenizedSplit) -> list[str]:
    """Return digests of a split's tokens, of where texts begin, and of types if they have them."""
    parts = [split.tokens, split.offsets, *(() if split.types is None else (split.types,))]
    return [hashlib.sha256(part.numpy().data).hexdigest() for part in parts]


def with_progress(steps: Sequence[T], title: str | None) -> Iterable[T]:
    """Yield the steps under a progress bar, if there is a title, and a terminal to show it on."""
    quiet = title is None or not sys.stderr.isatty()
    console = Console(stderr=True)
    return track(steps, title or "", console=console, transient=True, disable=quiet)
