"""What a run was told on its command line, and which of it makes its arm's name.

A configuration says what a run is, not in what it was meant to differ. That is in the command: the
options that a multirun varies, and those of the strategy, are what people call its arms by.
"""

import contextlib
import json
import os
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hydra.types import RunMode
from omegaconf import OmegaConf

from adapterlab.base.dotted_names import within

if TYPE_CHECKING:
    from adapterlab.config.bookkeeping import Told, Tuning

VARIED_VARIABLE = "ADAPTERLAB_VARIED"
"""The environment variable that tells every process of a multirun which options it varies."""

UNNAMED = (
    *("resume", "plan", "pack", "root", "data_dir", "tracking", "study", "tuning", "report"),
    *("mlflow_model", "figures", "trial_pruner"),
    *("allow_targets", "seed", "init_seed", "order_seed", "dataset.validation_seed", "hydra"),
)
"""Options that are no part of what an arm is."""

METHOD = ("arm", "adapter", "optimizer")
"""Groups of options that make an arm's name even where nothing varies."""


def varied_by(config: Any) -> dict[str, list[str]]:
    """Return the options that a multirun varies, and their values as they were written.

    Hydra writes 1e-3 as 0.001 when it hands it to a job.

    Args:
        config: of the sweep, with Hydra's own part.
    """
    sweeper = OmegaConf.to_container(config.hydra.sweeper)
    assert isinstance(sweeper, dict)
    # The tuned and the union sweeper's; they say themselves what is wrong with them.
    tune, arms, sweeps = (sweeper.get(key) for key in ("tune", "arms", "sweeps"))
    varied: dict[str, list[str]] = {}
    if isinstance(tune, Mapping):
        varied = {str(key): [] for key in tune}
    for arm in arms if isinstance(arms, list) else ():
        with contextlib.suppress(ValueError):  # a quote that is not closed
            varied |= {_key(override): [] for override in shlex.split(str(arm))}
    for sweep in sweeps if isinstance(sweeps, list) else ():
        with contextlib.suppress(ValueError):
            own = shlex.split(str(sweep))
            varied |= {_key(override): [] for override in own} | _swept(own)
    params = sweeper.get("params")
    if isinstance(params, Mapping):  # values of Optuna's may be more than text
        varied |= _swept(f"{key}={value}" for key, value in params.items())
    return varied | _swept(config.hydra.overrides.task)


def remember_varied(config: Any) -> None:
    """Tell all processes of a multirun, this one included, what it varies."""
    os.environ[VARIED_VARIABLE] = json.dumps(varied_by(config))


@dataclass(frozen=True)
class Given:
    """What a job of Hydra's was given.

    Attributes:
        overrides: of the job, in their order.
        of_sweep: whether it is a job of a multirun.
    """

    overrides: tuple[str, ...]
    of_sweep: bool


def given_now() -> Given | None:
    """Return what the job that Hydra is at was given; None outside of Hydra's jobs."""
    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    return Given(tuple(hydra.overrides.task), hydra.mode is RunMode.MULTIRUN)


def told(tuning: "Tuning | None", given: Given | None) -> "Told | None":
    """Return what a job was told; None outside of Hydra's jobs.

    Args:
        tuning: of the job; what it has chosen does not name an arm.
        given: to the job.
    """
    if given is None:
        return None
    last = {_key(override): override for override in given.overrides}
    varied: dict[str, list[str]] | None = None
    if given.of_sweep:
        varied = json.loads(os.environ.get(VARIED_VARIABLE, "{}"))
    options = {
        key: _as_written(override, (varied or {}).get(key, ()))
        for key, override in sorted(last.items())
        if not within(key, UNNAMED)
    }
    chosen = set(tuning.chosen) if tuning is not None else set()
    naming = [o for key, o in options.items() if key not in chosen and _names(key, varied)]
    from adapterlab.config.bookkeeping import Told  # the schema: not before a configuration is read

    return Told(options=list(options.values()), naming=naming)


def _names(key: str, varied: Collection[str] | None) -> bool:
    """Say whether an option makes an arm's name; `varied` is None for a run of its own."""
    if varied is None:
        return within(key, METHOD)
    return key in varied or within(key, ("adapter",)) or key == "arm"


def _swept(overrides: Iterable[str]) -> dict[str, list[str]]:
    parser = OverridesParser.create()
    values = {}
    for text in overrides:
        try:
            swept = parser.parse_override(text).is_sweep_override()
        except OverrideParseException:  # whoever carries it out says so, or takes it otherwise
            swept = True
        if swept:
            values[_key(text)] = [v.strip() for v in text.partition("=")[2].split(",")]
    return values


def _as_written(override: str, written: Iterable[str]) -> str:
    """Return an override with its number as it was written, where that is known."""
    option, equals, value = override.partition("=")
    number = _number(value)
    same = (text for text in written if number is not None and _number(text) == number)
    return f"{option}{equals}{next(same, value)}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
