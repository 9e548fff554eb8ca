"""Arguments from a config are checked against the signature of the class that it names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from adapterlab.errors import ConfigError
from adapterlab.instantiate import prepared

HERE = __name__


@dataclass(frozen=True)
class Layer:
    """A target with every kind of argument that strategies and models have."""

    size: int
    share: float = 0.5
    kind: Literal["one", "two"] = "one"
    names: str | Sequence[str] = "all"
    ranks: Mapping[str, int] = field(default_factory=dict)
    depth: int | None = None


def loader(context: object, path: str, turn: int = 0) -> tuple[object, str, int]:
    """A function as target, with an argument that the caller passes."""
    return context, path, turn


def build(**arguments: Any) -> Any:
    return prepared({"_target_": f"{HERE}.Layer", **arguments}, "model")()


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


def test_name_and_label_are_for_people() -> None:
    node = {"_target_": f"{HERE}.Layer", "name": "layer", "label": "layer-3", "size": 3}
    assert prepared(node, "model")() == Layer(3)


def test_the_caller_supplies_what_the_config_may_not() -> None:
    target = f"{HERE}.loader"
    make = prepared({"_target_": target, "path": "x"}, "dataset.loader", supplied=("context",))
    assert make("here") == ("here", "x", 0)
    with pytest.raises(ConfigError, match=r"dataset\.loader\.context is not an option"):
        prepared(
            {"_target_": target, "path": "x", "context": 1}, "dataset.loader", supplied=("context",)
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"model\.size is missing"),
        ({"size": "3"}, r"model\.size='3' should be a valid integer"),
        ({"size": 3.5}, r"model\.size=3\.5 should be a valid integer"),
        ({"size": True}, r"model\.size=True should be a valid integer"),
        ({"size": None}, r"model\.size=None should be a valid integer"),
        ({"size": 1, "share": "0.5"}, r"model\.share='0\.5' should be a valid number"),
        ({"size": 1, "kind": "three"}, r"model\.kind='three' should be 'one' or 'two'"),
        ({"size": 1, "names": 3}, r"model\.names=3 should be a valid string"),
        ({"size": 1, "names": ["a", 3]}, r"model\.names.* should be a valid string"),
        ({"size": 1, "ranks": {"a": "4"}}, r"model\.ranks\.a='4' should be a valid integer"),
        ({"size": 1, "sise": 1}, r"model\.sise is not an option; allowed: size.*mean size\?"),
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
        ("adapterlab.nowhere.LoRA", "No module named"),
        ("LoRA", "adapter._target_=LoRA cannot be imported"),
        ("adapterlab.__version__", "adapter._target_=adapterlab.__version__ is not callable"),
    ],
)
def test_a_target_that_is_not_there(target: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prepared({"_target_": target}, "adapter")
