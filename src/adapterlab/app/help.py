"""What `--help` prints, by the template in conf/hydra/help.

Hydra would print the same; but it asks for the choices of each group by copying all that it has
read, twice, which takes four fifths of the second that its `--help` takes here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

import hydra
from omegaconf import OmegaConf, open_dict

from adapterlab.app.command_line import parser_of_flags
from adapterlab.config.hydra_versions import composing


def help_asked(arguments: Sequence[str]) -> tuple[list[str], bool] | None:
    """Return with which options help is asked for, and whether they are to be resolved.

    Args:
        arguments: of the command line, which are known to be right.

    Returns:
        None where something else is asked for, or more than this module knows: another folder of
        configurations, say.
    """
    given = vars(parser_of_flags().parse_args(list(arguments)))
    options, resolve = given.pop("overrides"), given.pop("resolve")
    asked = given.pop("help") and not any(given.values())
    return (options, resolve) if asked else None


def help_text(conf: Path, name: str, options: Sequence[str], *, resolve: bool) -> str:
    """Return what to know about a program.

    Args:
        conf: the folder of the groups.
        name: of the program's own file in it.
        options: of the command line, in what is shown of the configuration.
        resolve: show values for interpolations.

    Raises:
        hydra.errors.HydraException: an option is wrong.
    """
    with composing(conf, job_name=name):
        config = hydra.compose(name, list(options), return_hydra_config=True)
        template = Template(config.hydra.help.template)
        with open_dict(config):
            del config["hydra"]
        shown = OmegaConf.to_yaml(config, resolve=resolve)
    return template.substitute(APP_CONFIG_GROUPS="".join(_groups(conf)), CONFIG=shown)


def _groups(conf: Path) -> Iterator[str]:
    for folder in sorted(path for path in conf.rglob("*") if path.is_dir()):
        group = folder.relative_to(conf)
        choices = sorted(file.stem for file in folder.glob("*.yaml"))
        if choices and group.parts[0] != "hydra":
            yield f"{group.as_posix()}: {', '.join(choices)}\n"
