"""Arguments from a config are checked against the signature of the class that it names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import torch
from torch import nn

from adapterlab.adapters import LoRA, Strategy
from adapterlab.base.errors import ConfigError
from adapterlab.config.targets import prepared
from adapterlab.data.splits import ImageSplits

HERE = __name__


@dataclass(frozen=True)
class Layer(Strategy):
    """A target with every kind of argument that strategies and models have."""

    size: int
    share: float = 0.5
    kind: Literal["one", "two"] = "one"
    names: str | Sequence[str] = "all"
    ranks: Mapping[str, int] = field(default_factory=dict)
    depth: int | None = None

    def adapt(self, model: nn.Module, generator: torch.Generator) -> None:
        """Do nothing."""


def loader(context: object, path: str, turn: int = 0) -> ImageSplits:
    """A function as target, with an argument that the caller passes."""
    return context, path, turn  # type: ignore[return-value]


def build(**arguments: Any) -> Any:
    return prepared({"_target_": f"{HERE}.Layer", **arguments}, "adapter", allow=[HERE])()


def test_arguments_arrive() -> None:
    layer = build(
        size=3, share=0.1, kind="two", names=["a", "b"], ranks={"layers.0": 4}, depth=None
    )
    assert (layer.size, layer.share, layer.kind, layer.ranks) == (3, 0.1, "two", {"layers.0": 4})
    assert list(layer.names) == ["a", "b"]


def test_defaults_are_the_targets_own() -> None:
    assert build(size=1) == Layer(1)


def test_an_integer_is_a_number() -> None:
    assert build(size=1, share=1).share == 1.0


def test_parts_are_checked_as_what_stands_alone() -> None:
    def combined(node: object, allow: list[str]) -> Any:
        nodes = {"own": node, "lora": {"_target_": "adapterlab.adapters.LoRA", "head": "freeze"}}
        whole = {"_target_": "adapterlab.adapters.Combined", "head": "freeze", "parts": nodes}
        return prepared(whole, "adapter", allow=allow)()

    own = {"_target_": f"{HERE}.Layer", "name": "own", "size": 3}
    assert combined(own, [HERE]).parts == {"own": Layer(size=3), "lora": LoRA()}
    with pytest.raises(ConfigError, match=r"adapter\.parts\.own\._target_=.* is not run: a strat"):
        combined(own, [])
    for change, message in {
        "size": r"adapter\.parts\.own\.size='3' should be a valid integer",
        "depht": r"adapter\.parts\.own\.depht is not an option; .*mean depth",
        "head": r"adapter\.parts\.own\.head=3 and adapter\.head=freeze: it is said once",
    }.items():
        with pytest.raises(ConfigError, match=message):
            combined(own | {change: "3"}, [HERE])
    for node in (3, ["own"], {"size": 3}):
        with pytest.raises(ConfigError, match=r"adapter\.parts\.own=.* should be a node"):
            combined(node, [HERE])


def test_name_and_label_are_for_people() -> None:
    node = {"_target_": f"{HERE}.Layer", "name": "layer", "label": "layer-3", "size": 3}
    assert prepared(node, "adapter", allow=[HERE])() == Layer(3)


def test_the_caller_supplies_what_the_config_may_not() -> None:
    target = f"{HERE}.loader"
    options: Any = {"supplied": ("context",), "allow": [HERE]}
    make = prepared({"_target_": target, "path": "x"}, "dataset.loader", **options)
    assert make("here") == ("here", "x", 0)
    with pytest.raises(
        ConfigError, match=r"dataset\.loader\.context is not an option: the run gives it"
    ):
        prepared({"_target_": target, "path": "x", "context": 1}, "dataset.loader", **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"adapter\.size is missing"),
        ({"size": "3"}, r"adapter\.size='3' should be a valid integer"),
        ({"size": 3.5}, r"adapter\.size=3\.5 should be a valid integer"),
        ({"size": True}, r"adapter\.size=True should be a valid integer"),
        ({"size": None}, r"adapter\.size=None should be a valid integer"),
        ({"size": 1, "share": "0.5"}, r"adapter\.share='0\.5' should be a valid number"),
        ({"size": 1, "kind": "three"}, r"adapter\.kind='three' should be 'one' or 'two'"),
        ({"size": 1, "names": 3}, r"adapter\.names=3 should be a valid string"),
        ({"size": 1, "names": ["a", 3]}, r"adapter\.names.* should be a valid string"),
        ({"size": 1, "ranks": {"a": "4"}}, r"adapter\.ranks\.a='4' should be a valid integer"),
        ({"size": 1, "sise": 1}, r"adapter\.sise is not an option; allowed: size.*mean size\?"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("adapterlab.adapters.LoRAA", "adapter._target_=adapterlab.adapters.LoRAA cannot be"),
        ("adapterlab.adapters.nowhere.LoRA", "No module named"),
        ("LoRA", "adapter._target_=LoRA is no dotted path"),
        ("adapterlab.adapters.__all__", "is neither a class nor a function"),
    ],
)
def test_a_target_that_is_not_there(target: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prepared({"_target_": target}, "adapter")
