"""Going on from the middle of a model: modules that give what they are told, and ends before."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


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
