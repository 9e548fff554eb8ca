"""Build what a config names by `_target_`, its arguments checked against the target's signature."""

import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.config.trust import is_of_kind
from adapterlab.config.trust import target as trusted_target
from adapterlab.config.validation import describe

RESERVED = ("_target_", "name", "label")

_CATCH_ALL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def prepared(
    node: Mapping[str, Any],
    where: str,
    *,
    supplied: Collection[str] = (),
    perhaps: Collection[str] = (),
    allow: Sequence[str] = (),
    kind: str | None = None,
    narrower: Mapping[str, Any] = MappingProxyType({}),
) -> Callable[..., Any]:
    """Return the target of `node` with its arguments checked and bound.

    An argument that is a mapping to things of the target's own kind, as a combination has its
    parts, holds a node for each, which is built as `node` is.

    Args:
        node: `_target_`, the dotted path of a callable; `name` and maybe `label`, which are for
            people; a model's `tokenizer`, a node of its own; and arguments.
        where: the node's place in the config, for errors.
        supplied: parameters that the caller passes later; the config may not set them.
        perhaps: likewise, where the target has them.
        allow: whose code the config may name, beside this program's; see `trust.target`.
        kind: what the target should be, see `trust.KINDS`; by default the last part of `where`.
        narrower: types of arguments, by name, in place of the target's own.

    Raises:
        ConfigError: there is no such target, the config may not name it, or an argument is
            unknown, missing or of the wrong type.
    """
    kind = kind or where.rpartition(".")[2]
    target = trusted_target(node["_target_"], where, allow, kind=kind)
    reserved = (*RESERVED, "tokenizer") if where == "model" else RESERVED
    arguments = {key: value for key, value in node.items() if key not in reserved}
    signature, known_hints = _signature(target)
    if lacking := [name for name in supplied if name not in signature]:
        raise ConfigError(f"{where}._target_={node['_target_']} takes no {lacking[0]}")
    parameters = {
        name: parameter
        for name, parameter in signature.items()
        if name not in supplied and name not in perhaps and parameter.kind not in _CATCH_ALL
    }
    for key in arguments:
        if key not in parameters:
            given = key in supplied or key in perhaps
            why = f": the run gives it{', by base=' if key == 'weights' else ''}" if given else ""
            raise ConfigError(f"{where}.{key} is not an option{why}; {allowed(key, parameters)}")
    hints = {**known_hints, **narrower}
    parts = {
        name: _parts(arguments, f"{where}.{name}", name, allow, kind)
        for name in arguments
        if _holds_parts(hints.get(name), kind)
    }
    names = tuple(
        name
        for name, p in parameters.items()
        if name not in parts and (name in arguments or p.default is p.empty)
    )
    model = _model(target, names) if not narrower else _model_of(names, signature, hints)
    plain = {name: value for name, value in arguments.items() if name not in parts}
    try:
        # Through JSON, strict validation still takes a list for any sequence.
        values = model.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        raise ConfigError(describe(error, plain, where)) from None
    return partial(target, **{name: getattr(values, name) for name in names}, **parts)


@lru_cache(maxsize=256)
def _signature(
    target: Callable[..., Any],
) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, Any]]:
    """Return the parameters of a target and their types; the runs of a sweep share few targets."""
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    return inspect.signature(target).parameters, hints


@lru_cache(maxsize=256)
def _model(target: Callable[..., Any], names: tuple[str, ...]) -> type[BaseModel]:
    """Return what checks some arguments of a target; to make it takes longer than to check."""
    return _model_of(names, *_signature(target))


def _model_of(
    names: Sequence[str], signature: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]
) -> type[BaseModel]:
    schema: dict[str, Any] = {
        name: (hints.get(name, Any), ... if p.default is p.empty else p.default)
        for name, p in signature.items()
        if name in names
    }
    config = ConfigDict(
        strict=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False
    )
    return create_model("Arguments", __config__=config, **schema)


def _holds_parts(hint: Any, kind: str) -> bool:
    """Say whether an argument is a mapping from names to things of a kind."""
    if get_origin(hint) is not Mapping:
        return False
    return is_of_kind(get_args(hint)[1], kind)


def _parts(
    outer: Mapping[str, Any], where: str, name: str, allow: Sequence[str], kind: str
) -> dict[str, Any]:
    """Build the parts that an argument holds.

    Raises:
        ConfigError: one of them is no node, is wrong in itself, or says otherwise what the whole
            says for all.
    """
    nodes, built = outer[name], {}
    if not isinstance(nodes, Mapping):
        raise ConfigError(f"{where}={nodes} should be a mapping from names to nodes with _target_")
    for part, node in nodes.items():
        place = f"{where}.{part}"
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise ConfigError(f"{place}={node} should be a node with _target_, or null")
        for option in node.keys() & outer.keys() - {*RESERVED, name}:
            if node[option] != outer[option]:
                whole = f"{where.rpartition('.')[0]}.{option}={outer[option]}"
                raise ConfigError(
                    f"{place}.{option}={node[option]} and {whole}: it is said once, for the whole"
                )
        own = {key: value for key, value in node.items() if key in RESERVED or key not in outer}
        make = prepared(own, place, allow=allow, kind=kind)
        with options_at(place, own, of=where.partition(".")[0]):
            built[part] = make()
    return built


@contextmanager
def options_at(place: str, options: Iterable[str], *, of: str = "adapter") -> Iterator[None]:
    """Let errors name options where they are.

    Args:
        place: of the options: ``adapter.parts.lora``.
        options: their names.
        of: what errors take for their place.
    """
    names = "|".join(sorted(options))
    try:
        yield
    except ConfigError as error:
        text = re.sub(rf"\b{of}\.(?=(?:{names})\b)", f"{place}.", str(error))
        raise ConfigError(text) from None


def takes(node: Mapping[str, Any], where: str, allow: Sequence[str] = ()) -> frozenset[str]:
    """Return the names of the parameters that the target of `node` has.

    Raises:
        ConfigError: there is no such target, or the config may not name it.
    """
    return frozenset(inspect.signature(trusted_target(node["_target_"], where, allow)).parameters)
