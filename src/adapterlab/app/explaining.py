"""What Hydra, OmegaConf and argparse object to, in one line with what is allowed."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    GrammarParseError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from adapterlab.base.errors import (
    AdapterLabError,
    ConfigError,
    DataError,
    MemoryLackError,
    NothingFinishedError,
    allowed,
    first_line,
    out_of_memory,
)

PARSERS = ("hydra", "omegaconf", "antlr4", "hydra_plugins", "optuna", "joblib")
"""Packages that read command lines and conf/; what they raise is about what was written there."""

LONGEST = 1_500
_LONG_WORD = 300
_FULL_ERROR = re.compile(r",? ?set env(ironment)? var(iable)? HYDRA_FULL_ERROR=1.*", re.IGNORECASE)
_LIMITS = (
    "a number of examples of every split, such as 100, or of each: 'limit={train: 4000, test: 800}'"
)

_SYNONYMS = {"learning_rate": "lr", "batch": "batch_size", "bs": "batch_size"}
_NEAR = 0.8
"""Likeness of an option to one beside it from which on it is a misspelling of that."""

_OF_REPORTS = ("compare_on", "reference", "planned")
_BEFORE = re.compile(r"^Error merging override ")
_FULL_KEY = re.compile(r"full_key: *(\S+)")


def as_mistake(error: Exception, conf: Path) -> AdapterLabError | None:
    """Return an error as one that a person can mend, None if it means something else.

    Args:
        error: of Hydra, of the system, or of memory that has run out.
        conf: the folder whose choices can be named.
    """
    if raised_by(("optuna",), error) and "No trials are completed" in str(error):
        return NothingFinishedError("no trial has finished, so there is no best one to name")
    if isinstance(error, HydraException | OmegaConfBaseException) or raised_by(PARSERS, error):
        return ConfigError(explain(error, conf))
    if isinstance(error, MemoryError | RuntimeError) and (said := out_of_memory(error)) is not None:
        return MemoryLackError(said)
    if isinstance(error, OSError) and error.filename is not None:
        return DataError(f"{error.filename}: {error.strerror}")
    return None


def explain(error: BaseException, conf: Path) -> str:
    """Say in one line what Hydra or OmegaConf object to, and what is allowed.

    Args:
        error: that they raised.
        conf: the folder whose choices can be named.
    """
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for link in reversed(chain):
        match link:
            case AdapterLabError():
                return str(link)
            case OverrideParseException(override=override):
                return not_an_override(str(override), str(link.message))
            case MissingConfigException(options=options, missing_cfg_file=str(missing)) if (
                "/" in missing
            ):
                group, name, options = _choices(missing, options or [], conf)
                return f"{group}={name} does not exist; {allowed(name, options)}"
            case MissingMandatoryValue(full_key=str(key)):
                return f"{key} is missing: set {key}=..."
            case InterpolationResolutionError() | GrammarParseError():
                return _of_interpolation(link, chain)
            case ConfigKeyError() | ConfigAttributeError() if link.full_key:
                option, parent = str(link.full_key), link.parent_node
                if option.startswith("limit."):
                    return f"{option} is not an option: limit is {_LIMITS}"
                names = [name for name in parent or () if name not in ("_target_", "hydra")]
                last = option.rpartition(".")[2]
                beside = [str(name) for name in names] if "." in option else []
                near = get_close_matches(last, beside, cutoff=_NEAR)
                if not near and (elsewhere := _elsewhere(option, parent)):
                    return f"{option} is not an option: {elsewhere}"
                if option in _OF_REPORTS:
                    return (
                        f"{option} is no option of a run: what is compared is said to the report, "
                        f"as scripts/report.py study=NAME {option}=..."
                    )
                if plugins := _plugins_with(option):
                    return f"{option} is an option of {' and of '.join(plugins)} only"
                if not names:
                    where = option.rpartition(".")[0]
                    return f"{option} is not an option; {where or 'there'} has no options"
                return f"{option} is not an option; {allowed(last, names)}"
    return _of_composition(chain)


def raised_by(packages: Sequence[str], error: BaseException) -> bool:
    """Say whether one of some packages raised a built-in error itself."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in packages


def not_an_override(override: str, reason: str) -> str:
    """Say why an argument is no override.

    Args:
        override: as it was written.
        reason: Hydra's, which lists what its grammar would have taken.
    """
    says = f"{override} is not of the form option=value"
    option, equals, value = override.partition("=")
    if not equals:
        return says
    if option == "study":
        from adapterlab.config.validation import as_file_name  # the schema, which loads slowly

        return (
            f"study={value} names files: letters, digits, '.', '_' and '-' are allowed, the first "
            f"a letter, digit or '_'{as_file_name(value)}"
        )
    if option == "limit":
        return f"limit={value} should be {_LIMITS}"
    if found := re.search(r"(?:input|at) '(.*?)'(?: expecting| *$)", reason, re.DOTALL):
        where = "its end" if found[1] == "<EOF>" else found[1]
        says += f": not understood at {where}"
    written = value.replace("'", "\\'") if value and len(value) < _LONG_WORD else "..."
    how = f"\"{option}='{written}'\""
    return f"{says}; text with quotes, brackets or signs of its own is written {how}"


def one_line(message: str) -> str:
    """Return a message as a line that a terminal shows as it is, long values cut short."""
    line = "".join(
        c if c.isprintable() else ascii(c)[1:-1] for c in re.sub(r"\s*\n\s*", " ", message.strip())
    )
    line = re.sub(rf"\S{{{_LONG_WORD},}}", lambda word: f"{word[0][:60]}...", line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _of_interpolation(error: BaseException, chain: Sequence[BaseException]) -> str:
    """Say which option could not be looked up, and why."""
    line = first_line(error)
    reason = line.partition("while resolving interpolation: ")[2] or line
    if isinstance(error, GrammarParseError):
        reason = "its ${...} cannot be read"
    reason = reason.strip('"')
    found = (_FULL_KEY.search(str(link)) for link in chain)
    keys = [key[1] for key in found if key is not None and key[1] != "_dummy_"]
    written = [text.partition("=")[2] for text in map(first_line, chain) if _BEFORE.match(text)]
    where = keys[0] if keys else (_BEFORE.sub("", first_line(chain[0])) if written else "")
    return f"{where}: {reason}" if where and where not in reason else reason


def _of_composition(chain: Sequence[BaseException]) -> str:
    """Say what was wrong with an override that does not fit the others."""
    error = chain[0]
    text = _FULL_ERROR.sub("", str(error).strip())
    line, _, more = (text or type(error).__name__).partition("\n")
    if line.endswith(":"):
        line = f"{line} {more.partition(chr(10))[0]}"
    if line.startswith("Ambiguous value"):
        return f"{line}; several values need --multirun, a list is written [a,b]"
    if line.startswith("Config group override"):
        return f"{line}; a group takes a name, as in adapter=lora"
    if not text or _BEFORE.match(line):
        causes = [first_line(link) for link in chain[1:] if str(link).strip()]
        told = [_BEFORE.sub("", line) if text else "", *causes[-1:]]
        line = ": ".join(part for part in told if part) or line
    if isinstance(error, HydraException | OmegaConfBaseException | ValueError):
        return line
    return f"Hydra cannot take this command line: {line}"


def _elsewhere(option: str, parent: Any) -> str:
    """Say which options there are whose last word is that of one that does not exist."""
    last = option.rpartition(".")[2]
    wanted = _SYNONYMS.get(last, last)
    root = None if parent is None else parent._get_root()
    paths = [path for path in _paths(root) if path.rpartition(".")[2] == wanted]
    paths.sort(key=lambda path: (not path.startswith(option.rpartition(".")[0]), path.count(".")))
    if not paths:
        return ""
    more = f", or {' or '.join(paths[1:3])}" if len(paths) > 1 else ""
    return f"it is {paths[0]}{more}"


def _plugins_with(option: str) -> list[str]:
    """Return the launchers, or the sweepers, that have an option: ``hydra/launcher=packed``."""
    where, _, last = option.rpartition(".")
    group, store = where.replace(".", "/"), ConfigStore.instance()
    if group not in ("hydra/launcher", "hydra/sweeper"):
        return []
    files = [str(name) for name in store.list(group) if str(name).endswith(".yaml")]
    found = [name for name in files if last in store.load(f"{group}/{name}").node]
    return [f"{group}={name.removesuffix('.yaml')}" for name in found]


def _paths(node: Any, before: str = "") -> list[str]:
    """Return the dotted names of all options of a run."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
        return []
    found = []
    for name in node:
        if before or name != "hydra":
            inside = node._get_node(name)
            path = f"{before}.{name!s}" if before else str(name)
            found += [path, *_paths(inside, path)]
    return found


def _choices(missing: str, found: Sequence[str], conf: Path) -> tuple[str, str, Sequence[str]]:
    """Return group and name of a choice that does not exist, and the choices that do.

    Args:
        missing: both, as a path: ``arm/imdb_distilbert/lore``.
        found: what Hydra names, which leaves out choices in folders of their own.
        conf: the folder of the groups.
    """
    group, _, name = missing.partition("/")
    near = conf / missing.rpartition("/")[0]
    if group == "hydra" or not near.is_dir():
        group, _, name = missing.rpartition("/")
        return group, name, found
    files = sorted(near.rglob("*.yaml"))
    return group, name, [str(p.relative_to(conf / group).with_suffix("")) for p in files]
