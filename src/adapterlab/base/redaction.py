"""Keeping passwords out of what leaves a process: files, a store, the terminal, logs.

A tracking URI may hold a password, because that is how databases and servers are named. A process
needs it, and nobody who reads its runs does. So a configuration keeps the URI as it was given, and
is written through `public` wherever it is written; texts for people go through `shown`. See
docs/security.md.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from omegaconf import OmegaConf

HIDDEN = "***"

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<rest>[^\s'\"<>]+)", re.IGNORECASE)
_VALUE = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<rest>.+)", re.IGNORECASE | re.DOTALL)
"""A URI in a sentence, and one that an option's value ends with: passwords may have any sign."""

_USERINFO = re.compile(r"(?P<user>[^\s/:@?#]*)(?P<password>:.*)?@", re.DOTALL)
_QUERY = re.compile(r"(?P<name>[?&;#][^=&;#\s]+)=(?P<value>[^&;#\s]*)")
_SECRET_NAME = re.compile(r"pass|pwd|token|secret|key|sig|auth|cred", re.IGNORECASE)
_WEB = ("http", "https")
"""Where a user without a password is a token, rather than somebody's name."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Signs that a terminal obeys, all of them, and those but for tabs and ends of lines."""

_known: set[str] = set()
"""Passwords of this process's URIs, and parts that a driver may name when it cannot read one."""


def redacted(text: str) -> str:
    """Return a text with every password in a URI, and those that are known, replaced by ``***``."""
    text = _URL.sub(_without_secrets, text)
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def shown(text: str) -> str:
    """Return a text as one line for a terminal or a log: without secrets and control characters."""
    return _CONTROL.sub(" ", redacted(text)).strip()


def printable(text: str) -> str:
    """Return a text without what a terminal would obey: names and texts may be anybody's."""
    return _COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text)


def public(values: Any) -> Any:
    """Return plain values as others may see them: mappings, lists and texts without secrets."""
    if isinstance(values, str):
        return _VALUE.sub(_without_secrets, values)
    if isinstance(values, Mapping):
        return {key: public(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [public(value) for value in values]
    return values


def public_uri(uri: str) -> str:
    """Return a URI as others may see it, with ``***`` for its password."""
    return str(public(uri))


def without_password(uri: str) -> str:
    """Return a URI as it may lie on disk: without user and password, and tokens in its query."""
    parts = urlsplit(uri)
    if not parts.netloc:  # of a file, whose slashes would not all be put back
        return public_uri(uri)
    return public_uri(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))


def remember(uri: str | None) -> None:
    """Know the secrets of a URI, so that they are taken out of any text from now on."""
    for url in _VALUE.finditer(uri or ""):
        userinfo = _USERINFO.match(url["rest"])
        found = [pair["value"] for pair in _secret_pairs(url["rest"])]
        if userinfo is not None:
            secret = (userinfo["password"] or "").removeprefix(":")
            found.append(secret or (userinfo["user"] if _is_web(url["scheme"]) else ""))
        for secret in found:
            for form in (secret, unquote(secret)):
                # A driver that takes a password's slash for the end of the host names the parts.
                _known.update(part for part in (form, *re.split(r"[/@:?#]", form)) if len(part) > 3)


def redact_files() -> None:
    """Let OmegaConf write without secrets, by which Hydra writes multirun.yaml and .hydra/."""
    plain = OmegaConf.to_yaml
    if getattr(plain, "redacts", False):
        return

    def to_yaml(cfg: Any, *, resolve: bool = False, sort_keys: bool = False) -> str:
        text = plain(cfg, resolve=resolve, sort_keys=sort_keys)
        if "://" not in text:
            return text
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
        if (clean := public(values)) == values:
            return text
        return plain(OmegaConf.create(clean), sort_keys=sort_keys)

    to_yaml.redacts = True  # type: ignore[attr-defined]
    OmegaConf.to_yaml = staticmethod(to_yaml)  # type: ignore[method-assign]


def _without_secrets(url: re.Match[str]) -> str:
    scheme, rest = url["scheme"], url["rest"]
    userinfo = _USERINFO.match(rest)
    if userinfo is not None:
        user, after = userinfo["user"], rest[userinfo.end() :]
        if userinfo["password"] is not None:
            rest = f"{user}:{HIDDEN}@{after}"
        elif _is_web(scheme) and user:
            rest = f"{HIDDEN}@{after}"
    for pair in reversed(list(_secret_pairs(rest))):
        rest = f"{rest[: pair.start('value')]}{HIDDEN}{rest[pair.end('value') :]}"
    return f"{scheme}{rest}"


def _secret_pairs(rest: str) -> list[re.Match[str]]:
    """Return the parts of a query that are called like secrets."""
    return [pair for pair in _QUERY.finditer(rest) if _SECRET_NAME.search(unquote(pair["name"]))]


def _is_web(scheme: str) -> bool:
    return scheme.removesuffix("://").lower() in _WEB
