"""The command line. Only this file meets Hydra's decorator.

Nothing heavy is imported here: `--help` and `--cfg job` answer at once, and a mistake in the
configuration is found before torch is loaded.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from adapterlab.arguments import DEALT_ARM, REPORT_EXPERIMENT, for_hydra
from adapterlab.budgets import parse_solved
from adapterlab.config import Config
from adapterlab.errors import AdapterLabError, allowed
from adapterlab.full_disk import said_where_full
from adapterlab.garbage import seldom_collected
from adapterlab.interrupts import INTERRUPTED
from adapterlab.output import set_up_output
from adapterlab.parsing import source_dataset
from adapterlab.redaction import redact_files, redacted, shown
from adapterlab.runs import RunResult
from adapterlab.signals import GOES_ON, at_sudden_end, in_launched_process, listening
from adapterlab.store import require_store
from adapterlab.store_uris import default_uri
from adapterlab.studies.closing import end_at_once, end_command

USER_ERROR = 2


def find_conf() -> Path:
    """Return the folder conf/: in the checkout, or inside an installed wheel."""
    checkout = Path(__file__).parents[2] / "conf"
    return checkout if (checkout / "train.yaml").is_file() else Path(__file__).parent / "conf"


def default_root() -> str:
    """Return the folder that mlruns/ lies in: the checkout, or else the working directory."""
    conf = find_conf()
    return str(Path.cwd() if conf.parent == Path(__file__).parent else conf.parent)


CONF = find_conf()


@listening()
@seldom_collected()
def train() -> None:
    """Train one run, or several with `-m`: the console script `adapterlab-train`."""
    ended_by: BaseException | None = None
    try:
        with at_sudden_end(end_at_once, last=True):
            run_command(_train)
    except BaseException as error:
        ended_by = error
        raise
    finally:
        end_command(ended_by)


@listening()
@seldom_collected()
def evaluate() -> None:
    """Evaluate a saved run again: the console script `adapterlab-evaluate`."""
    run_command(_evaluate)


@listening()
@seldom_collected()
def export() -> None:
    """Write the merged model of a saved run: the console script `adapterlab-export`."""
    run_command(_export)


@listening()
@seldom_collected()
def report() -> None:
    """Compare the runs of a study: the console script `adapterlab-report`."""
    run_command(_report)


@listening()
@seldom_collected()
def selfcheck() -> None:
    """Try out how often verdicts are false: the console script `adapterlab-selfcheck`."""
    run_command(_selfcheck)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def _train(cfg: DictConfig) -> float | None:
    in_launched_process()
    multirun = HydraConfig.get().mode is RunMode.MULTIRUN
    with mistakes_in_one_line(sweep=multirun):
        config = parse_solved(cfg)
        if config.plan:
            from adapterlab.plans import show_plan

            show_plan(config)
            return None
        if multirun:
            for name in ("pipeline", "training"):
                logging.getLogger(f"adapterlab.{name}").setLevel(logging.WARNING)
        result = _run(config, quiet=multirun)
    from adapterlab.console import print_line, print_result

    if multirun:
        print_line(result)
    else:
        print_result(result, _ui(config))
    return result.metrics[f"best/val_{config.select_on}"]


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
def _evaluate(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        from adapterlab.evaluation import evaluate_saved, parse_request

        evaluation = evaluate_saved(parse_request(values))
    from adapterlab.console import print_evaluation

    print_evaluation(evaluation)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="export")
def _export(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        from adapterlab.exporting import export_saved, parse_request

        exported = export_saved(parse_request(values))
    from adapterlab.console import print_export

    print_export(exported)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="report")
def _report(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        from adapterlab.reporting.report import make_report, parse_request

        values["experiment"] = values.pop(REPORT_EXPERIMENT)
        study = make_report(parse_request(values))
    from adapterlab.console import print_report

    print_report(study)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="selfcheck")
def _selfcheck(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        from adapterlab.reporting.selfcheck import parse_request, self_check

        values["experiment"] = values.pop(REPORT_EXPERIMENT)
        values["arm"] = values.pop(DEALT_ARM)
        checked = self_check(parse_request(values))
    print("\n".join(checked.lines))
    if checked.broken:
        sys.exit(1)


def _run(config: Config, *, quiet: bool) -> RunResult:
    # What can be said without Lightning, which takes seconds to load, is said before.
    from adapterlab.building import check
    from adapterlab.loading import load_data
    from adapterlab.resuming import finished_run

    check(config)
    require_store(config)
    data = load_data(config)
    finished = finished_run(config, data)
    if finished is not None:
        if not quiet:
            print("this run had finished: nothing was trained", file=sys.stderr)
        return finished
    os.environ.setdefault("MPLCONFIGDIR", str(config.mlruns / "cache" / "matplotlib"))
    from adapterlab.pipeline import run

    return run(config, data)


def _ui(config: Config) -> str:
    uri = config.tracking.uri
    return redacted(uri) if uri else f"mlflow ui --backend-store-uri {default_uri(config.mlruns)}"


def run_command(command: Callable[[], Any]) -> None:
    """Carry out a program of the command line, and say in one line what a user can mend."""
    # Hydra would print a mistake its own way and exit with 1; with this it raises.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    set_up_output()
    of = {"of_report": command is _report, "of_selfcheck": command is _selfcheck}
    sys.argv[1:] = [for_hydra(argument, **of) for argument in sys.argv[1:]]
    with mistakes_in_one_line():
        try:
            command()
        except ValueError as error:
            if _raised_by("optuna", error) and "No trials are completed" in str(error):
                _fail("no trial has finished, so there is no best one to name", 1)
            if not _raised_by("hydra", error):
                raise
            _fail(f"{_first_line(error)}; a group takes a name, as in adapter=lora", USER_ERROR)


@contextmanager
def mistakes_in_one_line(*, sweep: bool = False) -> Iterator[None]:
    """Turn a user's mistake into one line and exit code 2; Ctrl-C into a hint and 130.

    It is used around a job, too, because Hydra announces every exception that leaves one. In a
    sweep, a run that fails for another reason than a mistake, a diverged training say, is noted
    and left to Hydra, which goes on with the other runs and raises it at the end.
    """
    try:
        with said_where_full():
            yield
    except AdapterLabError as error:
        if sweep and error.exit_code != USER_ERROR:
            overrides = " ".join(HydraConfig.get().overrides.task)
            print(shown(f"failed: {overrides}: {error}"), file=sys.stderr)
            raise
        _fail(str(error), error.exit_code)
    except (HydraException, OmegaConfBaseException) as error:
        _fail(explain(error), USER_ERROR)
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}", USER_ERROR)
    except KeyboardInterrupt:
        _fail("interrupted; " + GOES_ON, INTERRUPTED)


def explain(error: BaseException) -> str:
    """Say in one line what Hydra or OmegaConf object to, and what is allowed."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for link in reversed(chain):
        match link:
            case AdapterLabError():
                return str(link)
            case OverrideParseException(override=override, message=message):
                lines = [line for line in message.splitlines() if "'" in line]
                reason = lines[-1] if lines else _first_line(link)
                return f"{override} is not of the form option=value: {reason}"
            case MissingConfigException(options=options, missing_cfg_file=str(missing)) if (
                "/" in missing
            ):
                group, name, options = _choices(missing, options or [])
                return f"{group}={name} does not exist; {allowed(name, options)}"
            case MissingMandatoryValue(full_key=str(key)):
                return f"{key} is missing: set {key}=..."
            case InterpolationResolutionError():
                line = _first_line(link)
                return line.partition("while resolving interpolation: ")[2] or line
            case ConfigKeyError() | ConfigAttributeError():
                option, parent = str(link.full_key), link.parent_node
                names = [name for name in parent or () if name not in ("_target_", "hydra")]
                return f"{option} is not an option; {allowed(option.rpartition('.')[2], names)}"
    if (line := _first_line(error)).startswith("Ambiguous value"):
        line += "; several values need --multirun, a list is written [a,b]"
    return line


def _choices(missing: str, found: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """Return group and name of a choice that does not exist, and the choices that do.

    Args:
        missing: both, as a path: ``arm/imdb_distilbert/lore``.
        found: what Hydra names, which leaves out choices in folders of their own.
    """
    group, _, name = missing.partition("/")
    near = CONF / missing.rpartition("/")[0]
    if group == "hydra" or not near.is_dir():
        group, _, name = missing.rpartition("/")
        return group, name, found
    files = sorted(near.rglob("*.yaml"))
    return group, name, [str(p.relative_to(CONF / group).with_suffix("")) for p in files]


def _raised_by(package: str, error: BaseException) -> bool:
    """Say whether a package raised a built-in error itself: Hydra does for ``adapter=null``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals["__name__"].startswith(f"{package}.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _fail(message: str, code: int) -> NoReturn:
    print(shown(f"error: {message}"), file=sys.stderr)
    sys.exit(code)


def run_options() -> str:
    """Return the options of conf/train.yaml with their comments, for `--help`."""
    text = (CONF / "train.yaml").read_text()
    options = text[text.index("epochs:") : text.index("hydra:")].strip()
    # Hydra fills in the help text as a template, in which a dollar sign is written twice.
    return options.replace("$", "$$")


def register_resolvers() -> None:
    """Make known the functions that conf/ calls, as in ``${default_root:}``."""
    OmegaConf.register_new_resolver("default_root", default_root, replace=True)
    OmegaConf.register_new_resolver("run_options", run_options, replace=True)
    OmegaConf.register_new_resolver(
        "source_dataset", lambda name: source_dataset(CONF, name), replace=True
    )


# At import, so that the processes of a launcher know them as well.
register_resolvers()
redact_files()
