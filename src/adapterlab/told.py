"""What a run was told on its command line, and which of it makes its arm's name.

A configuration says what a run is, not in what it was meant to differ. That is in the command: the
options that a multirun varies, and those of the strategy, are what people call its arms by.
"""

import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hydra.types import RunMode
from omegaconf import OmegaConf

from adapterlab.config import Told, Tuning

VARIED_VARIABLE = "ADAPTERLAB_VARIED"
"""The environment variable that tells every process of a multirun which options it varies."""

UNNAMED = (
    *("resume", "plan", "pack", "root", "data_dir", "tracking", "study", "tuning", "report"),
    *("seed", "init_seed", "order_seed", "dataset.validation_seed", "hydra"),
)
"""Options that are no part of what an arm is."""

METHOD = ("arm", "adapter", "optimizer")
"""Groups of options that make an arm's name even where nothing varies."""


def varied_by(config: Any) -> list[str]:
    """Return the options that a multirun varies.

    Args:
        config: of the sweep, with Hydra's own part.
    """
    sweeper = OmegaConf.to_container(config.hydra.sweeper)
    assert isinstance(sweeper, dict)
    keys = _swept(config.hydra.overrides.task)
    params = sweeper.get("params")
    if isinstance(params, Mapping):  # values of Optuna's may be more than text
        keys += _swept(f"{key}={value}" for key, value in params.items())
    for arm in sweeper.get("arms") or ():  # the tuned sweeper's
        keys += [_key(override) for override in shlex.split(str(arm))]
    keys += [str(key) for key in sweeper.get("tune") or ()]
    return sorted(set(keys))


def remember_varied(config: Any) -> None:
    """Tell all processes of a multirun, this one included, what it varies."""
    os.environ[VARIED_VARIABLE] = json.dumps(varied_by(config))


def told(tuning: Tuning | None) -> Told | None:
    """Return what the job that Hydra is at was told; None outside of Hydra's jobs.

    Args:
        tuning: of the job; what it has chosen does not name an arm.
    """
    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    last = {_key(override): override for override in hydra.overrides.task}
    options = {key: o for key, o in sorted(last.items()) if not _within(key, UNNAMED)}
    varied: set[str] | None = None
    if hydra.mode is RunMode.MULTIRUN:
        varied = set(json.loads(os.environ.get(VARIED_VARIABLE, "[]")))
    chosen = set(tuning.chosen) if tuning is not None else set()
    naming = [o for key, o in options.items() if key not in chosen and _names(key, varied)]
    return Told(options=list(options.values()), naming=naming)


def _names(key: str, varied: set[str] | None) -> bool:
    """Say whether an option makes an arm's name; `varied` is None for a run of its own."""
    if varied is None:
        return _within(key, METHOD)
    return key in varied or _within(key, ("adapter",)) or key == "arm"


def _swept(overrides: Iterable[str]) -> list[str]:
    parser = OverridesParser.create()
    keys = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except OverrideParseException:  # whoever carries it out says so, or takes it otherwise
            keys.append(_key(text))
            continue
        if override.is_sweep_override():
            keys.append(_key(text))
    return keys


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _within(key: str, groups: Sequence[str]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)
