"""Training from Python: one run, or a study, by the options of the command line."""

import os
import warnings
from collections.abc import Sequence
from functools import partial

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from adapterlab.app.callback import StudyCallback
from adapterlab.app.cli import carry_out
from adapterlab.app.python_calls import (
    composing,
    in_python,
    is_swept,
    no_main_program,
    options_of,
    torch_as_it_was,
    warn_of_undelivered,
)
from adapterlab.app.started_studies import StartedStudy, started
from adapterlab.app.study import Study, study
from adapterlab.base.errors import USER_ERROR, AdapterLabError, ConfigError
from adapterlab.base.signals import in_launched_process
from adapterlab.config.conf_folder import CONF
from adapterlab.runs.budget import parse_solved, warn_of_unused_ranks
from adapterlab.runs.folders.folder import RunResult
from adapterlab.studies.sweeps.composing import own_part

LAUNCHER = "hydra/launcher"


def train(overrides: Sequence[str] = ()) -> RunResult:
    """Carry out one run, as ``python src/train.py`` does with the same options.

    Args:
        overrides: options as on the command line: ``["adapter=lora", "dataset=digits_rotated"]``.

    Returns:
        What it measured; of a run that had finished, with ``resume=true``, what is kept of it.

    Raises:
        AdapterLabError: an option is wrong, data are missing, or the run failed; in one line.
    """
    with in_python():
        options = options_of(overrides)
        for option in filter(is_swept, options):
            raise ConfigError(
                f"{option} is several values, which adapterlab.sweep takes; a list is written [a,b]"
            )
        with composing("train"):
            options.append("hydra.mode=RUN")
            composed = hydra.compose("train", options, return_hydra_config=True)
        HydraConfig.instance().set_config(composed)  # by which a run knows what it was told
        config = parse_solved(own_part(composed))
        warn_of_unused_ranks(config)
        if config.plan:
            raise ConfigError("plan=true is the command line's: python src/train.py plan=true ...")
        with torch_as_it_was():
            result = carry_out(config, quiet=False)
        warn_of_undelivered()
        return result


def sweep(overrides: Sequence[str]) -> Study:
    """Carry out a study, as ``python src/train.py -m`` does with the same options.

    Runs are trained in packs, unless another ``hydra/launcher`` is named. A run that fails by
    itself, one that diverges say, stays in the study, and is warned of.

    Args:
        overrides: options as on the command line, several values of one with commas between them:
            ``["adapter=lora,full", "seed=0,1,2", "study=mine"]``; sweepers as well, such as
            ``hydra/sweeper=tuned``.

    Returns:
        The study, as `adapterlab.study` returns it.

    Raises:
        AdapterLabError: an option is wrong, data are missing, or no run has finished; in one line.
    """
    with in_python():
        options = options_of(overrides)
        if not any(option.partition("=")[0].lstrip("+") == LAUNCHER for option in options):
            options = [f"{LAUNCHER}=packed", *options]
        done, failed = _carry_out(options)
        warn_of_undelivered()
        found = study(
            done.name,
            experiment=done.experiment,
            tracking_uri=done.tracking_uri,
            root=done.root,
        )
        if failed is not None:
            warnings.warn(f"not all runs of study {done.name} finished: {failed}", stacklevel=3)
        return found


class _RefusedError(BaseException):
    """Leaves a sweep at once, past Hydra, which would go on with the next run."""


class _NoCallbacks:
    """What launchers tell of each job, to nobody: that of the multirun is called by `sweep`."""

    callbacks = ()

    def on_job_start(self, config: DictConfig, **_: object) -> None:
        """Hear that a job starts."""

    def on_job_end(self, config: DictConfig, **_: object) -> None:
        """Hear that a job has ended."""


def _carry_out(options: Sequence[str]) -> tuple[StartedStudy, AdapterLabError | None]:
    """Carry out a multirun; return its study, and the first failure that is no mistake."""
    from adapterlab.app.study_end import close_study
    from adapterlab.studies.launching.checked_options import require_options

    ended_by: BaseException | None = None
    done: StartedStudy | None = None
    before = len(started)
    try:
        with composing("train"), no_main_program():
            loader = GlobalHydra.instance().config_loader()
            # The mode as `-m` says it: runs ask for it to know whether they are of several.
            options = [*options, "hydra.mode=MULTIRUN"]
            config = loader.load_configuration("train", options, RunMode.MULTIRUN)
            require_options(config, CONF)
            _require_a_study(config)
            StudyCallback().on_multirun_start(config)
            done = started.pop()
            _require_one(done)
            with torch_as_it_was():
                sweeper = Plugins.instance().instantiate_sweeper(
                    config=config,
                    hydra_context=HydraContext(loader, _NoCallbacks()),  # type: ignore[arg-type]
                    task_function=partial(_job, os.getpid()),
                )
                sweeper.sweep(arguments=list(config.hydra.overrides.task))
    except _RefusedError as refused:
        ended_by = refused.args[0]
    except BaseException as error:
        ended_by = error
    finally:
        del started[before:]
    if done is not None and (kept := close_study(done, ended_by)) is not None and not ended_by:
        raise AdapterLabError(f"study={done.name}: {kept}")
    if ended_by is None:
        assert done is not None
        return done, None
    if isinstance(ended_by, AdapterLabError) and ended_by.exit_code != USER_ERROR and done:
        return done, ended_by
    raise ended_by


def _require_one(done: StartedStudy) -> None:
    """Refuse what would leave several studies."""
    if len(done.names) > 1:
        raise ConfigError(
            f"study={','.join(done.names)} is several studies, and one is returned; allowed: a "
            "call for each"
        )


def _require_a_study(config: DictConfig) -> None:
    """Refuse what leaves no study to be read back."""
    if config.plan:
        raise ConfigError("plan=true is the command line's: python src/train.py -m plan=true ...")
    if OmegaConf.select(config, "hydra.launcher.wait") is False:
        raise ConfigError(
            "hydra.launcher.wait=false leaves no study to return yet; it is the command line's: "
            "python src/train.py -m ..."
        )
    if not config.tracking.enabled:
        raise ConfigError(
            "tracking=none leaves no study to return; allowed: tracking=mlflow, or "
            "adapterlab.train for one run"
        )


def _job(caller: int, cfg: DictConfig) -> float:
    """Carry out a job of a launcher that is not ours, in the caller's process or beside it."""
    if os.getpid() != caller:
        in_launched_process()
    try:
        config = parse_solved(own_part(cfg))
        result = carry_out(config, quiet=True)
    except AdapterLabError as error:
        if error.exit_code == USER_ERROR and os.getpid() == caller:
            raise _RefusedError(error) from error
        raise
    from adapterlab.app.console import print_line

    print_line(result, config)
    return result.metrics[f"best/val_{config.select_on}"]
