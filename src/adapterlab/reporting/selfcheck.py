"""Whether a study's verdicts can be trusted: tried out on runs among which none is better."""

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.config.validation import STRICT, checked
from adapterlab.evidence.all_metrics import higher_is_better
from adapterlab.evidence.intervals import Interval
from adapterlab.evidence.null_studies import NullStudy, exact_share, null_studies
from adapterlab.evidence.verdicts import MIN_SEEDS
from adapterlab.reporting.findings import main_of, task_of_run
from adapterlab.reporting.reading.logged import read_answers
from adapterlab.reporting.reading.reference import find_arm
from adapterlab.reporting.reading.study import Arm, arms_of, read_runs
from adapterlab.reporting.reading.task_scores import read_task_scores
from adapterlab.reporting.sentences.tuning import superseded
from adapterlab.tracking.client import connect_to_read

PROMISED = 0.05
"""Share of studies with a false verdict, at most."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Request:
    """Which runs are dealt, and how; see conf/selfcheck.yaml."""

    study: str
    arm: str | None = None
    arms: Annotated[int, Field(ge=2, le=1_000)] = 5
    runs: Annotated[int, Field(ge=MIN_SEEDS, le=10_000)] = 5
    studies: Annotated[int, Field(ge=1, le=100_000)] = 200
    seed: Annotated[int, Field(ge=0)] = 0
    compare_on: str = "auto"
    experiment: str
    tracking_uri: str | None
    root: str


@plain_dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What came of the studies that were dealt.

    Attributes:
        request: what was asked for.
        arm: the arm's name.
        pool: how many finished runs it has.
        examples: of the test split.
        outcomes: of each study.
        together: correlation over runs of the score on validation and on the test split; None
            where one of them does not vary, or was not logged.
    """

    request: Request
    arm: str
    pool: int
    examples: int
    outcomes: tuple[NullStudy, ...]
    together: float | None

    @property
    def false(self) -> Interval:
        """95% interval of the share of studies with a false difference."""
        return exact_share([one.told_apart for one in self.outcomes])

    @property
    def left_out(self) -> Interval:
        """95% interval of the share of studies that leave out an arm as good as any."""
        return exact_share([one.left_out for one in self.outcomes])

    @property
    def broken(self) -> bool:
        """Whether more than what is promised is false, beyond doubt."""
        return max(self.false.low, self.left_out.low) > PROMISED

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary."""
        asked = self.request
        together = "" if self.together is None else f"{self.together:.2f} over these runs"
        return (
            f"{asked.study}, {self.arm}: {self.pool} finished runs of one arm, dealt "
            f"{asked.studies} times into {asked.arms} arms of {asked.runs}, "
            f"compared on {asked.compare_on}, {self.examples:,} test examples",
            "two arms told apart, which is false:     "
            + _share([one.told_apart for one in self.outcomes], self.false),
            "an arm as good as any left out as worse: "
            + _share([one.left_out for one in self.outcomes], self.left_out),
            "correlation of validation and test:      " + (together or "not known"),
            f"more than the promised {PROMISED:.0%} of studies are false"
            if self.broken
            else f"not more than the promised {PROMISED:.0%}, as far as these studies can tell",
        )


def parse_request(values: Any) -> Request:
    """Check the options.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def self_check(request: Request) -> SelfCheck:
    """Deal one arm's finished runs into fake arms many times, and count false verdicts.

    The verdicts are those of a report (`evidence.verdicts.compare_all`), of a study that is
    looked at once. MLflow is read only; that the study was looked at is not kept, since its arms
    are not compared.

    Raises:
        AdapterLabError: the study has no finished runs.
        ConfigError: no such arm, no such metric, or too few runs.
    """
    arm = _arm(request)
    task, metric = task_of_run(arm.first), request.compare_on
    if metric == "auto":
        request = replace(request, compare_on=(metric := main_of(arm.first)))
    if task == "single_label":
        answers, why = read_answers(arm.runs, metric)
        values = None if answers is None or why else answers.values(metric).values
    else:
        scores, why = read_task_scores(arm.runs, task, (metric,))
        values = None if scores is None or why else scores.values[metric]
    if values is None:
        raise AdapterLabError(f"study={request.study}: {arm.name} has no verdicts: {why}")
    studies = null_studies(
        values,
        arms=request.arms,
        runs=request.runs,
        studies=request.studies,
        seed=request.seed,
        higher_is_better=higher_is_better(request.compare_on),
    )
    bar = tqdm(studies, total=request.studies, unit="study", leave=False)
    return SelfCheck(
        request=request,
        arm=arm.name,
        pool=len(arm.runs),
        examples=values.shape[1],
        outcomes=tuple(bar),
        together=_together(arm, values.mean(axis=1)),
    )


def _arm(request: Request) -> Arm:
    """Return the arm that is meant, if it has the runs that one study takes."""
    mlruns = Path(request.root).expanduser().resolve() / "mlruns"
    client = connect_to_read(request.tracking_uri, mlruns, f"study={request.study}")
    runs = read_runs(client, request.study, request.experiment)
    replaced = superseded(runs)
    arms = arms_of([run for run in runs if run.run_id not in replaced])
    if request.arm is not None:
        arm = find_arm(arms, request.arm, "arm")
    else:
        arm = max(arms, key=lambda one: len(one.runs))
    have, taken = len(arm.runs), request.arms * request.runs
    if have >= taken:
        return arm
    line = (
        f"study={request.study}: {arm.name} has {have} finished runs, "
        f"arms={request.arms} runs={request.runs} takes {taken}; possible: "
    )
    if have >= 2 * request.runs:
        raise ConfigError(f"{line}arms=2 to {have // request.runs} with runs={request.runs}")
    if have >= 2 * MIN_SEEDS:
        raise ConfigError(f"{line}arms=2 with runs={MIN_SEEDS} to {have // 2}")
    raise ConfigError(f"{line}nothing below {2 * MIN_SEEDS} runs of one arm")


def _together(arm: Arm, scores: np.ndarray) -> float | None:
    select_on = arm.first.params.get("select_on", "accuracy")
    selected = np.array(arm.values(f"best/val_{select_on}"))
    if len(selected) != len(scores) or np.ptp(selected) == 0 or np.ptp(scores) == 0:
        return None
    return float(np.corrcoef(selected, scores)[0, 1])


def _share(happened: list[bool], interval: Interval) -> str:
    count = sum(happened)
    return (
        f"{count} of {len(happened)} studies, {count / len(happened):.1%} "
        f"(95% interval {interval.low:.1%} to {interval.high:.1%})"
    )
