"""What costs less while tests run: done once in a process of tests, or where it is asked for.

None of it changes what is computed or written, and processes that tests start do without it.
"""

import io
import logging
import pickle
import shutil
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

import omegaconf
import pytest
import torch
from _pytest.logging import catching_logs
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf, grammar_parser

from adapterlab.base import files, workers
from adapterlab.config.hydra_versions import BEFORE_1_4
from adapterlab.tracking import client
from adapterlab.tracking.stores import sqlite

MIGRATE = sqlite._migrate


def stores_are_copied(patch: pytest.MonkeyPatch, new_store: Callable[[], Path]) -> None:
    """Copy one store where this process would have another made, which takes a second."""

    def migrate(path: Path) -> None:
        if path.stat().st_size > 0:
            MIGRATE(path)
        else:
            shutil.copyfile(new_store(), path)

    patch.setattr(sqlite, "_migrate", migrate)
    patch.setattr(client, "set_up_beside", client.set_up)


def conf_is_read_once(patch: pytest.MonkeyPatch) -> None:
    """Parse each file of conf/, and of Hydra's, once: a third of the time of composing.

    So are their interpolations: the trees that come of them are read, and not changed.
    """
    read: dict[str, bytes] = {}
    original = OmegaConf.load

    def load(file_: Any) -> Any:
        if isinstance(file_, Path):
            text = file_.read_text()
        elif isinstance(file_, io.TextIOBase):
            text = file_.read()
            file_.seek(0)
        else:
            return original(file_)
        if text not in read:
            read[text] = pickle.dumps(original(file_))
        return pickle.loads(read[text])  # a quarter of the time of a deep copy

    patch.setattr(OmegaConf, "load", staticmethod(load))
    parse = lru_cache(maxsize=10_000)(grammar_parser.parse)
    for module in (omegaconf.base, omegaconf._utils):
        patch.setattr(module, "parse", parse)


def commands_are_composed_once(patch: pytest.MonkeyPatch) -> None:
    """Have each command composed for its run alone: half of the time of composing.

    Hydra 1.3 composes it before only to look for `hydra.mode`, which nothing in conf/ sets, and
    copies its store each time.
    """
    initialize = GlobalHydra.initialize

    def initialized(instance: GlobalHydra, hydra: Any) -> None:
        get_mode = hydra.get_mode

        def mode(config_name: str | None, overrides: list[str]) -> Any:
            named = any("hydra.mode" in override for override in overrides)
            return get_mode(config_name, overrides) if named else None

        if BEFORE_1_4:
            hydra.get_mode = mode
        initialize(instance, hydra)

    patch.setattr(GlobalHydra, "initialize", initialized)
    patch.setattr(ConfigStore, "__deepcopy__", lambda store, _: store, raising=False)


def choices_are_listed_where_asked_for(patch: pytest.MonkeyPatch) -> None:
    """Make what interpolations in lists of defaults are resolved by where a list has any.

    Hydra 1.3 makes it, an OmegaConf of all choices, for each file that it composes: a quarter of
    the time of composing.
    """
    if not BEFORE_1_4:
        return
    from hydra._internal import defaults_list

    made = defaults_list._create_interpolation_map

    @wraps(made)
    def if_asked(overrides: Any, defaults: list[Any], self_added: bool) -> Any:
        asked = any(default.is_interpolation() for default in defaults)
        return made(overrides, defaults, self_added) if asked else None

    patch.setattr(defaults_list, "_create_interpolation_map", if_asked)


def no_power_cut(patch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: what tests kill are processes, whose files the system still writes.

    Processes that tests start wait for it.
    """

    def flush(path: Path) -> None:
        path.stat()  # it has to be there

    patch.setattr(files, "flush_one", flush)


def the_only_generator_is_seeded(patch: pytest.MonkeyPatch) -> None:
    """Seed the CPU's generator where there is no other device.

    `torch.manual_seed` keeps the trace of its caller for three kinds of device, in case one of them
    begins: as long as a tiny model takes for a step.
    """

    def seed_cpu(seed: int) -> torch.Generator:
        return torch.default_generator.manual_seed(int(seed))

    if not torch.accelerator.is_available():
        patch.setattr(torch, "manual_seed", seed_cpu)


def logs_are_heard_at_the_root(patch: pytest.MonkeyPatch) -> None:
    """Have pytest hear what reaches the root logger, as before 9.2: a millisecond less a test.

    It looks through some six hundred loggers six times a test for those that pass nothing on to the
    root, and hangs its handlers on them as well: sixty, all of libraries.
    """
    if "attached_loggers" not in catching_logs.__slots__:
        return  # such a pytest
    everywhere = catching_logs.__enter__

    def at_the_root(catching: catching_logs[Any]) -> Any:
        if catching.level is not None:
            return everywhere(catching)
        logging.getLogger().addHandler(catching.handler)
        catching.attached_loggers.append(logging.getLogger())
        return catching.handler

    patch.setattr(catching_logs, "__enter__", at_the_root)


def small_things_wait(patch: pytest.MonkeyPatch) -> None:
    """Keep the process for small things, which else ends when it has had nothing to do for long.

    It loads for seconds, and tests ask for it every other minute.
    """
    patch.setattr(workers, "IDLE_SECONDS", 3600)


WAYS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    conf_is_read_once,
    commands_are_composed_once,
    choices_are_listed_where_asked_for,
    no_power_cut,
    the_only_generator_is_seeded,
    logs_are_heard_at_the_root,
    small_things_wait,
)
"""All but the one that needs a store to copy."""
