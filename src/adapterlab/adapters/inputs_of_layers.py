"""What reaches layers while a model computes a few batches, summed up without keeping it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from adapterlab.adapters.strategy import AdaptedModel


class Seen(ABC):
    """A sum over the inputs of a layer; those that layers have in common are summed up once."""

    @abstractmethod
    def add(self, x: Tensor) -> None:
        """Take in the inputs of a batch, [rows, d_in], on the CPU in float64."""


class Scatter(Seen):
    """The scatter of inputs about their mean, as a matrix M with Mᵀ M = Σ (x - x̄)(x - x̄)ᵀ.

    It has at most two rows an input feature.
    """

    def __init__(self) -> None:
        self.root: Tensor | None = None
        self.mean: Tensor | None = None
        self.count = 0

    def add(self, x: Tensor) -> None:
        """Take in a batch: its own scatter, and that of its mean about the mean so far."""
        mean, count = x.mean(0), len(x)
        parts = [x - mean]
        if self.root is not None and self.mean is not None:
            total = self.count + count
            parts += [self.root, ((self.count * count / total) ** 0.5 * (self.mean - mean))[None]]
            mean = self.mean + (mean - self.mean) * (count / total)
        self.mean, self.count = mean, self.count + count
        self.root = torch.cat(parts)
        if len(self.root) > 2 * x.shape[-1]:
            self.root = torch.linalg.qr(self.root, mode="r").R

    def components(self) -> Tensor:
        """Return the principal components in rows, [min(rows, d_in), d_in], the leading first.

        The entry of each that is largest in magnitude is positive.
        """
        assert self.root is not None
        Vh: Tensor = torch.linalg.svd(self.root, full_matrices=False).Vh
        signs = Vh.gather(1, Vh.abs().argmax(1, keepdim=True)).sign()
        return Vh * signs

    def explained(self) -> Tensor:
        """Return the share of the variance that each principal component explains, from above."""
        assert self.root is not None
        variances: Tensor = torch.linalg.svdvals(self.root).square()
        return variances / variances.sum().clamp_min(torch.finfo(variances.dtype).tiny)


class SecondMoment(Seen):
    """The mean over batches of Σ x xᵀ, each batch divided by its largest input, as PEFT does it."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.batches = 0

    def add(self, x: Tensor) -> None:
        """Take in a batch."""
        largest = x.max().abs()
        x = x / (largest if largest > 0 else 1.0)
        moment = x.mT @ x
        self.total = moment if self.total is None else self.total + moment
        self.batches += 1

    def mean(self) -> Tensor:
        """Return [d_in, d_in]."""
        assert self.total is not None
        return self.total / self.batches


Kind = TypeVar("Kind", bound=Seen)


@torch.no_grad()
def watched(
    model: "AdaptedModel",
    layers: Mapping[str, nn.Module],
    batches: Sequence[Any],
    kind: Callable[[], Kind],
) -> dict[str, Kind]:
    """Return what layers of a model have seen of batches.

    Args:
        model: in evaluation mode.
        layers: by name.
        batches: with `inputs`; padding, by their `attention_mask`, is left out.
        kind: how it is summed up.

    Returns:
        By layer; one object for those that meet the same tensors.
    """
    seen: dict[str, Kind] = {}
    with ExitStack() as stack:
        watch = _Watch(seen, kind)
        for name, layer in layers.items():
            handle = layer.register_forward_pre_hook(watch.of(name))
            stack.callback(handle.remove)
        for batch in batches:
            watch.begin(batch.inputs)
            model(batch.inputs)
    return seen


class _Watch:
    """Hooks that sum up inputs."""

    def __init__(self, seen: dict[str, Any], kind: Callable[[], Seen]) -> None:
        self.seen, self.kind = seen, kind
        self.mask: Tensor | None = None
        self.met: list[tuple[Tensor, Seen]] = []

    def begin(self, inputs: Any) -> None:
        """Start a batch."""
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        self.mask = None if mask is None else mask.bool()
        self.met = []

    def of(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        """Return the hook of a layer."""

        def hook(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            (x, *_) = arguments
            known = next((own for tensor, own in self.met if tensor is x), None)
            own = self.seen.get(name)
            if own is None:
                own = self.seen[name] = self.kind() if known is None else known
            if known is own:  # it has these already
                return
            self.met.append((x, own))
            own.add(self._rows(x).to("cpu", torch.float64))

        return hook

    def _rows(self, x: Tensor) -> Tensor:
        if self.mask is not None and x.shape[:2] == self.mask.shape:
            return x[self.mask]
        return x.reshape(-1, x.shape[-1])
