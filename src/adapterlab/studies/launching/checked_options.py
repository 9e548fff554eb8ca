"""Options of sweepers and launchers, checked before a study begins.

Hydra checks types only, and converts what it can: texts become numbers, and 0 jobs at once are
taken until something divides by them.
"""

import contextlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from adapterlab.base.errors import ConfigError, first_line
from adapterlab.config.choices import require_names
from adapterlab.config.validation import STRICT, checked
from adapterlab.studies.launching.options import Launching, launching

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
Params = dict[str, Any] | None


def _not_none(jobs: int) -> int:
    if jobs == 0:
        raise ValueError("Input should be a count, or -1 for as many as there are cores")
    return jobs


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Joblib:
    """Options of `hydra/launcher=joblib`; -1 jobs are as many as there are cores."""

    n_jobs: Annotated[int, Field(ge=-1024, le=1024), AfterValidator(_not_none)]
    backend: Literal["loky", "multiprocessing", "threading"] | None
    prefer: Literal["processes", "threads"] | None
    require: Literal["sharedmem"] | None
    verbose: Annotated[int, Field(ge=0)]
    timeout: Positive | None
    pre_dispatch: Text
    batch_size: Text
    temp_folder: Text | None
    max_nbytes: Text | None
    mmap_mode: Literal["r", "r+", "w+", "c"] | None
    inner_max_num_threads: Count | None = None  # since 1.4


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Basic:
    """Options of `hydra/sweeper=basic`."""

    max_batch_size: Count | None
    params: Params


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sequential:
    """Types of the options of `hydra/sweeper=sequential`; its `Design` says what is allowed."""

    arms: list[Text]
    looks: list[Count]
    max_seeds: int | None
    level: float
    margin: float
    spending: str
    params: Params


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Union:
    """Options of `hydra/sweeper=union`."""

    sweeps: Annotated[list[str], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optuna:
    """Options of `hydra/sweeper=optuna`; what its sampler takes, it checks itself."""

    sampler: dict[str, Any]
    direction: Literal["minimize", "maximize"] | list[Literal["minimize", "maximize"]]
    storage: Text | None
    study_name: Text | None
    n_trials: Count
    n_jobs: Annotated[int, Field(ge=1, le=1024)]
    max_failure_rate: Annotated[float, Field(ge=0, le=1)]
    search_space: dict[str, Any] | None = None  # until 1.3
    params: Params
    custom_search_space: Text | None


_KNOWN: Mapping[str, Any] = {
    "JoblibLauncher": Joblib,
    "BasicSweeper": Basic,
    "SequentialSweeper": Sequential,
    "UnionSweeper": Union,
    "OptunaSweeper": Optuna,
}
"""By the class that is named; what is not here checks its options itself, or is the user's own."""

_OURS = ("hydra.", "hydra_plugins.")

PACKED = "hydra_plugins.adapterlab_packed_launcher.packed_launcher.PackedLauncher"
"""Whose options `options` checks."""

_WITHOUT_RESULTS = ("BasicSweeper", "UnionSweeper")
"""Sweepers that choose nothing by what their runs have measured."""


def require_options(config: DictConfig, conf: Path) -> None:
    """Refuse options of a sweep's launcher or sweeper that cannot be meant.

    Args:
        config: of the sweep, with Hydra's own part.
        conf: the folder of the groups.

    Raises:
        ConfigError: one line that names the option, its value and what is allowed.
    """
    for part in ("launcher", "sweeper"):
        node = OmegaConf.select(config, f"hydra.{part}")
        if not isinstance(node, DictConfig):
            raise ConfigError(f"hydra.{part}={node} should be a choice, as in hydra/{part}=basic")
        values: Any = OmegaConf.to_container(node, resolve=True, enum_to_str=True)
        target = str(values.pop("_target_", ""))
        schema = _KNOWN.get(target.rpartition(".")[2])
        if target == PACKED:
            _require_waiting(launching(values), config)
        if schema is not None and target.startswith(_OURS):
            values.pop("defaults", None)
            checked(TypeAdapter(schema), values, f"hydra.{part}")
            if schema is Optuna and values["storage"] is not None:
                _require_storage(values["storage"])
        for written in (*_listed(values, "arms"), *_listed(values, "sweeps")):
            with contextlib.suppress(ValueError):  # a quote that is not closed is said elsewhere
                for override in shlex.split(str(written)):
                    require_names(override, conf)


def _require_waiting(chosen: Launching, config: DictConfig) -> None:
    """Refuse to leave tasks to themselves where a sweeper goes on by their results."""
    sweeper = str(OmegaConf.select(config, "hydra.sweeper._target_"))
    if not chosen.wait and not config.plan and not sweeper.endswith(_WITHOUT_RESULTS):
        name = str(OmegaConf.select(config, "hydra.runtime.choices.hydra/sweeper"))
        raise ConfigError(
            f"hydra.launcher.wait=false: hydra/sweeper={name} chooses by what its runs measure; "
            "allowed: basic, union"
        )


def _require_storage(storage: str) -> None:
    """Refuse a database that Optuna cannot open; it says so in the words of whatever it uses."""
    import optuna

    try:
        optuna.storages.get_storage(storage)
    except Exception as error:
        raise ConfigError(
            f"hydra.sweeper.storage={storage} cannot be used by Optuna {optuna.__version__}: "
            f"{first_line(error)}; null keeps the study in memory"
        ) from None


def _listed(values: Any, option: str) -> list[Any]:
    listed = values.get(option)
    return listed if isinstance(listed, list) else []
