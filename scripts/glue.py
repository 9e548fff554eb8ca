"""Print what was published of LoRA on GLUE beside the runs of a study: python scripts/glue.py.

The study is that of ``python src/train.py -m experiment=glue``, or another of the same data sets.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import adapterlab
from adapterlab.app.script_options import Parser
from adapterlab.base.errors import AdapterLabError


@dataclass(frozen=True)
class Task:
    """A task of GLUE.

    Attributes:
        title: of the task.
        published: by the name of a metric, in hundredths: RoBERTa-base with LoRA, and in full, in
            table 2 of Hu et al. 2021 (arXiv:2106.09685); medians over 5 seeds, of official
            validation splits.
        others: metrics that GLUE scores too.
    """

    title: str
    published: Mapping[str, tuple[float, float]]
    others: tuple[str, ...] = ()


TASKS: Mapping[str, Task] = {
    "mnli": Task("MNLI, matched and mismatched", {"accuracy": (87.5, 87.6)}),
    "sst2": Task("SST-2", {"accuracy": (95.1, 94.8)}),
    "mrpc": Task("MRPC", {"accuracy": (89.7, 90.2)}, ("f1/equivalent",)),
    "cola": Task("CoLA", {"mcc": (63.4, 63.6)}),
    "qnli": Task("QNLI", {"accuracy": (93.3, 92.8)}),
    "qqp": Task("QQP", {"accuracy": (90.8, 91.9)}, ("f1/duplicate",)),
    "rte": Task("RTE", {"accuracy": (86.6, 78.7)}),
    "stsb": Task("STS-B", {"pearson": (91.5, 91.2)}, ("spearman",)),
}
"""By data set."""

NAMES = {
    "mcc": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}


def table(runs: Any) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        runs: a row each, as `adapterlab.Study.runs` has them; None for no study.
    """
    lines = [
        "| task | metric | published: LoRA | in full | here, median | from, to | runs | model | "
        "adapter weights | tested on |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for dataset, task in TASKS.items():
        for metric in (*task.published, *task.others):
            said = [f"{value:.1f}" for value in task.published.get(metric, ())] or ["", ""]
            own = _here(runs, dataset, metric)
            name = NAMES.get(metric, metric)
            lines.append(f"| {' | '.join([task.title, name, *said, *own])} |")
    return lines


def _here(runs: Any, dataset: str, metric: str) -> list[str]:
    """Return the cells of what was run: median, range, runs, model, weights, test examples."""
    nothing = ["", "", "0", "", "", ""]
    if runs is None:
        return nothing
    done = runs[(runs["dataset"] == dataset) & (runs["status"] == "finished")]
    values = [] if f"test/{metric}" not in done else done[f"test/{metric}"].dropna().tolist()
    if not values:
        return nothing
    sizes, tests = (
        sorted({int(size) for size in done[name]})
        for name in ("params/adapter", "data/test_examples")
    )
    return [
        f"{100 * statistics.median(values):.1f}",
        f"{100 * min(values):.1f}, {100 * max(values):.1f}",
        str(len(values)),
        ", ".join(sorted(set(done["model.name"]))),
        *(", ".join(f"{size:,}" for size in some) for some in (sizes, tests)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = Parser(description=__doc__)
    parser.add_argument("--study", default="glue", help="of which the runs are (glue)")
    study = parser.parse_args(arguments).study
    try:
        runs = adapterlab.study(study).runs
    except AdapterLabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(table(runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
