"""AdaLoRA: updates in the form of singular values, with one budget of ranks for all layers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapterlab.adapters.factors import alpha_kept, check_low_rank
from adapterlab.adapters.formats.adalora import AdaLoRAFormat
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.hooks import Moment
from adapterlab.adapters.strategy import replace_module
from adapterlab.adapters.targeted import LinearAdapter, OverLinear
from adapterlab.adapters.weights import matrix, sizes
from adapterlab.base.errors import ConfigError

if TYPE_CHECKING:
    from adapterlab.adapters.strategy import AdaptedModel

FACTORS = ("lora_A", "lora_B", "lora_E")


class AdaLoRALinear(LinearAdapter):
    """AdaLoRA (Zhang et al. 2023, https://arxiv.org/abs/2303.10512).

    y = W x + b + s · B diag(E) A dropout(x), with W and b frozen, and s = alpha / (rank + 1e-5), as
    PEFT has it. E starts at zero, A and B at N(0, 0.02²).

    Shapes: x [..., d_in], A [rank, d_in], E [rank, 1], B [d_out, rank], y [..., d_out].

    Saved beside them, for a training that goes on: of every trained number the mean and the spread
    of its importance (`mean_A`, `spread_A`, ...), and which triplets are kept [rank], 1 or 0. The
    means and spreads are zero once the ranks are final.

    Args:
        base: the layer to adapt, `nn.Linear` or transformers' Conv1D; frozen here.
        rank: of the beginning; also of the scale, whatever is left of it.
        alpha: strength of the update.
        dropout: probability of dropping an input of A.
        generator: CPU generator that A and B are drawn from; torch's default one when None.
    """

    roles: ClassVar[Mapping[str, str]] = {"lora_A": "A", "lora_B": "B", "lora_E": "E"}

    kept: Tensor

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base, dropout=dropout)
        self.scale = alpha / (rank + 1e-5)
        weight, (d_in, d_out) = matrix(base), sizes(base)
        device = "meta" if weight.is_meta else "cpu"
        A, B = (torch.empty(*shape, device=device) for shape in ((rank, d_in), (d_out, rank)))
        if not weight.is_meta:
            for factor in (A, B):
                nn.init.normal_(factor, std=0.02, generator=generator)
        self.lora_A = nn.Parameter(A.to(weight))
        self.lora_B = nn.Parameter(B.to(weight))
        self.lora_E = nn.Parameter(weight.new_zeros(rank, 1))
        for name in FACTORS:
            for what in ("mean", "spread"):
                zeros = torch.zeros_like(getattr(self, name).data)
                self.keep_frozen(f"{what}_{name[-1]}", zeros, saved=True)
        self.keep_frozen("kept", weight.new_ones(rank), saved=True)

    @property
    def inner(self) -> int:
        """The rank, to which A brings a row."""
        return len(self.lora_E)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., d_in] to [..., d_out]."""
        down = F.linear(self.dropout(x), self.lora_E * self.lora_A)
        return cast(Tensor, self.base(x) + self.scale * F.linear(down, self.lora_B))

    def adapted_matrix(self) -> Tensor:
        """Return W + s · B diag(E) A, [d_out, d_in]; gradients flow."""
        return matrix(self.base) + self.scale * self.lora_B @ (self.lora_E * self.lora_A)

    def describe(self) -> str:
        """Say the rank at the beginning, and what is left of it where that is less."""
        left = "" if self.kept.is_meta or self.kept.all() else f", {int(self.kept.sum())} left"
        return f"AdaLoRA rank {len(self.kept)}{left}, scale {self.scale:g}"


@dataclass(frozen=True, kw_only=True)
class AdaLoRA(OverLinear):
    """Begin with more ranks than asked for, and keep those that matter (Zhang et al. 2023).

    After every step, the importance abs(θ · gradient) of each trained number is averaged, and so
    is how far it is from its average; a number's score is the product of both, a triplet's that of
    its singular value plus the means of its two vectors'. Every `delta_t` steps the triplets of the
    highest scores in all layers together stay, and the singular values of the others are set to
    zero, from where they may come back. How many stay falls with the cube of the time that is left.
    All of it is as PEFT's RankAllocator does it, steps counted from 1, with two exceptions: of
    equal scores the first stay, so that there are never fewer than the budget, and the rank in the
    scale is a constant, which PEFT 0.21 leaves to the optimizer.

    To the loss is added how far the vectors are from orthogonal, `orth_reg_weight` times the mean
    of ‖A A^T - 1‖ and ‖B^T B - 1‖ over all of them.

    Args:
        head: see `Targeted`; the other places as well.
        rank: in the end, on average over the layers.
        init_rank: in the beginning, of every layer.
        alpha: strength of the updates; s = alpha / (init_rank + 1e-5).
        tinit: share of the training's steps before ranks are given up.
        tfinal: share of the steps after the ranks are final.
        delta_t: steps from one choice to the next.
        beta1: of the average of importance.
        beta2: of the average of its spread.
        orth_reg_weight: of the added loss; 0 for none.
        dropout: probability of dropping an input of the update.
        **targeted: see `Targeted`.
    """

    dial: ClassVar[str | None] = "init_rank"

    rank: int = 8
    init_rank: int = 12
    alpha: float = 16.0
    tinit: float = 0.1
    tfinal: float = 0.3
    delta_t: int = 1
    beta1: float = 0.85
    beta2: float = 0.85
    orth_reg_weight: float = 0.5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_low_rank(self.rank, self.alpha, self.dropout)
        if self.init_rank < self.rank:
            raise ConfigError(
                f"adapter.init_rank={self.init_rank} is below adapter.rank={self.rank}, which is "
                "what is left of it"
            )
        for name in ("tinit", "tfinal", "beta1", "beta2"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ConfigError(f"adapter.{name}={value:g} must be at least 0 and below 1")
        if self.tinit + self.tfinal >= 1:
            raise ConfigError(
                f"adapter.tinit={self.tinit:g} and adapter.tfinal={self.tfinal:g} are shares of "
                "the training, and leave no time between them; their sum must be below 1"
            )
        if self.delta_t < 1:
            raise ConfigError(f"adapter.delta_t={self.delta_t} must be 1 or more")
        if not 0 <= self.orth_reg_weight < math.inf:
            raise ConfigError(
                f"adapter.orth_reg_weight={self.orth_reg_weight:g} must be 0 or more, and finite"
            )

    def most(self, model: nn.Module) -> int:
        """Return the largest rank that still adds expressiveness in some layer."""
        return max(min(sizes(layer)) for layer in self.chosen(model).values())

    def turned(self, value: int) -> Self:
        """Return the strategy at another rank in the beginning, and as much less in the end."""
        rank = max(1, round(value * self.rank / self.init_rank))
        alpha = alpha_kept(self.alpha, value, self.init_rank)
        return replace(self, init_rank=value, rank=rank, alpha=alpha)

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Wrap every targeted layer."""
        for name, layer in self.chosen(model).items():
            own = AdaLoRALinear(
                layer,
                rank=self.init_rank,
                alpha=self.alpha,
                dropout=self.dropout,
                generator=generator,
            )
            replace_module(model, name, own)

    def extra_loss(self, moment: Moment) -> Tensor | None:
        """Return how far the vectors of all layers are from orthogonal."""
        if not self.orth_reg_weight:
            return None
        gaps = []
        for name, factor in moment.parameters.items():
            if name.endswith(("lora_A", "lora_B")):
                vectors = factor if name.endswith("lora_A") else factor.mT
                eye = torch.eye(len(vectors), dtype=vectors.dtype, device=vectors.device)
                gaps.append(torch.linalg.matrix_norm(vectors @ vectors.mT - eye))
        return self.orth_reg_weight * torch.stack(gaps).mean()

    def after_step(self, moment: Moment) -> None:
        """Take in importances, and give up the triplets that the budget has no room for."""
        first = round(self.tinit * moment.total)
        last = self._final_from(moment.total)
        layers = [name[: -len("lora_E")] for name in moment.parameters if name.endswith("lora_E")]
        if moment.step < last:
            for layer in layers:
                self._take_in(moment, layer)
        due = first < moment.step < last and moment.step % self.delta_t == 0
        if due or moment.step == last:
            _keep_best(moment, layers, self._budget(moment.step, first, last, len(layers)))
        if moment.step >= last:
            for layer in layers:
                moment.parameters[f"{layer}lora_E"].mul_(moment.frozen[f"{layer}kept"][:, None])
        if moment.step == last:
            for name, tensor in moment.frozen.items():
                if name.rpartition(".")[2].startswith(("mean_", "spread_")):
                    tensor.zero_()

    def settled(self, step: int, total: int) -> bool:
        """It has the ranks that were asked for once they are final."""
        return step >= self._final_from(total)

    def _final_from(self, total: int) -> int:
        return total - round(self.tfinal * total)

    def outcome(self, adapted: "AdaptedModel") -> str | None:
        """Say which ranks are left."""
        ranks = [
            f"{name} {int(layer.kept.sum())}"
            for name, layer in adapted.model.named_modules()
            if isinstance(layer, AdaLoRALinear)
        ]
        return f"ranks kept of {self.init_rank}: {', '.join(ranks)}"

    def _budget(self, step: int, first: int, last: int, layers: int) -> int:
        """Return how many triplets there may be of all layers together."""
        before, after = layers * self.init_rank, layers * self.rank
        left = 1 - (step - first) / (last - first) if last > first else 0.0
        return int((before - after) * left**3 + after)

    def _take_in(self, moment: Moment, layer: str) -> None:
        """Average the importance of a layer's numbers, and how far it is from the average."""
        for name in FACTORS:
            gradient = moment.gradients.get(f"{layer}{name}")
            if gradient is None:
                continue
            importance = (moment.parameters[f"{layer}{name}"] * gradient).abs()
            mean, spread = _of(moment, layer, name)
            mean.mul_(self.beta1).add_(importance, alpha=1 - self.beta1)
            spread.mul_(self.beta2).add_((importance - mean).abs(), alpha=1 - self.beta2)


def _of(moment: Moment, layer: str, factor: str) -> tuple[Tensor, Tensor]:
    """Return the mean and the spread of a factor's importance."""
    mean, spread = (moment.frozen[f"{layer}{what}_{factor[-1]}"] for what in ("mean", "spread"))
    return mean, spread


def _keep_best(moment: Moment, layers: list[str], budget: int) -> None:
    """Set to zero all singular values but those of the highest scores."""
    scores = []
    for layer in layers:
        A, B, E = (mean * spread for mean, spread in (_of(moment, layer, n) for n in FACTORS))
        scores.append(E.flatten() + A.mean(1) + B.mean(0))
    of_all = torch.cat(scores)
    best = torch.zeros_like(of_all)
    best[of_all.sort(descending=True, stable=True).indices[:budget]] = 1
    of_layers = torch.split(best, [len(own) for own in scores])
    for layer, kept in zip(layers, of_layers, strict=True):
        moment.frozen[f"{layer}kept"].copy_(kept)
        moment.parameters[f"{layer}lora_E"].mul_(kept[:, None])


METHODS[AdaLoRA] = AdaLoRAFormat(
    AdaLoRALinear,
    {name: name for name in FACTORS},
    frozen=("kept", *(f"{what}_{name[-1]}" for name in FACTORS for what in ("mean", "spread"))),
)
