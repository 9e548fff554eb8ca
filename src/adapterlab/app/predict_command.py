"""The command that predicts for the rows of a file."""

from collections.abc import Sequence

from omegaconf import DictConfig

from adapterlab.app.arguments import values_of
from adapterlab.app.cli import run_command
from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.base.garbage_collection import seldom_collected
from adapterlab.base.redaction import printable
from adapterlab.base.signals import listening
from adapterlab.config.conf_folder import CONF
from adapterlab.config.hydra_versions import program


@listening()
@seldom_collected()
def predict() -> None:
    """Predict for the rows of a file: the console script `adapterlab-predict`."""
    run_command(_predict, names_arms=True)


@program(CONF, "predict")
def _predict(cfg: DictConfig) -> None:
    with mistakes_in_one_line():
        values = values_of(cfg)
        from adapterlab.reporting.reading.members import runs_of
        from adapterlab.runs.predicting.file import parse_request, predict_file

        request = parse_request(values)
        predicted = predict_file(request, runs_of(request))
    from adapterlab.app.console import number, print_paths

    called, summary = predicted.summary
    print_paths(
        {
            "predicted by": _some(predicted.members),
            "written to": predicted.output,
            "rows": number(predicted.rows),
            "new columns": _some(predicted.columns),
            called: _some(summary),
        }
    )
    for note in predicted.notes:
        print(printable(f"note: {note}"))


def _some(names: Sequence[str]) -> str:
    """Return the first of names, of which there may be thousands."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


_NAMED = 8
