"""The command line. Only this file meets Hydra's decorator.

Nothing heavy is imported here: `--help` and `--cfg job` answer at once, and a mistake in the
configuration is found before torch is loaded.
"""

import io
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from adapterlab.app.arguments import for_hydra, values_of
from adapterlab.app.command_end import end_at_once, end_command
from adapterlab.app.command_line import in_order
from adapterlab.app.explaining import PARSERS, as_mistake, raised_by
from adapterlab.app.help import help_asked, help_text
from adapterlab.app.mistakes import fail, mistakes_in_one_line
from adapterlab.base.end_line import GOES_ON
from adapterlab.base.errors import USER_ERROR, AdapterLabError
from adapterlab.base.garbage_collection import seldom_collected
from adapterlab.base.interrupts import UNREAD
from adapterlab.base.output import OF_ONE_RUN, set_up_output
from adapterlab.base.redaction import printable, redact_files, redacted
from adapterlab.base.signals import (
    at_sudden_end,
    in_launched_process,
    listening,
)
from adapterlab.base.streams import open_streams
from adapterlab.config.conf_folder import CONF
from adapterlab.config.hydra_versions import program
from adapterlab.tracking.stores.uris import default_uri

if TYPE_CHECKING:
    from adapterlab.config.schema import Config
    from adapterlab.runs.folders.folder import RunResult


@listening(GOES_ON)
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


@program(CONF, "train")
def _train(cfg: DictConfig) -> float | None:
    in_launched_process()
    multirun = HydraConfig.get().mode is RunMode.MULTIRUN
    with mistakes_in_one_line(sweep=multirun):
        from adapterlab.runs.budget import parse_solved, warn_of_unused_ranks

        config = parse_solved(cfg)
        if not multirun:
            warn_of_unused_ranks(config)
        if config.plan:
            from adapterlab.app.plans import show_plan

            show_plan(config)
            return None
        if multirun:
            for name in OF_ONE_RUN:
                logging.getLogger(name).setLevel(logging.WARNING)
        result = carry_out(config, quiet=multirun)
    from adapterlab.app.console import print_line, print_result

    if multirun:
        print_line(result, config)
    else:
        print_result(result, _ui(config))
    return result.metrics[f"best/val_{config.select_on}"]


@program(CONF, "evaluate")
def _evaluate(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = values_of(cfg)
        from adapterlab.runs.evaluation import evaluate_saved, parse_request

        evaluation = evaluate_saved(parse_request(values))
    from adapterlab.app.console import print_evaluation

    print_evaluation(evaluation)


@program(CONF, "export")
def _export(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = values_of(cfg)
        from adapterlab.runs.export.logged import MLFLOW, log_model, require_folder
        from adapterlab.runs.export.merged import export_saved, parse_request

        request = parse_request(values)
        if request.to == MLFLOW:
            from adapterlab.app.models import print_logged

            print_logged(log_model(request), request)
            return
        require_folder(request)
        exported = export_saved(request)
    from adapterlab.app.console import print_export

    print_export(exported)


@program(CONF, "report")
def _report(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = values_of(cfg)
        from adapterlab.reporting.report import make_report, parse_request

        study = make_report(request := parse_request(values))
    from adapterlab.app.console import print_report

    print_report(study)
    with mistakes_in_one_line():
        from adapterlab.studies.deferred_pictures import draw_deferred

        drawn = draw_deferred(request.root, request.study, request.tracking_uri)
    print(printable("\n".join(drawn.lines)), end="\n" if drawn.lines else "")


@program(CONF, "selfcheck")
def _selfcheck(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = values_of(cfg)
        from adapterlab.reporting.selfcheck import parse_request, self_check

        checked = self_check(parse_request(values))
    print(printable("\n".join(checked.lines)))
    if checked.broken:
        sys.exit(1)


def carry_out(config: "Config", *, quiet: bool) -> "RunResult":
    """Carry out a run, or return what is kept of one that has finished.

    Args:
        config: of the run.
        quiet: do not say that it had finished.
    """
    # What can be said without Lightning, which takes seconds to load, is said before.
    from adapterlab.runs.check import check
    from adapterlab.runs.data import load_data
    from adapterlab.runs.state import finished_run
    from adapterlab.tracking.client import require_store
    from adapterlab.tracking.shared_entries import sharing

    check(config)
    require_store(config)
    with sharing(config):
        data = load_data(config)
        finished = finished_run(config, data)
        if finished is not None:
            if not quiet:
                print("this run had finished: nothing was trained", file=sys.stderr)
            return finished
        os.environ.setdefault("MPLCONFIGDIR", str(config.mlruns / "cache" / "matplotlib"))
        from adapterlab.runs.single import run

        return run(config, data)


def _ui(config: "Config") -> str:
    uri = config.tracking.uri
    if uri:
        return redacted(uri)
    return f"mlflow ui --backend-store-uri {shlex.quote(default_uri(config.mlruns))}"


def run_command(command: Any, *, names_arms: bool = False) -> None:
    """Carry out a program of the command line, and say in one line what a user can mend.

    Args:
        command: the program, made by `program`.
        names_arms: its `arm` is the name of one, and its `experiment` one of MLflow.
    """
    # Hydra would print a mistake its own way and exit with 1; with this it raises.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    set_up_output()
    of = {"of_report": command is _report, "of_selfcheck": names_arms or command is _selfcheck}
    with mistakes_in_one_line():
        given = [for_hydra(argument, **of) for argument in sys.argv[1:]]
        sys.argv[1:] = in_order(given, CONF)
        try:
            with failures_of_hydra_in_one_line(), unread_in_silence():
                if (asked := help_asked(sys.argv[1:])) is None:
                    command()
                else:
                    options, resolve = asked
                    print(help_text(CONF, command.config_name, options, resolve=resolve))
        except Exception as error:
            mistake = None if not raised_by(PARSERS, error) else as_mistake(error, CONF)
            if isinstance(error, AdapterLabError) or mistake is None:
                raise
            fail(str(mistake), mistake.exit_code)


@contextmanager
def unread_in_silence() -> Iterator[None]:
    """End as other programs do where nobody reads what is printed any more: ``| head``."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would write to it once more when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)


@contextmanager
def failures_of_hydra_in_one_line() -> Iterator[None]:
    """Hold back what Hydra itself prints before it exits with 1, as for a ``--package`` of none."""
    if not any(argument.startswith(("--package", "-p")) for argument in sys.argv[1:]):
        yield
        return
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            yield
    except SystemExit as stop:
        if stop.code == 1:
            fail(printed.getvalue(), USER_ERROR)
        raise
    sys.stderr.write(printed.getvalue())


# At import, so that the processes of a launcher do so as well.
open_streams()
redact_files()
