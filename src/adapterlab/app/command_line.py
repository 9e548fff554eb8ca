"""A command line as Hydra takes it: flags first, groups that name a choice, no pickles."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from adapterlab.base.errors import ConfigError
from adapterlab.config.choices import require_names
from adapterlab.config.hydra_versions import BEFORE_1_4

INFORMATION = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""What Hydra tells about itself by ``--info``."""


class _Refusing(argparse.ArgumentParser):
    """Raises where its parent class would print how it is used, and end the process."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; --hydra-help lists the flags, an option is option=value")


def parser_of_flags() -> argparse.ArgumentParser:
    """Return a parser of Hydra's flags: its own is no part of what it offers to programs."""
    parser = _Refusing(add_help=False)
    for names in (
        *(("--help", "-h"), ("--hydra-help",), ("--version",), ("--resolve",)),
        *(("--run", "-r"), ("--multirun", "-m"), ("--shell-completion", "-sc")),
    ):
        parser.add_argument(*names, action="store_true")
    for names in (
        *(("--package", "-p"), ("--config-path", "-cp"), ("--config-name", "-cn")),
        *(("--config-dir", "-cd"), ("--experimental-rerun",)),
    ):
        parser.add_argument(*names)
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    told = INFORMATION if BEFORE_1_4 else (*INFORMATION, "aliases")
    parser.add_argument("--info", "-i", const="all", nargs="?", choices=told)
    parser.add_argument("overrides", nargs="*")
    return parser


def in_order(arguments: Sequence[str], conf: Path) -> list[str]:
    """Return arguments as Hydra takes them, or say what is wrong with them.

    Hydra's own parser wants all flags before the options, or all after them.

    Args:
        arguments: what follows the program.
        conf: the folder of the groups.

    Raises:
        ConfigError: a flag is unknown or misused, or a group is given something else than a name.
    """
    given = parser_of_flags().parse_intermixed_args(list(arguments))
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
