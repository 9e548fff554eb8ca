"""Combinations: parts that do not meet, what is said once for the whole, and what it replaces."""

from collections.abc import Callable

import pytest
import torch
from adapter_cases import MODELS, assert_same, build, train
from torch import nn

from adapterlab.adapters import (
    BitFit,
    Bottleneck,
    Combined,
    DoRA,
    Full,
    Head,
    LastLayers,
    LoRA,
    LoReFT,
    Strategy,
    merge,
    plan,
)
from adapterlab.adapters.budget import fit
from adapterlab.adapters.strategy import replace_module
from adapterlab.base.errors import ConfigError
from adapterlab.models.protocol import adaptable
from adapterlab.packing import signature


def of(head: str = "train", dial_of: str | None = None, **parts: Strategy) -> Combined:
    return Combined(parts=parts, head=head, dial_of=dial_of)  # type: ignore[arg-type]


class Closed(LoReFT):
    """An adapter that has its base for itself."""

    only_calls_base = False


class WholeBlock(Strategy):
    """An adapter around a block of any model."""

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        name = adaptable(model).blocks[1]
        block = model.get_submodule(name)
        like = next(block.parameters())
        replace_module(model, name, Closed(block, rank=1, width=4, like=like, generator=generator))


FIRST = LoRA(rank=2, alpha=3, targets="layers.0*")

MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "no parts": (lambda: of(), "adapter.parts is empty; adapter=head trains"),
    "a name with a dot": (
        lambda: Combined(parts={"a.b": Full()}),
        "adapter.parts.a.b should be named by letters",
    ),
    "a combination in a combination": (
        lambda: of(inner=of(lora=FIRST)),
        "adapter.parts.inner is a combination itself",
    ),
    "a head of its own": (
        lambda: of(lora=LoRA(head="freeze")),
        "adapter.parts.lora.head=freeze and adapter.head=train: the head is said once",
    ),
    "nobody to adapt the head": (
        lambda: of(head="adapt", full=Full(targets="layers.0")),
        "adapter.head=adapt: no part can adapt it, and just one part should; allowed: train",
    ),
    "two to adapt the head": (
        lambda: of(head="adapt", bias=BitFit(), lora=FIRST),
        "adapter.head=adapt: bias and lora can adapt it, and just one part should",
    ),
    "a dial of no part": (
        lambda: of(dial_of="lorra", lora=FIRST, full=Full(targets="layers.1")),
        "adapter.dial_of=lorra names no part .*; allowed: lora .did you mean lora",
    ),
    "a part without a dial": (
        lambda: of(dial_of="full", lora=FIRST, full=Full(targets="layers.1")),
        "adapter.dial_of=full names no part with an option that a budget sets; allowed: lora",
    ),
}

OVERLAPS: dict[str, tuple[Combined, str]] = {
    "an adapted layer that is trained": (
        of(lora=FIRST, full=Full(targets="*")),
        r"adapter\.parts: (model\.)?layers\.0(\.output)? is in full and in lora; leave it out",
    ),
    "two adapters on a layer": (
        of(lora=FIRST, dora=DoRA(rank=1)),
        r"adapter\.parts: (model\.)?layers\.0(\.output)? is in dora and in lora",
    ),
    "an adapter in what another wraps": (
        of(deep=LoRA(rank=1, targets="layers.1*"), edit=WholeBlock()),
        r"adapter\.parts: (model\.)?layers\.1(\.output)? is in deep and in edit",
    ),
    "weight and bias of a module": (
        of(bias=BitFit(), last=LastLayers(n=1)),
        r"is in bias and in last",
    ),
    "a part that trains nothing": (
        of(lora=FIRST, head_only=Head()),
        r"adapter\.parts\.head_only trains nothing; adapter\.head speaks for the head",
    ),
    "targets that match nothing": (
        of(lora=LoRA(rank=1, targets="query_"), full=Full(targets="layers.0")),
        r"adapter\.parts\.lora\.targets: 'query_' matches no layer",
    ),
    "patterns that match nothing": (
        of(lora=FIRST, full=Full(targets=["key"])),
        r"adapter\.parts\.full\.targets: 'key' matches no parameter; parameters: ",
    ),
}


@pytest.mark.parametrize(("make", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("strategy", "message"), OVERLAPS.values(), ids=OVERLAPS)
def test_what_does_not_go_together_is_refused_and_the_model_left_as_it_was(
    strategy: Combined, message: str, model: str
) -> None:
    base = build(MODELS[model])
    modules = dict(base.named_modules())
    with pytest.raises(ConfigError, match=message) as caught:
        strategy.apply(base)
    assert "\n" not in str(caught.value)
    assert dict(base.named_modules()) == modules


def test_parts_see_the_base_and_not_each_other() -> None:
    """`*` in full would match the factors of LoRA, and `*.base` the layers that it wraps."""
    strategy = of(aaa=FIRST, full=Full(targets=["*", "!layers.0*"]))
    adapted = strategy.apply(build(MODELS["mlp"]))
    assert set(adapted.trainable()) == {
        *("layers.0.lora_A", "layers.0.lora_B", "layers.1.weight", "layers.1.bias"),
        *("layers.2.weight", "layers.2.bias", "head.weight", "head.bias"),
    }
    with pytest.raises(ConfigError, match=r"parts\.zzz\.targets: '\*\.base' matches no layer"):
        of(aaa=FIRST, zzz=LoRA(targets="*.base")).apply(build(MODELS["mlp"]))


@pytest.mark.parametrize("kind", [LoRA, DoRA])
@pytest.mark.parametrize("name", ["adapter", "zeta"])  # before and after `full`
def test_it_computes_what_also_train_does_bit_for_bit(kind: type[LoRA], name: str) -> None:
    options = {"rank": 2, "alpha": 3, "targets": ["layers.1*"], "dropout": 0.3}
    patterns = ["*", "!layers.1*"]
    older = kind(**options, also_train=patterns).apply(build(MODELS["encoder"]), seed=5)
    newer = of(**{name: kind(**options), "full": Full(targets=patterns)}).apply(
        build(MODELS["encoder"]), seed=5
    )
    assert plan(newer) == plan(older)
    assert signature(newer) == signature(older)
    assert newer.base_hash == older.base_hash
    assert train(newer, steps=5) == train(older, steps=5)
    assert_same(newer.state(), older.state())


def test_it_is_merged_where_every_part_is() -> None:
    embedding = Full(targets="embedding")
    assert of(full=embedding, lora=LoRA(rank=1)).mergeable
    strategy = of(full=embedding, neck=Bottleneck(targets="layers.*.output"))
    adapted = strategy.apply(build(MODELS["encoder"]))
    assert not strategy.mergeable
    assert not plan(adapted).mergeable
    with pytest.raises(ConfigError, match="Combined cannot be merged"):
        merge(adapted)


def test_a_budget_turns_the_dial_that_is_named() -> None:
    parts = {"lora": LoRA(rank=2, alpha=4, targets="layers.0*"), "last": LastLayers(n=1)}
    with torch.device("meta"):
        model = MODELS["mlp"]()
    rest = of(**parts).apply(MODELS["mlp"]()).count().trainable - 2 * (5 + 8)
    fitted = fit(of(dial_of="lora", **parts), model, rest + 4 * (5 + 8) + 3)
    assert fitted.strategy == of(
        dial_of="lora", lora=LoRA(rank=4, alpha=8, targets="layers.0*"), last=LastLayers(n=1)
    )
    assert fitted.dial == "parts.lora.rank"
    assert fit(of(dial_of="last", **parts), model, 1).strategy.parts["last"] == LastLayers(n=1)
    with pytest.raises(
        ConfigError, match=r"adapter\.dial_of names no part, .* allowed: lora, last"
    ):
        fit(of(**parts), model, 1_000)


def test_options_are_named_as_a_configuration_names_them() -> None:
    options = of(lora=FIRST, full=Full(targets="layers.1")).flat_options()
    assert options["parts.lora"] == "LoRA"
    assert options["parts.lora.rank"] == 2
    assert options["parts.full.targets"] == "layers.1"
    assert not any(name.endswith(".head") for name in options)
