"""What trying out a frozen prefix showed, kept in the cache folder beside the features.

A trial computes a few examples several times, which takes longer than to find the features of all.
Its outcome hangs on code and weights; where both are known by their versions and hashes, a run that
meets the same ones again takes the outcome as it is.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.cache import Entry, stored
from adapterlab.base.full_disk import FullDiskError
from adapterlab.base.revision import version_tags
from adapterlab.models.protocol import adaptable
from adapterlab.training.prefix.frozen_layers import FrozenLayers
from adapterlab.training.prefix.trial import OffError


@dataclass(frozen=True)
class Tried:
    """What a trial showed of frozen layers from which a model goes on.

    Attributes:
        weights: digest of the weights that their output depends on.
        shape: of their output for an example, or a token.
        dtype: of it, by torch's name.
        first_token_only: whether the model looks at one hidden state a text only.
    """

    weights: str
    shape: tuple[int, ...]
    dtype: str
    first_token_only: bool = False

    @property
    def type(self) -> torch.dtype:
        """The type of the features."""
        found: torch.dtype = getattr(torch, self.dtype)
        return found


def tried(
    adapted: AdaptedModel,
    layers: FrozenLayers,
    examples: list[Any],
    cache: Path,
    try_out: Callable[[], Tried],
) -> Tried:
    """Return the outcome of a trial, an earlier one's if that was of the same.

    Args:
        adapted: the model.
        layers: what is frozen of it.
        examples: what else the trial depends on, the examples above all, as JSON can hold it.
        cache: the cache folder.
        try_out: makes the trial.

    Raises:
        OffError: there is no prefix, which is found out anew each time; or no room for the outcome.
    """
    code = _code_of(adapted)
    if code is None or not adapted.base_hash:
        return try_out()
    key = [
        *(code, adapted.base_hash, repr(adapted.model), adaptable(adapted.model).architecture),
        *(sorted(adapted.trainable()), layers.depth, layers.precision, layers.device.type),
        *(sorted({str(p.dtype) for p in adapted.model.parameters()}), examples),
    ]
    readable = [part if isinstance(part, list | dict) else str(part) for part in key]

    def build() -> Entry:
        return Entry({}, asdict(try_out()))

    try:
        facts = stored(cache, "trial", readable, build).facts
    except FullDiskError as error:
        raise OffError(str(error)) from None
    return Tried(**(facts | {"shape": tuple(facts["shape"])}))


def _code_of(adapted: AdaptedModel) -> dict[str, str] | None:
    """Return the versions of all code that a model is made of; None where it has none.

    A function in place of a module's own, or a hook, has no version either.
    """
    packages: set[str] = set()
    for module in adapted.modules():
        if "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks:
            return None
        packages |= set(_packages_of(module))
    own = __name__.partition(".")[0]
    found = {own: version_tags()["code_hash"], "cpu": torch.backends.cpu.get_cpu_capability()}
    for package in sorted(packages - {own}):
        said = getattr(sys.modules[package], "__version__", None)
        if said is None:
            return None
        found[package] = str(said)
    return found


def _packages_of(module: nn.Module) -> Iterator[str]:
    for kind in type(module).__mro__:
        package = kind.__module__.partition(".")[0]
        if package not in sys.stdlib_module_names:
            yield package
