"""Diff pruning: a difference to the weights that is kept sparse, then cut to a share of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.hooks import ByRole, Moment
from adapterlab.adapters.seeded_dropout import SeededDropout
from adapterlab.adapters.strategy import AdapterLayer
from adapterlab.adapters.targeted import OnLayers, WholeWeight, Wrapping, require_linear
from adapterlab.adapters.weights import matrix
from adapterlab.base.errors import ConfigError

if TYPE_CHECKING:
    from adapterlab.adapters.strategy import AdaptedModel

STRETCH = 1.5
"""Gates are stretched to [-1.5, 1.5] before they are cut to [0, 1]; a gate of α is not zero with
probability σ(α) then."""

_LEAST = 1e-4
"""How near to 0 and 1 what is drawn may come, as in the published code."""


class DiffPruningLinear(WholeWeight):
    """Diff pruning (Guo et al. 2021, https://arxiv.org/abs/2012.07463): y = (W + z ∘ D) x + b.

    z is a gate for each weight, hard-concrete (Louizos et al. 2018): of s = σ(logit(u) + α) with u
    drawn anew in each step, min(1, max(0, 3 s - 1.5)); outside of training u is ½. With `grouped`
    it is times a gate for the whole matrix. Once it is cut, z is 1 where a weight is kept, or 0.

    Shapes: x [..., d_in], W, D and α [d_out, d_in], y [..., d_out]. Saved beside: which are kept,
    [d_out, d_in], and whether it was cut, [1], both 1 or 0.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        first: value of every α at the start.
        grouped: whether there is a gate for the whole matrix.
    """

    matrices = 6
    roles: ClassVar[Mapping[str, str]] = {"diff_gate": "gate", "diff_group": "gate"}

    diff_group: Tensor | None
    diff_kept: Tensor
    diff_cut: Tensor

    def __init__(self, base: nn.Module, *, first: float, grouped: bool) -> None:
        super().__init__(base)
        W = matrix(base).detach()
        self.noise = SeededDropout(0.0)
        self.diff = nn.Parameter(W.new_zeros(W.shape))
        self.diff_gate = nn.Parameter(W.new_full(W.shape, first))
        group = nn.Parameter(W.new_full((1,), first)) if grouped else None
        self.register_parameter("diff_group", group)
        self.keep_frozen("diff_kept", W.new_ones(W.shape), saved=True)
        self.keep_frozen("diff_cut", W.new_zeros(1), saved=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]; while training, by gates that are drawn."""
        noises = self.draws() if self.training else (None, None)
        return F.linear(x, self._matrix(*noises), cast(Tensor | None, self.base.bias))

    def draws(self) -> tuple[Tensor, Tensor | None]:
        """Draw u of each weight, and of the whole."""
        of_each = self.noise.uniform(self.diff_gate)
        return of_each, None if self.diff_group is None else self.noise.uniform(self.diff_group)

    def adapted_matrix(self) -> Tensor:
        """Return W + z ∘ D as it is outside of training; gradients flow."""
        return self._matrix(None, None)

    def _matrix(self, of_each: Tensor | None, of_group: Tensor | None) -> Tensor:
        z = gates(self.diff_gate, of_each)
        if self.diff_group is not None:
            z = z * gates(self.diff_group, of_group)
        return matrix(self.base) + torch.where(self.diff_cut > 0, self.diff_kept, z) * self.diff

    def describe(self) -> str:
        """Say how many weights are left, once it is cut."""
        if self.diff_cut.is_meta or not self.diff_cut.any():
            return "diff pruning, not cut"
        count, total = int(self.diff_kept.sum()), self.diff_kept.numel()
        return f"diff pruning, {count:,} weights, {count / total:.1%}"


def gates(alpha: Tensor, u: Tensor | None) -> Tensor:
    """Return hard-concrete gates of α, as they are drawn by u, or as they are in the middle."""
    noise = 0.0 if u is None else torch.logit(u.clamp(_LEAST, 1 - _LEAST))
    return (2 * STRETCH * torch.sigmoid(noise + alpha) - STRETCH).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class DiffPruning(OnLayers):
    """Train a sparse difference to frozen weights (Guo et al. 2021, arXiv:2012.07463).

    First gates and differences are trained together, and `penalty` times how many gates are
    expected to be open is added to the loss. Then, once, the largest z ∘ D of all layers together
    are kept and what they were multiplied with is made part of them, the others are zero, and those
    that are kept are trained on. The paper trains anew from there; when, for how long, and with
    which optimizer is left to its readers. Here it is one training under one schedule. Its gates
    have a rate of their own, 0.1, whatever that of the rest is; here it follows the run's.

    Args:
        share: of the weights of all adapted layers that is kept.
        cut: share of the training's steps before it is cut.
        penalty: of an open gate; the paper's for BERT.
        first_gate: α at the start; with the paper's 5, all but a few gates are open.
        gate_rate: what the run's rate is multiplied by for gates.
        grouped: whether each matrix has a gate of its own besides: the paper's structured variant.
        **targeted: `head`, `targets` and `layers`, as for LoRA.
    """

    share: float = 0.005
    cut: float = 0.5
    penalty: float = 1.25e-7
    first_gate: float = 5.0
    gate_rate: float = 100.0
    grouped: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("share", "cut"):
            if not 0 < (value := getattr(self, option)) < 1:
                raise ConfigError(f"adapter.{option}={value:g} must be above 0 and below 1")
        if not 0 <= self.penalty < math.inf:
            raise ConfigError(f"adapter.penalty={self.penalty:g} must be 0 or more, and finite")
        if not math.isfinite(self.first_gate):
            raise ConfigError(f"adapter.first_gate={self.first_gate:g} must be finite")
        if not 0 < self.gate_rate < math.inf:
            raise ConfigError(f"adapter.gate_rate={self.gate_rate:g} must be above 0 and finite")

    def wrapping(self, model: nn.Module, generator: torch.Generator) -> Wrapping:
        """Return what adds a difference to a layer's weight."""

        def wrap(name: str, layer: nn.Module) -> AdapterLayer:
            require_linear("diff_pruning", name, layer)
            return DiffPruningLinear(layer, first=self.first_gate, grouped=self.grouped)

        return wrap

    def by_role(self) -> Mapping[str, ByRole]:
        """Return the rate of gates, which do not decay."""
        return {"gate": ByRole(rate=self.gate_rate, weight_decay=0.0)}

    def extra_loss(self, moment: Moment) -> Tensor | None:
        """Return the penalty of the gates that are expected to be open, until they are cut."""
        if not self.penalty or moment.step >= self._cut_after(moment.total):
            return None
        names = ("diff_gate", "diff_group")
        found = [t for name, t in moment.parameters.items() if name.endswith(names)]
        return self.penalty * torch.stack([torch.sigmoid(alpha).sum() for alpha in found]).sum()

    def after_step(self, moment: Moment) -> None:
        """Cut, when it is time, and leave what was cut at zero from then on."""
        cut_after = self._cut_after(moment.total)
        if moment.step < cut_after:
            return
        layers = [name[: -len("diff")] for name in moment.parameters if name.endswith("diff")]
        if moment.step == cut_after:
            self._cut(moment, layers)
        for layer in layers:
            moment.parameters[f"{layer}diff"].mul_(moment.frozen[f"{layer}diff_kept"])

    def settled(self, step: int, total: int) -> bool:
        """It is sparse once it is cut."""
        return step >= self._cut_after(total)

    def _cut_after(self, total: int) -> int:
        return max(1, round(self.cut * total))

    def _cut(self, moment: Moment, layers: list[str]) -> None:
        """Keep the largest of all layers together."""
        for layer in layers:
            z = gates(moment.parameters[f"{layer}diff_gate"], None)
            group = moment.parameters.get(f"{layer}diff_group")
            own = z if group is None else z * gates(group, None)
            moment.parameters[f"{layer}diff"].mul_(own)
            moment.frozen[f"{layer}diff_cut"].fill_(1)
        sizes = [moment.parameters[f"{layer}diff"].abs().flatten() for layer in layers]
        of_all = torch.cat(sizes)
        kept = torch.zeros_like(of_all)
        count = max(1, round(self.share * len(of_all)))
        kept[of_all.argsort(descending=True, stable=True)[:count]] = 1
        parts = torch.split(kept, [len(one) for one in sizes])
        for layer, part in zip(layers, parts, strict=True):
            own = moment.frozen[f"{layer}diff_kept"]
            own.copy_(part.view(own.shape))

    def outcome(self, adapted: "AdaptedModel") -> str | None:
        """Say how many weights are left, and of how many."""
        layers = [m for m in adapted.model.modules() if isinstance(m, DiffPruningLinear)]
        total = sum(layer.diff.numel() for layer in layers)
        if not all(bool(layer.diff_cut.any()) for layer in layers):
            return f"not cut: the training ended before, and has all {total:,} weights"
        count = sum(int(layer.diff_kept.sum()) for layer in layers)
        return f"{count:,} of {total:,} weights kept"
