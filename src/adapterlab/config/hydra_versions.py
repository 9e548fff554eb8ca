"""What Hydra 1.3 and 1.4 are told in two ways; all else of the project is the same on both.

Hydra 1.4 has one behaviour, and deprecates `version_base`, by which 1.3 chooses among several; it
makes only what is trusted by name, where 1.3 makes whatever a configuration names. OmegaConf 2.4,
which comes with it, gave the function that registers resolvers another name.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf
from omegaconf.errors import KeyValidationError

BEFORE_1_4 = hydra.__version__.startswith("1.3.")

CALLBACKS = ["adapterlab.app.callback.StudyCallback"]
"""What conf/ has Hydra make beside launchers and sweepers, which it trusts as plugins."""

_BASE: dict[str, Any] = {"version_base": "1.3"} if BEFORE_1_4 else {}


def program(conf: Path, name: str) -> Callable[[Callable[[Any], Any]], Any]:
    """Return a decorator as `hydra.main`, for a program with the options of ``conf/NAME.yaml``."""
    trusted: dict[str, Any] = {} if BEFORE_1_4 else {"execution_whitelist": CALLBACKS}
    return hydra.main(config_path=str(conf), config_name=name, **_BASE, **trusted)


def composing(conf: Path, **options: Any) -> AbstractContextManager[Any]:
    """Return a context in which `hydra.compose` reads the folder `conf`; options are Hydra's."""
    return hydra.initialize_config_dir(str(conf), **options, **_BASE)


def register_resolver(name: str, function: Callable[..., Any]) -> None:
    """Make known a function that conf/ calls, as in ``${name:}``; over one of the same name."""
    register: Any = OmegaConf.register_new_resolver if BEFORE_1_4 else OmegaConf.register_resolver
    register(name, function, replace=True)


@contextmanager
def listing_once() -> Iterator[None]:
    """Let Hydra list the choices of all groups, as `--help` does, out of one copy of its sources.

    For each of some 160 questions it would copy all that plugins have registered, which takes
    longer than all else of `--help`.
    """
    hydras: Any = ConfigLoaderImpl
    asked: Any = ConfigLoaderImpl.get_group_options
    copies: dict[ConfigLoaderImpl, Any] = {}

    def get_group_options(
        loader: ConfigLoaderImpl,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        if config_name or overrides:
            return list(asked(loader, group_name, results_filter, config_name, overrides))
        if loader not in copies:
            _, copies[loader] = loader._parse_overrides_and_create_caching_repo(None, [])
        return list(copies[loader].get_group_options(group_name, results_filter))

    try:
        hydras.get_group_options = get_group_options
        yield
    finally:
        hydras.get_group_options = asked


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
