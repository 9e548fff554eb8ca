"""What an arm's finished runs came to: its figures, its score, and what it was selected by."""

from dataclasses import replace

import numpy as np

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.tasks import LOWER_IS_BETTER
from adapterlab.evidence.contributions import SOURCE
from adapterlab.evidence.score_intervals import heaviest_weight, score_interval
from adapterlab.reporting.comparing.over_seeds import curves_of, figure_of
from adapterlab.reporting.findings import ArmFindings, Estimate, estimate, main_of
from adapterlab.reporting.reading.logged import read_history
from adapterlab.reporting.reading.study import Arm


def findings_of(
    arm: Arm,
    select_on: str,
    metric: str,
    of_main: np.ndarray | None,
    values: np.ndarray | None,
    told: tuple[np.ndarray, tuple[str, ...]] | None,
) -> ArmFindings:
    """Return what is known of an arm, but for its answers.

    Args:
        arm: of which a run has finished.
        select_on: the validation metric that its runs were selected on.
        metric: that arms are compared on.
        of_main: per test example of the main metric, ``[S, N]``; None if there are none.
        values: likewise of `metric`.
        told: labels of the test examples, and names of classes; None if they are not known.
    """
    main = main_of(arm.first)
    weight = {
        name: 1.0 if told is None or name == SOURCE else heaviest_weight(name, *told)
        for name in (metric, main)
    }
    if unscored := [run for run in arm.runs if f"test/{main}" not in run.metrics]:
        raise AdapterLabError(
            f"{arm.name}: the run of {unscored[0].replicate} finished and has no test {main}; "
            f"run it again, or delete it ({unscored[0].run_id}) in MLflow"
        )
    shared = set.intersection(*(set(run.metrics) for run in arm.runs))
    figures = {
        name: figure
        for name in sorted(shared)
        if (figure := figure_of(name, arm.values(name))) is not None
    }
    if of_main is not None and f"test/{main}" in figures:
        figures[f"test/{main}"] = replace(
            figures[f"test/{main}"],
            interval=score_interval(main, of_main, heaviest=weight[main]),
        )
    selected = arm.values(f"best/val_{select_on}")
    selected = selected if len(selected) == len(arm.runs) else ()
    selection = estimate(
        [-value for value in selected] if select_on in LOWER_IS_BETTER else selected
    )
    score = figures.get(f"test/{metric}", figures[f"test/{main}"])
    if values is not None:
        mean = values.mean(axis=1)
        score = Estimate(
            tuple(float(value) for value in mean),
            float(mean.mean()),
            float(mean.std(ddof=1)) if len(mean) > 1 else None,
            score_interval(metric, values, heaviest=weight[metric]),
        )
    return ArmFindings(
        arm=arm,
        figures=figures,
        score=score,
        selection=selection,
        answers=None,
        examples=next((v.shape[1] for v in (values, of_main) if v is not None), None),
        curves=curves_of([read_history(run) for run in arm.runs]),
        heaviest=weight[metric],
    )
