"""Which code a config may name by `_target_`: this program's own, and what the user allows.

Of torch's code that is its optimizers, and nothing else.

A config is read from folders and stores that others can write to, so a name in it is a request, not
an order. It is looked at before anything is imported, and what was imported once more: a model must
be a model, whatever it is called. See docs/security.md.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

from adapterlab.base.dotted_names import within
from adapterlab.base.errors import ConfigError

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)

_OURS = "adapterlab"


@dataclass(frozen=True)
class Kind:
    """What may stand at a place of the config.

    Attributes:
        what: in words.
        own: the module in which such targets are: of this program, or of torch.
        classes: dotted paths of the classes; a target is a subclass of one, or returns one.
    """

    what: str
    own: str
    classes: tuple[str, ...]


KINDS = {
    "model": Kind("a model", f"{_OURS}.models", ("torch.nn.Module",)),
    "adapter": Kind("a strategy", f"{_OURS}.adapters", (f"{_OURS}.adapters.strategy.Strategy",)),
    "loader": Kind(
        "a data source",
        f"{_OURS}.data.sources",
        (f"{_OURS}.data.splits.ImageSplits", f"{_OURS}.data.splits.TextSplits"),
    ),
    "optimizer": Kind("an optimizer", "torch.optim", ("torch.optim.Optimizer",)),
    "tokenizer": Kind(
        "a tokenizer", _OURS, ("transformers.tokenization_utils_base.PreTrainedTokenizerBase",)
    ),
}
"""By the last part of the place."""


def namespace(name: str) -> str:
    """Return an entry of `allow_targets`.

    Raises:
        ValueError: it is no name of a package or module.
    """
    if not _PATH.fullmatch(f"{name}.any"):
        raise ValueError("Input should be the dotted name of a package or module")
    return name


def target(
    path: object, where: str, allow: Sequence[str] = (), *, kind: str | None = None
) -> Callable[..., Any]:
    """Import what a config names, if the config may name it there.

    Args:
        path: the dotted path of a class, or of a function that says what it returns.
        where: the node's place in the config, such as ``dataset.loader``.
        allow: packages and modules of the user's own. It comes from the user's command line or
            conf/, never from what a run, an artifact or a folder says.
        kind: the entry of `KINDS`; by default the last part of the place.

    Raises:
        ConfigError: it may not; nothing has been imported if the name alone says so.
    """
    wanted = KINDS[kind or where.rpartition(".")[2]]
    named = f"{where}._target_={path}"
    _require_name(path, named, wanted, allow)
    module_name, _, name = str(path).rpartition(".")
    try:
        found = getattr(import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{named} cannot be imported: {error}") from None
    _require_kind(found, named, wanted, allow)
    return found  # type: ignore[no-any-return]


def is_of_kind(found: object, kind: str) -> bool:
    """Say whether a type is one of those that targets of a kind are."""
    classes = tuple(_located(path) for path in KINDS[kind].classes)
    return inspect.isclass(found) and issubclass(found, classes)


def _require_name(path: object, named: str, kind: Kind, allow: Sequence[str]) -> None:
    """Refuse a name outside of what is trusted; no code has run yet."""
    if not (isinstance(path, str) and _PATH.fullmatch(path)):
        raise ConfigError(f"{named} is no dotted path of a class or function")
    if not within(path, (kind.own, *allow)):
        named_here = f" (allow_targets={','.join(allow)})" if allow else ""
        raise ConfigError(
            f"{named} is not run: {kind.what} is named from {kind.own}, or from a package of your "
            f"own that your command line or conf/ trusts by allow_targets=[PACKAGE]{named_here}"
        )


def _require_kind(found: object, named: str, kind: Kind, allow: Sequence[str]) -> None:
    """Refuse what is not the kind of thing that the place takes, or only passes through here."""
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        raise ConfigError(f"{named} is neither a class nor a function")
    home = found.__module__
    if not within(home, (_OURS, kind.own, *allow)):
        raise ConfigError(f"{named} is not run: it is defined in {home}, which is not trusted")
    made = (found,) if inspect.isclass(found) else _returned(found, named)
    classes = tuple(_located(path) for path in kind.classes)
    if not made or not all(inspect.isclass(one) and issubclass(one, classes) for one in made):
        wanted = " or ".join(path.rpartition(".")[2] for path in kind.classes)
        raise ConfigError(
            f"{named} is not {kind.what}: it should be a subclass of {wanted}, or a function that "
            "is annotated to return one"
        )
    is_torchs_base = not within(kind.own, (_OURS,)) and found in classes
    if inspect.isabstract(found) or is_torchs_base:
        raise ConfigError(f"{named} is abstract; name a class that is derived from it")


def _returned(function: Any, named: str) -> tuple[Any, ...]:
    """Return the classes that a function says it returns; none if it does not say."""
    try:
        hint = _hints(function).get("return")
    except Exception as error:  # annotations are expressions
        raise ConfigError(f"{named} has annotations that cannot be read: {error}") from None
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return () if hint is None else (hint,)


@lru_cache(maxsize=500)
def _hints(function: Any) -> dict[str, Any]:
    return typing.get_type_hints(function)


def _located(path: str) -> type:
    module, _, name = path.rpartition(".")
    found: type = getattr(import_module(module), name)
    return found
