"""What one look at a base predicts of ranks, against a sweep: python scripts/predict_rank.py.

It reads the study of `experiment=predict_rank`, or another that varies `adapter.rank` over numbers
and `auto`, from MLflow, and writes a table and a picture beside the study's report.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from adapterlab.app.script_options import Parser
from adapterlab.base.csv_cells import write_rows
from adapterlab.base.errors import AdapterLabError
from adapterlab.drawing.canvas import save
from adapterlab.reporting.predicted_ranks import Predicted, predicted_figure, predicted_ranks
from adapterlab.reporting.reading.study import arms_of, read_runs
from adapterlab.tracking.client import connect_to_read


def main(arguments: Sequence[str]) -> int:
    """Compare, print and write."""
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--study", default="predict_rank")
    parser.add_argument("--experiment", default="adapterlab", help="of MLflow")
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("ADAPTERLAB_ROOT", ".")))
    parser.add_argument("--tracking-uri")
    asked = parser.parse_args(arguments)
    mlruns = asked.root.expanduser().resolve() / "mlruns"
    try:
        client = connect_to_read(asked.tracking_uri, mlruns, f"--study {asked.study}")
        found = predicted_ranks(arms_of(read_runs(client, asked.study, asked.experiment)))
    except AdapterLabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    folder = mlruns / "reports" / asked.study
    folder.mkdir(parents=True, exist_ok=True)
    _write(found, folder / "predict_rank.csv")
    save(predicted_figure(found, asked.study), folder / "predict_rank.png")
    print("under a budget, ranks by layer against one rank for all (points of test accuracy):")
    for one in found.budgets:
        print(f"  {one}")
    if found.ranks:
        print("one rank for all, predicted from the variance, against the best on validation:")
    for one in found.ranks:
        print(f"  {one}")
    seeds = sorted({one.seeds for one in (*found.budgets, *found.ranks)})
    print(f"95% intervals over {' or '.join(map(str, seeds))} seeds; table and picture: {folder}")
    return 0


def _write(found: Predicted, path: Path) -> None:
    rows: list[tuple[object, ...]] = [
        ("asked", "predicted", "found", "seeds", "regret", "low", "high")
    ]
    for one in (*found.budgets, *found.ranks):
        ends = ("", "") if one.interval is None else (one.interval.low, one.interval.high)
        rows.append((one.asked, one.predicted, one.found, one.seeds, one.points, *ends))
    write_rows(rows, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
