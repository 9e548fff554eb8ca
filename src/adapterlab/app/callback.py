"""What Hydra calls when a multirun begins: it gets a study's name, and is remembered for the end.

Nothing heavy is imported here; Hydra loads this at every start.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.app.started_studies import StartedStudy, started
from adapterlab.base.errors import ConfigError
from adapterlab.base.signals import start_trackers
from adapterlab.config.multirun import STUDY_VARIABLE, begin_multirun
from adapterlab.config.overrides import remember_varied, varied_by

_NO_IDENTITY = (
    "resume",
    "plan",
    "pack",
    "report",
    "figures",
    "root",
    "data_dir",
    "allow_targets",
    "tracking",
    "hardware",
    "hydra",
)
_NEEDED = (
    *("root", "tracking", "tracking.enabled", "tracking.uri", "tracking.experiment"),
    *("study", "plan", "report"),
)
_LONGEST = 60


class StudyCallback(Callback):
    """Names the study of a multirun that has no name."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Derive the name from the overrides, so that the same command finds its study again.

        Options of launcher and sweeper that cannot be meant end the command; Hydra turns all other
        exceptions of a callback into warnings.
        """
        from adapterlab.config.conf_folder import CONF
        from adapterlab.studies.launching.checked_options import require_options

        with mistakes_in_one_line():
            _require_all(config)
            require_options(config, CONF)
        remember_varied(config)
        if "joblib" in str(OmegaConf.select(config, "hydra.launcher._target_")):
            start_trackers()
        if config.study is None:
            overrides = list(config.hydra.overrides.task)
            params = OmegaConf.select(config, "hydra.sweeper.params")
            swept = dict(params) if isinstance(params, DictConfig) else {}
            sweeper = config.hydra.sweeper
            if sweeper.get("arms"):  # of the tuned sweeper, or of the sequential one
                parts = ("arms", "tune", "tuning_seeds", "seeds")
                design = [sweeper[part] for part in parts if part in sweeper]
                swept["compare"] = ",".join(str(part) for part in design)
            if "sweeps" in sweeper:  # the union sweeper's
                swept["union"] = ",".join([*sweeper.sweeps, ""])
            given = {override.partition("=")[0].lstrip("+~") for override in overrides}
            overrides += [f"{key!s}={value}" for key, value in swept.items() if key not in given]
            os.environ[STUDY_VARIABLE] = study_name(overrides)
            with open_dict(config):  # where `study=null` is written, nothing else asks for it
                config.study = os.environ[STUDY_VARIABLE]
        if not config.plan:
            started.append(
                StartedStudy(
                    name=config.study,
                    multirun=begin_multirun(),
                    root=config.root,
                    tracking_uri=config.tracking.uri,
                    tracked=config.tracking.enabled,
                    experiment=config.tracking.experiment,
                    report=config.report,
                    figures=str(OmegaConf.select(config, "figures")),
                    names=tuple(varied_by(config).get("study", ())) or (config.study,),
                )
            )


def _require_all(config: DictConfig) -> None:
    """Refuse a command that removes what a study is found by.

    Raises:
        ConfigError: it does, as in ``~tracking``.
    """
    for option in _NEEDED:
        group, _, name = option.rpartition(".")
        if name not in (OmegaConf.select(config, group) or {} if group else config):
            raise ConfigError(f"{option} is missing")


def study_name(overrides: Sequence[str]) -> str:
    """Return a name for what a multirun varies: ``adapter-rank-seed-1f3a9c07``.

    The order of the overrides does not matter, nor do those that change no result.
    """
    kept = sorted(
        override
        for override in overrides
        if override.partition("=")[0].split(".")[0] not in _NO_IDENTITY
        and override.partition("=")[0] != "study"  # null: it is to be named
    )
    digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()[:8]
    swept = [o.partition("=") for o in overrides if o in kept and re.search(r"[,(]", o)]
    names = dict.fromkeys(re.split(r"[./@]", name.lstrip("+~"))[-1] for name, _, _ in swept)
    return "-".join(["-".join(names)[:_LONGEST].strip("-") or "study", digest])
