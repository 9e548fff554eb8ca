"""Prefixes: trained keys and values that every token of a text attends to as well."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from adapterlab.adapters.canonical_targets import blocks_of
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.adapters.formats.prompt_learning import PromptLearning
from adapterlab.adapters.insertion_points import WITH_ATTENTION, attentions, refuse, within_blocks
from adapterlab.adapters.offset_positions import offset_positions
from adapterlab.adapters.strategy import AdaptedModel, AdapterLayer, Strategy, replace_module
from adapterlab.adapters.targets import Layers, check_layers
from adapterlab.base.errors import ConfigError
from adapterlab.models.forward_passes import SpeaksForBase
from adapterlab.models.protocol import adaptable


@dataclass(frozen=True)
class Rows:
    """Keys and values that go before those of a batch.

    Attributes:
        key: [sets, length, width]; one set for all rows, or one for each of as many equal parts.
        value: likewise.
        real: which of a set's rows count, [sets, length]; None for all.
    """

    key: Tensor
    value: Tensor
    real: Tensor | None = None

    def before(
        self, key: Tensor, value: Tensor, mask: Tensor | None, queries: int, *, is_causal: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return keys, values and mask of a batch with these before them.

        Args:
            key: [rows, heads, tokens, width / heads].
            value: likewise.
            mask: which keys a query sees, or what is added to its scores,
                [rows or 1, heads or 1, queries or 1, tokens]; None for all.
            queries: how many there are.
            is_causal: whether a query sees the tokens up to its own.
        """
        if is_causal:
            mask = torch.ones(queries, key.shape[-2], dtype=torch.bool, device=key.device).tril()
        longer = (
            torch.cat((_heads(self.key, key), key), -2),
            torch.cat((_heads(self.value, value), value), -2),
        )
        if mask is None and self.real is None:
            return *longer, None
        if mask is None:
            mask = torch.ones(1, 1, 1, key.shape[-2], dtype=torch.bool, device=key.device)
        mask = mask.view(*(1,) * (4 - mask.ndim), *mask.shape)
        seen = mask.new_full((*mask.shape[:-1], self.key.shape[1]), mask.dtype == torch.bool)
        if self.real is not None:
            real = self.real.repeat_interleave(len(key) // len(self.real), 0)[:, None, None]
            mask = mask.expand(len(key), -1, -1, -1)
            seen = real.expand(-1, *mask.shape[1:-1], -1)
            if mask.dtype != torch.bool:
                seen = torch.zeros_like(seen, dtype=mask.dtype).masked_fill(~seen, -math.inf)
        return *longer, torch.cat((seen, mask), -1)


class Attending(TorchFunctionMode):
    """While it is entered, attention sees other keys and values before its own.

    Args:
        rows: returns them, called once.
    """

    def __init__(self, rows: Callable[[], Rows]) -> None:
        super().__init__()
        self.rows = rows()
        self.seen = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        self.seen += 1
        return self._longer(*args, **kwargs)

    def _longer(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,  # torch's own signature
        **others: Any,
    ) -> Tensor:
        key, value, mask = self.rows.before(
            key, value, attn_mask, query.shape[-2], is_causal=is_causal
        )
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout_p, **others
        )


class PrefixAttention(SpeaksForBase, AdapterLayer):
    """Prefix tuning (Li & Liang 2021, https://arxiv.org/abs/2101.00190).

    softmax(Q [P_k; K]ᵀ / √d) [P_v; V] in place of softmax(Q Kᵀ / √d) V, in every head.

    Shapes: P_k and P_v [length, width of keys and values].

    Args:
        base: an attention that computes with torch's scaled_dot_product_attention; frozen here.
        length: of the prefix, at least 1.
        width: of keys and values, all heads together.
        std: standard deviation of the first values.
        like: a tensor of the type and device that the parameters should have.
        generator: CPU generator of every draw; torch's default one when None.
    """

    mergeable = False
    only_calls_base = True

    def __init__(
        self,
        base: nn.Module,
        *,
        length: int,
        width: int,
        std: float,
        like: Tensor,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        shape = (length, width)
        drawn = [
            torch.empty(shape, device="meta")
            if like.is_meta
            else std * torch.randn(shape, generator=generator)
            for _ in range(2)
        ]
        self.prefix_key, self.prefix_value = (nn.Parameter(tensor.to(like)) for tensor in drawn)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the attention returns."""
        return attended(
            self.base, lambda: Rows(self.prefix_key[None], self.prefix_value[None]), args, kwargs
        )

    def describe(self) -> str:
        """Say how long it is."""
        return f"prefix of {len(self.prefix_key)}"


@dataclass(frozen=True, kw_only=True)
class Prefix(Strategy):
    """Train keys and values before those of every attention (Li & Liang 2021, arXiv:2101.00190).

    Args:
        num_virtual_tokens: how many, in every attention.
        std: standard deviation of their first values. They do not start as the base: every prefix
            draws some of the attention.
        layers: the blocks that have them: `all`, `first N`, `last N`, or a list of indices.
        offset_positions: whether the positions of a text are counted on from the prefix's length,
            as in PEFT, rather than from 0, as in the base's training. Texts may then be that much
            shorter than without.
    """

    dial: ClassVar[str | None] = "num_virtual_tokens"

    num_virtual_tokens: int = 10
    std: float = 0.02
    layers: Layers = "all"
    offset_positions: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_virtual_tokens < 1:
            raise ConfigError(
                f"adapter.num_virtual_tokens={self.num_virtual_tokens} must be 1 or more; to train "
                "without an adapter: adapter=head"
            )
        if not 0 < self.std < math.inf:
            raise ConfigError(f"adapter.std={self.std:g} must be above 0 and finite")
        check_layers(self.layers)

    @property
    def mergeable(self) -> bool:
        """No attention of the base has keys of its own."""
        return False

    def most(self, model: nn.Module) -> int:
        """Return the width: so many keys span all that a query can ask for."""
        return max(self._places(model).values())

    def turned(self, value: int) -> Self:
        """Return the strategy with prefixes of another length."""
        return replace(self, num_virtual_tokens=value)

    def in_one_way(self, model: nn.Module) -> dict[str, Any]:
        """Return the blocks in one way."""
        blocks = adaptable(model).blocks
        chosen = within_blocks(model, blocks, self.layers)
        return {"layers": blocks_of([blocks.index(name) for name in chosen], len(blocks))}

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Put a prefix before the keys and values of every attention."""
        for name, width in self._places(model).items():
            base = model.get_submodule(name)
            layer = self.layer(
                model,
                base,
                length=self.num_virtual_tokens,
                width=width,
                std=self.std,
                like=next(base.parameters()),
                generator=generator,
            )
            replace_module(model, name, layer)
        if self.offset_positions:
            offset_positions(model, self.num_virtual_tokens)

    def layer(self, model: nn.Module, base: nn.Module, **prefix: Any) -> PrefixAttention:
        """Return an attention with a prefix."""
        return PrefixAttention(base, **prefix)

    def options(self) -> dict[str, Any]:
        """Leave out what came later where it is off, as in checkpoints from before there was it."""
        options = super().options()
        if not self.offset_positions:
            del options["offset_positions"]
        return options

    def _places(self, model: nn.Module) -> dict[str, int]:
        """Return the attentions and how wide their keys are, by name in forward order.

        Raises:
            ConfigError: there are none, or they are computed in another way than torch's.
        """
        found = attentions(model)
        config = getattr(getattr(model, "model", None), "config", None)
        if not found or getattr(config, "_attn_implementation", None) != "sdpa":
            refuse(
                "adapter=prefix",
                "attention that torch's scaled_dot_product_attention computes",
                f"{WITH_ATTENTION.partition(', and')[0]}, and others of hf and hf_image",
            )
        return {name: found[name] for name in within_blocks(model, list(found), self.layers)}


def attended(
    base: nn.Module, rows: Callable[[], Rows], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return what an attention gives with other keys and values before its own.

    Raises:
        ConfigError: it has been computed without them.
    """
    with Attending(rows) as attending:
        output = base(*args, **kwargs)
    if attending.seen != 1:
        raise ConfigError(
            f"adapter=prefix: {type(base).__name__} should compute one "
            f"scaled_dot_product_attention, it computed {attending.seen}"
        )
    return output


def _heads(prefix: Tensor, like: Tensor) -> Tensor:
    """Return a prefix [sets, length, width] as what goes before [rows, heads, tokens, size]."""
    rows, heads, _, size = like.shape
    sets, length, width = prefix.shape
    own = prefix.view(sets, length, width // size, size).transpose(1, 2)
    own = own.repeat_interleave(heads // own.shape[1], 1)  # where heads share keys
    own = own.expand(rows, -1, -1, -1) if sets == 1 else own.repeat_interleave(rows // sets, 0)
    return own.to(like.dtype)


@dataclass(frozen=True)
class _PeftPrefix(PromptLearning):
    """PEFT's PREFIX_TUNING, without a network that makes the prefixes."""

    peft_type: ClassVar[str] = "PREFIX_TUNING"

    def lacking(self, strategy: Any) -> str | None:
        """PEFT counts positions on, and has prefixes in all layers."""
        if strategy.layers != "all":
            return f"PEFT's prefixes are in all layers, not in layers={strategy.layers}"
        if not strategy.offset_positions:
            return (
                "PEFT counts the positions of a text on from its prefix, as "
                "adapter.offset_positions=true does"
            )
        return None

    def own(self, adapted: AdaptedModel, layers: Mapping[str, Any]) -> dict[str, Any]:
        """Add the width."""
        width = next(iter(layers.values())).prefix_key.shape[1]
        own = {"token_dim": width, "encoder_hidden_size": width, "prefix_projection": False}
        return {**super().own(adapted, layers), **own}


METHODS[Prefix] = _PeftPrefix(
    PrefixAttention, {"prefix_key": "prefix_key", "prefix_value": "prefix_value"}
)
