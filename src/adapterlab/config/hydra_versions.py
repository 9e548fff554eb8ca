"""What Hydra 1.3 and 1.4 are told in two ways; all else of the project is the same on both.

Hydra 1.4 has one behaviour, and deprecates `version_base`, by which 1.3 chooses among several; it
makes only what is trusted by name, where 1.3 makes whatever a configuration names. OmegaConf 2.4,
which comes with it, gave the function that registers resolvers another name.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf
from omegaconf.errors import KeyValidationError

BEFORE_1_4 = hydra.__version__.startswith("1.3.")

CALLBACKS = ["adapterlab.app.callback.StudyCallback"]
"""What conf/ has Hydra make beside launchers and sweepers, which it trusts as plugins."""

_BASE: dict[str, Any] = {"version_base": "1.3"} if BEFORE_1_4 else {}


def program(conf: Path, name: str) -> Callable[[Callable[[Any], Any]], Any]:
    """Return a decorator as `hydra.main`, for a program with the options of ``conf/NAME.yaml``.

    What it makes has that name as `config_name`.
    """
    trusted: dict[str, Any] = {} if BEFORE_1_4 else {"execution_whitelist": CALLBACKS}
    decorate = hydra.main(config_path=str(conf), config_name=name, **_BASE, **trusted)

    def of_a_name(task: Callable[[Any], Any]) -> Any:
        made: Any = decorate(task)
        made.config_name = name
        return made

    return of_a_name


def composing(conf: Path, **options: Any) -> AbstractContextManager[Any]:
    """Return a context in which `hydra.compose` reads the folder `conf`; options are Hydra's."""
    return hydra.initialize_config_dir(str(conf), **options, **_BASE)


def register_resolver(name: str, function: Callable[..., Any]) -> None:
    """Make known a function that conf/ calls, as in ``${name:}``; over one of the same name."""
    register: Any = OmegaConf.register_new_resolver if BEFORE_1_4 else OmegaConf.register_resolver
    register(name, function, replace=True)


def mend_resolving() -> None:
    """Let `--cfg job --resolve` write what ``${oc.create:{}}`` makes.

    OmegaConf 2.4.1rc1 cannot resolve in place what its own `oc.create` returns, which has a parent
    and no key; without a parent it can. Where a version can as it is, nothing is changed.
    """
    if BEFORE_1_4:
        return
    try:
        OmegaConf.resolve(OmegaConf.create({"made": "${oc.create:{}}"}))
    except KeyValidationError:
        register_resolver("oc.create", lambda value: OmegaConf.create(value))
