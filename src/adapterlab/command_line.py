"""A command line as Hydra takes it: flags first, groups that name a choice, no pickles."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from adapterlab.errors import ConfigError, allowed

MAY_BE_NONE = ("arm", "experiment")
"""Groups of which none need be chosen, or several."""

_HYDRA_GROUPS = (
    "hydra",
    "hydra/launcher",
    "hydra/sweeper",
    "hydra/job_logging",
    "hydra/hydra_logging",
)


def in_order(arguments: Sequence[str], conf: Path) -> list[str]:
    """Return arguments as Hydra takes them, or say what is wrong with them.

    Hydra's own parser wants all flags before the options, or all after them.

    Args:
        arguments: what follows the program.
        conf: the folder of the groups.

    Raises:
        ConfigError: a flag is unknown or misused, or a group is given something else than a name.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    given = parser.parse_intermixed_args(list(arguments))
    _require_flags_that_go_together(given)
    options = list(given.overrides)
    flags, left = [], list(options)
    for argument in arguments:
        if left and argument == left[0]:
            left.pop(0)
        else:
            flags.append(argument)
    for option in options:
        require_names(option, conf)
    return [*flags, *options]


def require_names(option: str, conf: Path) -> None:
    """Refuse a group that is given something else than the name of a choice.

    Args:
        option: as it was written.
        conf: the folder of the groups.

    Raises:
        ConfigError: it is.
    """
    try:
        override = OverridesParser.create().parse_override(option)
    except HydraException:  # Hydra is to say it, when it comes to that
        return
    except (ValueError, RecursionError):
        raise ConfigError(f"{option}: a number or a nesting that is too long to be read") from None
    group = str(override.key_or_group)
    if not group:
        raise ConfigError(f"{option} is not of the form option=value")
    is_ours = (conf / group).is_dir()
    if override.is_delete() or not (is_ours or group in _HYDRA_GROUPS):
        return
    several = group in MAY_BE_NONE
    for value in _values(override):
        names: list[object] = value if several and isinstance(value, list) else [value]
        if not all(isinstance(name, str) or (several and name is None) for name in names):
            said = option.partition("=")[2]
            choices = sorted(path.stem for path in (conf / group).glob("*.yaml"))
            what = f"; {allowed('', choices)}" if is_ours else ""
            raise ConfigError(f"{group}={said} should be the name of a choice{what}")


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; --hydra-help lists the flags, an option is option=value")


def _require_flags_that_go_together(given: argparse.Namespace) -> None:
    if given.experimental_rerun is not None:
        raise ConfigError(
            "--experimental-rerun runs what a pickle says; allowed: the options of the run again"
        )
    if given.package is not None and given.cfg is None:
        raise ConfigError(f"--package={given.package} goes with --cfg")
    if given.resolve and given.cfg is None and not given.help:
        raise ConfigError("--resolve goes with --cfg or --help")
    asked = {str(option).partition("=")[0] for option in given.overrides}
    if given.shell_completion and not asked & {"install", "uninstall", "query"}:
        raise ConfigError("--shell-completion takes install=SHELL, uninstall=SHELL or query=SHELL")
    modes = {
        "--run": given.run,
        "--multirun": given.multirun,
        "--cfg": given.cfg is not None,
        "--info": given.info is not None,
        "--shell-completion": given.shell_completion,
    }
    chosen = [name for name, is_given in modes.items() if is_given]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} do not go together; give one of them")


def _values(override: Override) -> list[object]:
    """Return the values that an override gives: one, or those of a sweep."""
    if override.is_sweep_override():
        if not override.is_discrete_sweep():
            return [None] if override.key_or_group not in MAY_BE_NONE else []
        return [_plain(value) for value in override.sweep_iterator()]
    return [_plain(override.value())]


def _plain(value: object) -> object:
    """Return a quoted text as text."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    text = getattr(value, "text", None)
    return text if isinstance(text, str) else value
