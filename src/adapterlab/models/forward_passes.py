"""Interventions in a forward pass: tensors handed on, outputs replaced, a pass ended early."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class Passed:
    """What one module hands to another within a forward pass; copies of a model share it."""

    def __init__(self) -> None:
        self.held: Tensor | None = None

    def __deepcopy__(self, memo: object) -> "Passed":
        return self

    def give(self, x: Tensor | None) -> None:
        """Hold a tensor."""
        self.held = x

    def take(self) -> Tensor:
        """Return what was given last, and hold it no longer."""
        held, self.held = self.held, None
        assert held is not None, "a module was computed before the one that it waits for"
        return held


class SpeaksForBase(nn.Module):
    """A module around another, whose attributes it has: models look at those of their blocks."""

    base: nn.Module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base":
                raise
            return getattr(super().__getattr__("base"), name)


class Reached(Exception):  # noqa: N818  # no error: it ends a forward pass that has its result
    """A forward pass has come as far as it should; `output` is what it has there."""

    def __init__(self, output: object) -> None:
        self.output = output


@contextmanager
def giving(module: nn.Module, output: object) -> Iterator[None]:
    """Let a module give `output`, whatever it is called with; its hooks still run."""
    # An attribute of the instance goes before the class's method.
    own, before = "forward" in vars(module), vars(module).get("forward")
    vars(module)["forward"] = lambda *args, **kwargs: output
    try:
        yield
    finally:
        del vars(module)["forward"]
        if own:
            vars(module)["forward"] = before
