"""First values of low-rank updates that come from the first batches of the training.

| init | from | first values |
| --- | --- | --- |
| `lora_ga` | gradients of the weights | Wang et al. 2024, 2407.05000: G = U S Vᵀ; A = Vᵀ[:r], |
| | | B = d_out^¼ / √γ · (U S)[:, r:2r], subtracted; PEFT's direction ArB2r, scale "stable" |
| `eva` | inputs of the layers | Paischer et al. 2024, 2410.07170: A the leading r principal |
| | | components of the layer's inputs, B zero |
| `corda` | inputs of the layers | Yang et al. 2024, 2406.05223: C = E[x xᵀ], W C = U S Vᵀ; |
| | | A = √(S/s) Vᵀ C⁻¹, B = U √(S/s), of the largest r triples ("ipm") or the |
| | | smallest ("kpm"), subtracted |
| `gora` | gradients of the weights | He et al. 2025, 2502.12171: A as it is drawn, |
| | | s B = -γ √(d_in / r) G Aᵀ (A Aᵀ)⁻¹, so that the first update is G on the rows of A, |
| | | as far as a step of gradient descent goes; it is not subtracted |

Where a matrix has fewer triples than are wanted, the rows of A that are left keep LoRA's first
values, and the columns of B are zero. Padding of texts is left out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from adapterlab.adapters.factors import Init
from adapterlab.adapters.hooks import Hooks
from adapterlab.adapters.inputs_of_layers import Scatter, SecondMoment, Seen, watched
from adapterlab.adapters.methods.lora_layers import LoRALinear
from adapterlab.adapters.weights import is_convolution, is_transposed, matrix
from adapterlab.base.errors import ConfigError, allowed

if TYPE_CHECKING:
    from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer

FROM_DATA: tuple[Init, ...] = ("lora_ga", "eva", "corda", "gora")

_FROM_GRADIENTS: tuple[Init, ...] = ("lora_ga", "gora")

CordaMethod = Literal["ipm", "kpm"]
"""Which triples: the largest, to learn the task at hand, or the smallest, to keep the others."""

STABLE_GAMMA = 16.0

_DAMPING, _MOST_ERROR = 0.01, 0.05  # PEFT's


@dataclass(frozen=True, kw_only=True)
class FromData(Hooks):
    """The part of LoRA that makes first values from data.

    Args:
        init_batches: how many batches they are made from.
        corda_method: `ipm` or `kpm`, for `init="corda"`.
        gora_gamma: γ, how far the first update goes, for `init="gora"`.
    """

    init: Init = "kaiming"
    init_batches: int = 8
    corda_method: CordaMethod = "ipm"
    gora_gamma: float = 0.05

    def check_data(self) -> None:
        """Refuse options outside their domain.

        Raises:
            ConfigError: there are such.
        """
        if self.init_batches < 1:
            raise ConfigError(f"adapter.init_batches={self.init_batches} must be 1 or more")
        if self.corda_method not in get_args(CordaMethod):
            raise ConfigError(
                f"adapter.corda_method={self.corda_method}; "
                f"{allowed(self.corda_method, get_args(CordaMethod))}"
            )
        if not 0 < self.gora_gamma < math.inf:
            raise ConfigError(f"adapter.gora_gamma={self.gora_gamma:g} must be above 0 and finite")

    @property
    def first_batches(self) -> int:
        """How many batches first values are made from."""
        return self.init_batches if self.init in FROM_DATA else 0

    @property
    def of_classes(self) -> str | None:
        """Those from gradients, which are of cross-entropy."""
        return f"adapter.init={self.init}" if self.init in _FROM_GRADIENTS else None

    def first_values(
        self, model: "AdaptedModel", batches: Sequence[Any], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return A and B of every layer, and the copies of them that are subtracted."""
        layers = {
            name: module
            for name, module in model.model.named_modules()
            if isinstance(module, LoRALinear)
        }
        made = {"lora_ga": _lora_ga, "eva": _eva}.get(self.init)
        if made is not None:
            found = made(model, layers, batches)
        elif self.init == "gora":
            found = _gora(model, layers, batches, self.gora_gamma)
        else:
            found = _corda(model, layers, batches, self.corda_method)
        values = {}
        for name, (A, B) in found.items():
            layer = layers[name]
            values[f"{name}.lora_A"] = A.view_as(layer.lora_A).to(layer.lora_A)
            values[f"{name}.lora_B"] = B.view_as(layer.lora_B).to(layer.lora_B)
            if layer.less_first:
                values[f"{name}.first_A"] = values[f"{name}.lora_A"].clone()
                values[f"{name}.first_B"] = values[f"{name}.lora_B"].clone()
        return values


Layers = Mapping[str, LoRALinear]
Factors = dict[str, tuple[Tensor, Tensor]]
"""A [rank, d_in] and B [d_out, rank] by layer."""


def _lora_ga(model: "AdaptedModel", layers: Layers, batches: Sequence[Any]) -> Factors:
    found: Factors = {}
    for name, G in gradients(model, layers, batches).items():
        A, B = _plain(layers[name])
        rank, (U, S, Vh) = len(A), torch.linalg.svd(G, full_matrices=False)
        A[: len(Vh[:rank])] = Vh[:rank]
        second = (U * S)[:, rank : 2 * rank]
        B[:, : second.shape[1]] = second * (len(B) ** 0.25 / STABLE_GAMMA**0.5)
        found[name] = A, B
    return found


def _eva(model: "AdaptedModel", layers: Layers, batches: Sequence[Any]) -> Factors:
    found: Factors = {}
    for name, seen in watched(model, layers, batches, Scatter).items():
        A, B = _plain(layers[name])
        leading = seen.components()[: len(A)]
        A[: len(leading)] = leading
        found[name] = A, B
    return found


def _corda(
    model: "AdaptedModel", layers: Layers, batches: Sequence[Any], method: CordaMethod
) -> Factors:
    found: Factors = {}
    inverted: dict[Seen, tuple[Tensor, Tensor]] = {}
    for name, seen in watched(model, layers, batches, SecondMoment).items():
        if seen not in inverted:
            inverted[seen] = damped(seen.mean())
        C, C_inverse = inverted[seen]
        layer = layers[name]
        A, B = _plain(layer)
        W = matrix(layer.base).detach().to("cpu", torch.float64)
        U, S, Vh = torch.linalg.svd(W @ C, full_matrices=False)
        there = min(len(A), len(S))
        chosen = slice(there) if method == "ipm" else slice(len(S) - there, None)
        root = (S[chosen] / layer.scale).sqrt()
        A[:there], B[:, :there] = root[:, None] * (Vh @ C_inverse)[chosen], U[:, chosen] * root
        found[name] = A, B
    return found


def _gora(model: "AdaptedModel", layers: Layers, batches: Sequence[Any], gamma: float) -> Factors:
    found: Factors = {}
    for name, G in gradients(model, layers, batches).items():
        A, _ = _plain(layers[name])
        far = gamma * math.sqrt(A.shape[1] / len(A)) / layers[name].scale
        found[name] = A, -far * (G @ torch.linalg.pinv(A))
    return found


def _plain(layer: LoRALinear) -> tuple[Tensor, Tensor]:
    """Return LoRA's first values, A as it was drawn and B zero, as matrices in float64."""
    A, B = (p.detach().flatten(1).to("cpu", torch.float64) for p in (layer.lora_A, layer.lora_B))
    return A.clone(), torch.zeros_like(B)


def cross_entropy(model: "AdaptedModel", batch: Any) -> Tensor:
    """Return the mean loss of a batch that gradients are of, whatever the run's, as in papers.

    Raises:
        ConfigError: labels are no classes.
    """
    require_classes(model.strategy, batch.labels)
    return F.cross_entropy(model(batch.inputs), batch.labels)


def require_classes(strategy: Any, labels: Tensor) -> None:
    """Refuse labels that are no classes, of which a method has no gradient.

    Raises:
        ConfigError: they are such.
    """
    if labels.ndim != 1 or labels.is_floating_point():
        raise ConfigError(
            f"{type(strategy).__name__} takes gradients of a loss of classes before the training, "
            f"and this task has {'several labels' if labels.ndim > 1 else 'numbers'}; allowed: "
            "task=single_label"
        )


def gradients(
    model: "AdaptedModel",
    layers: "Mapping[str, AdapterLayer]",
    batches: Sequence[Any],
    loss_of: Callable[["AdaptedModel", Any], Tensor] = cross_entropy,
) -> dict[str, Tensor]:
    """Return the mean gradient of each base weight as a matrix, [d_out, d_in].

    Args:
        model: in evaluation mode.
        layers: adapters by name.
        batches: of the training.
        loss_of: the loss of a batch, a scalar.
    """
    weights = {name: cast(Tensor, layer.base.weight) for name, layer in layers.items()}
    found = {
        name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()
    }
    for weight in weights.values():
        weight.requires_grad_(True)
    try:
        for batch in batches:
            loss = loss_of(model, batch)
            names, own = zip(*weights.items(), strict=True)
            of_batch = torch.autograd.grad(loss, own, allow_unused=True, materialize_grads=True)
            for name, gradient in zip(names, of_batch, strict=True):
                found[name] += gradient / len(batches)
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
    as_matrices = {}
    for name, G in found.items():
        turned = G.mT if is_transposed(layers[name].base) else G.flatten(1)
        as_matrices[name] = turned.cpu()
    return as_matrices


def damped(C: Tensor) -> tuple[Tensor, Tensor]:
    """Return C with as much added to its diagonal as its inverse needs, and that, as PEFT does."""
    identity = torch.eye(len(C), dtype=C.dtype)
    damping = _DAMPING
    while True:
        fixed = C + identity * (C.diagonal().mean() * damping)
        inverse = torch.linalg.inv(fixed)
        if torch.dist(fixed @ inverse, identity) < _MOST_ERROR:
            return fixed, inverse
        damping *= 2


def check_layer(init: Init, layer: torch.nn.Module) -> None:
    """Refuse first values that a layer cannot have.

    Raises:
        ConfigError: they come from the inputs of linear layers, and it is a convolution.
    """
    if init in ("eva", "corda") and is_convolution(layer):
        raise ConfigError(
            f"adapter.init={init} is of linear layers, and a target is a convolution; allowed "
            "there: kaiming, gaussian, pissa, milora, olora, lora_ga, gora"
        )
