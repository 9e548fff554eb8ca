"""The margin of a comparison: the report's or the runs', and whether it was stated before."""

from collections.abc import Sequence

from adapterlab.base.errors import ConfigError
from adapterlab.evidence.all_metrics import metric as known_metric
from adapterlab.evidence.verdicts import MARGIN
from adapterlab.reporting.findings import Findings, Question
from adapterlab.reporting.formatting import gap, listed, unit
from adapterlab.reporting.reading.study import Run


def margin_of(question: Question, runs: Sequence[Run]) -> float:
    """Return the margin in the unit of the score; options give shares in points.

    Runs state points of accuracy, which say nothing of a metric in another unit. Of several that
    are stated the first counts: later ones may have seen results.

    Args:
        question: what the report is asked; its metric is no longer ``auto``.
        runs: of the data set, finished or not.

    Raises:
        ConfigError: the margin is as large as any difference of the metric can be.
    """
    metric, margin = question.compare_on, question.margin
    in_points = unit(metric) == "points"
    if margin is None:
        stated = stated_margins(runs)
        return stated[0] / 100 if in_points and stated else MARGIN
    found = margin / 100 if in_points else margin
    known = known_metric(metric)
    if known is not None and known.bounded and found >= known.most - known.least:
        most = (known.most - known.least) * (100 if in_points else 1)
        raise ConfigError(
            f"margin={margin:g} should be below {most:g}{' points' if in_points else ''}: no two "
            f"arms can differ by more in {metric}"
        )
    return found


def stated_margins(runs: Sequence[Run]) -> list[float]:
    """Return the margins that runs state, in points of accuracy, that of the first one first."""
    stated = [
        float(run.params["margin"])
        for run in sorted(runs, key=lambda run: (run.started, run.run_id))
        if "margin" in run.params
    ]
    return list(dict.fromkeys(stated))


def on_margin(findings: Findings) -> list[str]:
    """Say where the margin is not the one that was stated before the runs."""
    if unit(findings.compared_on) != "points":
        return []
    every = [run for arm in findings.all_arms for run in (*arm.runs, *arm.lost)]
    stated = stated_margins(every)
    if not stated:
        return []
    used, said = gap(findings.margin, findings.compared_on), []
    if abs(findings.margin - stated[0] / 100) > 1e-9:
        first = gap(stated[0] / 100, findings.compared_on)
        said.append(
            f"the runs state a margin of {first}, this report was asked with {used}: a margin that "
            "is chosen after results were seen shows no equivalence"
        )
    if len(stated) > 1:
        margins = listed([f"{one:g}" for one in stated])
        said.append(f"runs state margins of {margins} points: that of the first run counts")
    return said
