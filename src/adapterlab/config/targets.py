"""Build what a config names by `_target_`, its arguments checked against the target's signature."""

import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from adapterlab.base.errors import ConfigError, allowed
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
) -> Callable[..., Any]:
    """Return the target of `node` with its arguments checked and bound.

    Args:
        node: `_target_`, the dotted path of a callable; `name` and maybe `label`, which are for
            people; a model's `tokenizer`, a node of its own; and arguments.
        where: the node's place in the config, for errors.
        supplied: parameters that the caller passes later; the config may not set them.
        perhaps: likewise, where the target has them.
        allow: whose code the config may name, beside this program's; see `trust.target`.

    Raises:
        ConfigError: there is no such target, the config may not name it, or an argument is
            unknown, missing or of the wrong type.
    """
    target = trusted_target(node["_target_"], where, allow)
    reserved = (*RESERVED, "tokenizer") if where == "model" else RESERVED
    arguments = {key: value for key, value in node.items() if key not in reserved}
    signature = inspect.signature(target).parameters
    if lacking := [name for name in supplied if name not in signature]:
        raise ConfigError(f"{where}._target_={node['_target_']} takes no {lacking[0]}")
    parameters = {
        name: parameter
        for name, parameter in signature.items()
        if name not in supplied and name not in perhaps and parameter.kind not in _CATCH_ALL
    }
    for key in arguments:
        if key not in parameters:
            raise ConfigError(f"{where}.{key} is not an option; {allowed(key, parameters)}")
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    schema: dict[str, Any] = {
        name: (hints.get(name, Any), ... if p.default is p.empty else p.default)
        for name, p in parameters.items()
        if name in arguments or p.default is p.empty
    }
    config = ConfigDict(
        strict=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False
    )
    model = create_model("Arguments", __config__=config, **schema)
    try:
        # Through JSON, strict validation still takes a list for any sequence.
        values = model.model_validate_json(json.dumps(arguments))
    except ValidationError as error:
        raise ConfigError(describe(error, arguments, where)) from None
    return partial(target, **{name: getattr(values, name) for name in schema})


def takes(node: Mapping[str, Any], where: str, allow: Sequence[str] = ()) -> frozenset[str]:
    """Return the names of the parameters that the target of `node` has.

    Raises:
        ConfigError: there is no such target, or the config may not name it.
    """
    return frozenset(inspect.signature(trusted_target(node["_target_"], where, allow)).parameters)
