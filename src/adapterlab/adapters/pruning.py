"""Cutting ranks out of trained low-rank updates: one threshold on the singular values of all.

The update of a layer is s · B A, less a first update where one is subtracted. Its singular values
say how much it changes an input at most; those of all layers are put in one order, and the largest
are kept until a share of the parameters is reached (PARA, Post-Optimization Adaptive Rank
Allocation, https://arxiv.org/abs/2604.27796). Nothing is trained after that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from adapterlab.adapters.methods.dora import DoRA, DoRAConv, DoRALinear
from adapterlab.adapters.methods.lora import LoRA, LoRAConv, LoRALinear
from adapterlab.adapters.rank_budget import options_of_ranks
from adapterlab.adapters.strategy import AdaptedModel, Strategy
from adapterlab.base.errors import ConfigError

_LAYERS = (LoRALinear, LoRAConv, DoRALinear, DoRAConv)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The update of one layer by its singular values, s · B A = U diag(values) Vh.

    Attributes:
        values: the largest first, [k], float64.
        U: [d_out, k].
        Vh: [k, d_in].
        trained: parameters of the factors that were trained.
        least: ranks that have to stay: DoRA's magnitude has no layer without an update.
    """

    values: Tensor
    U: Tensor
    Vh: Tensor
    trained: int
    least: int

    @property
    def cost(self) -> int:
        """Parameters of each rank, d_in + d_out."""
        return len(self.U) + self.Vh.shape[1]


@dataclass(frozen=True)
class Cut:
    """What is left of all updates under one threshold.

    Attributes:
        keep: the share of the factors' parameters that was asked for.
        threshold: the smallest singular value that stays, but for the least rank of a layer.
        ranks: by layer; 0 where nothing stays.
        parameters: of the factors that stay.
        trained: of the factors that were trained.
    """

    keep: float
    threshold: float
    ranks: Mapping[str, int]
    parameters: int
    trained: int

    @property
    def share(self) -> float:
        """Share of the factors' parameters that stays."""
        return self.parameters / self.trained


def why_not_prunable(strategy: Strategy) -> str | None:
    """Say why a strategy has no update that ranks can be cut out of; None if it has."""
    if (
        isinstance(strategy, LoRA)
        and type(strategy).wrap is LoRA.wrap
        and strategy.kinds in (LoRA.kinds, DoRA.kinds)
    ):
        return None
    kind = type(strategy).__name__
    return f"{kind} trains no low-rank update B A; allowed: lora, lora_plus, dora"


def spectra(adapted: AdaptedModel) -> dict[str, Spectrum]:
    """Return the updates of a trained model, by layer in forward order.

    Raises:
        ConfigError: the strategy has none that ranks can be cut out of.
    """
    why = why_not_prunable(adapted.strategy)
    if why is not None:
        raise ConfigError(why)
    found = {}
    for name, layer in adapted.model.named_modules():
        if type(layer) in _LAYERS:
            found[name] = _spectrum(cast(LoRALinear, layer))
    return found


@torch.no_grad()
def _spectrum(layer: LoRALinear) -> Spectrum:
    A, B = (factor.to("cpu", torch.float64) for factor in layer.factors())
    (Q_out, R_out), (Q_in, R_in) = torch.linalg.qr(B), torch.linalg.qr(A.mT)
    U, values, Vh = torch.linalg.svd(R_out @ R_in.mT, full_matrices=False)
    trained = layer.lora_A.numel() + layer.lora_B.numel()
    least = 1 if isinstance(layer, DoRALinear) else 0
    return Spectrum(values, Q_out @ U, Vh @ Q_in.mT, trained, least)


def cut(spectra: Mapping[str, Spectrum], keep: float) -> Cut:
    """Keep the largest singular values of all layers, up to a share of the parameters.

    Args:
        spectra: by layer.
        keep: share of the parameters of the trained factors, above 0 and at most 1.

    Raises:
        ConfigError: the share has no room for one value, or for what has to stay.
    """
    trained = sum(one.trained for one in spectra.values())
    ranks = {name: min(one.least, len(one.values)) for name, one in spectra.items()}
    spent = sum(spectra[name].cost * rank for name, rank in ranks.items())
    needed = max(spent, min(one.cost for one in spectra.values()))
    asked = math.floor(keep * trained + 1e-9 * trained)
    if needed > asked:
        raise ConfigError(
            f"keep={keep:g} has no room for the least that can stay, {needed:,} of {trained:,} "
            f"parameters; allowed: {math.ceil(1e4 * needed / trained) / 1e4:g} to 1"
        )
    rest = sorted(
        (-float(value), place, name)
        for place, (name, one) in enumerate(spectra.items())
        for value in one.values[ranks[name] :]
    )
    threshold = math.inf
    for value, _, name in rest:
        if spent + spectra[name].cost > asked:
            break
        spent += spectra[name].cost
        ranks[name] += 1
        threshold = -value
    return Cut(keep, threshold, ranks, spent, trained)


def pruned_options(adapted: AdaptedModel, ranks: Mapping[str, int]) -> dict[str, Any]:
    """Return the options of `adapter` that give every layer its rank, and those without one none.

    Every factor s stays, so the alphas follow the ranks. First values are no longer subtracted.

    Args:
        adapted: the trained model.
        ranks: by layer, at least one of them above 0.
    """
    strategy = cast(LoRA, adapted.strategy)
    layers = {name: cast(LoRALinear, adapted.model.get_submodule(name)) for name in ranks}
    scales = {name: layer.scale for name, layer in layers.items()}
    options = options_of_ranks(adapted, ranks, scales, strategy.rank)
    return {**options, "init": "kaiming"}


@torch.no_grad()
def take_pruned(
    pruned: AdaptedModel, trained: AdaptedModel, spectra: Mapping[str, Spectrum], cut: Cut
) -> None:
    """Give a model under `pruned_options` what the trained one has, its updates cut.

    Args:
        pruned: of the same base; changed in place.
        trained: where all else comes from: head, magnitudes, what is trained beside.
        spectra: of the trained model.
        cut: what stays.

    Raises:
        ConfigError: names of layers are no patterns that select these layers alone.
    """
    layers = {n: m for n, m in pruned.model.named_modules() if isinstance(m, LoRALinear)}
    ranks = {name: layer.rank for name, layer in layers.items()}
    if ranks != {name: rank for name, rank in cut.ranks.items() if rank}:
        raise ConfigError("the model's layers cannot be told apart by their names, so not cut")
    own, before = pruned.state(), trained.state()
    factors = set[str]()
    for name, layer in layers.items():
        one, rank = spectra[name], layer.rank
        root = one.values[:rank].sqrt()
        layer.lora_A.copy_((root[:, None] * one.Vh[:rank]).view_as(layer.lora_A))
        layer.lora_B.copy_((one.U[:, :rank] * root / layer.scale).view_as(layer.lora_B))
        factors |= {f"{name}.lora_A", f"{name}.lora_B"}
    for name in own.keys() - factors:
        own[name].copy_(before[name])
