"""Checking plain values against a typed schema, and saying the first mistake in one line."""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from adapterlab.base.errors import ConfigError, allowed

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

T = TypeVar("T")


def checked(adapter: TypeAdapter[T], values: Any, where: str = "") -> T:
    """Validate `values`, and say the first mistake in one line.

    Raises:
        ConfigError: a value has the wrong type or lies outside its domain.
    """
    try:
        # Read as JSON: strict about types, and still builds dataclasses out of mappings.
        return adapter.validate_json(json.dumps(values))
    except ValidationError as error:
        raise ConfigError(describe(error, values, where)) from None


def describe(error: ValidationError, values: Any, where: str = "") -> str:
    """Say the first mistake of a validation in one line: option, value, what is allowed.

    Args:
        error: what pydantic found.
        values: what it was looking at.
        where: the place of `values` in the config.
    """
    first = error.errors(include_url=False)[0]
    path, siblings = _located(first["loc"], values)
    option = ".".join([where, *path] if where else path)
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    match first["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{option} is not an option; {allowed(path[-1], siblings)}"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            missing = str(first["loc"][-1])
            return f"{option}.{missing} is missing" if option else f"{missing} is missing"
        case "union_tag_not_found":
            kind = first["ctx"]["discriminator"].strip("'")
            return f"{option}.{kind} is missing"
        case "union_tag_invalid":
            details = first["ctx"]
            kind = details["discriminator"].strip("'")
            return f"{option}.{kind}={details['tag']!r} should be {details['expected_tags']}"
        case "string_pattern_mismatch":
            return (
                f"{option}={_short(first['input'])} names files: letters, digits, '.', '_' and "
                f"'-' are allowed, the first a letter, digit or '_'{as_file_name(first['input'])}"
            )
        case _:
            # "List should have at least 2 items": of the value, not of a type.
            _, verb, rest = message.partition(" should ")
            rest = rest if verb else f"be {message}"
            return f"{option}={_short(first['input'])} should {rest}"


def _located(loc: tuple[int | str, ...], values: Any) -> tuple[list[str], list[str]]:
    """Return an option's path, and the names of the options beside it.

    Pydantic's path also names the members of unions ("sgd", "str"), which are no options.
    """
    path: list[str] = []
    siblings: list[str] = []
    for part in loc:
        if isinstance(values, Mapping) and part in values:
            siblings = [str(name) for name in values if name not in (part, "_target_")]
        elif not (isinstance(values, list) and isinstance(part, int) and part < len(values)):
            continue
        path.append(str(part))
        values = values[part]
    return path, siblings


def as_file_name(value: object) -> str:
    """Say what could be written instead, if there is anything."""
    letters = unicodedata.normalize("NFKD", str(value).replace("ß", "ss"))
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", letters).strip("-.")
    return f"; such as {plain}" if plain else ""


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
