"""What the trials of a tuned comparison show: scores by setting, leads, what tuning was worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.tasks import LOWER_IS_BETTER
from adapterlab.evidence.tuning import (
    ExpectedBest,
    Lead,
    Score,
    SharedRegret,
    best,
    expected_best,
    lead,
    neighbours,
    shared_regret,
)
from adapterlab.reporting.reading.study import Run, read_runs
from adapterlab.reporting.sentences.tuning import Trial, latest_trials, status
from adapterlab.tracking.tuning_tags import ARM, CHOSEN, PRUNED_BEST, study_of_trials, trial, values

Value = float | str
"""Of an option that was tuned; a number where it reads as one."""

Setting = tuple[Value, ...]
"""A value for every tuned option, in the order of `TuningFindings.options`."""


@dataclass(frozen=True)
class Neighbour:
    """A setting beside the chosen one, and how far that is ahead of it."""

    place: int
    lead: Lead


@dataclass(frozen=True)
class ArmTuning:
    """How one arm was tuned the last time.

    Attributes:
        name: its overrides, as they were written.
        key: what tells it from other arms, whatever is tried with it.
        settings: that were tried, in ascending order.
        scores: mean validation metric of each over the tuning seeds; None where a run failed or
            was pruned.
        early: the best validation metric before it was pruned, None of a setting that was not.
        spreads: standard deviations over the seeds; None with fewer than 2, or where one failed.
        seeds: of the trials.
        failed: trials that did.
        chosen: place of the setting that the arm is run with; None if all have failed.
        neighbours: settings beside the chosen one that finished.
        curve: expected best over the number of settings tried. One that was pruned counts with
            what it had reached, so that the curve is at least that.
    """

    name: str
    key: str
    settings: tuple[Setting, ...]
    scores: tuple[Score, ...]
    early: tuple[Score, ...]
    spreads: tuple[Score, ...]
    seeds: tuple[int, ...]
    failed: int
    chosen: int | None
    neighbours: tuple[Neighbour, ...]
    curve: tuple[ExpectedBest, ...]


@dataclass(frozen=True)
class TuningFindings:
    """The tuning of a comparison.

    Attributes:
        study: of the trials.
        options: that were tuned.
        metric: of the validation split that chose; of the loss the least is best.
        arms: in the order of their names.
        shared: settings that all arms have tried, in ascending order.
        regret: of one of them for all arms; None for one arm, or if there are none.
    """

    study: str
    options: tuple[str, ...]
    metric: str
    arms: tuple[ArmTuning, ...]
    shared: tuple[Setting, ...]
    regret: SharedRegret | None

    @property
    def minimize(self) -> bool:
        """Whether the least is best."""
        return self.metric in LOWER_IS_BETTER


def read_trials(client: Any, study: str, experiment: str) -> list[Run]:
    """Return the runs that the arms of a study were tuned with; none if they were not.

    Args:
        client: an MLflow client.
        study: the study that is compared; its trials are in ``NAME-tuning``.
        experiment: name of the MLflow experiment.
    """
    try:
        return read_runs(client, study_of_trials(study), experiment)
    except AdapterLabError:
        return []


def tuning_of(study: str, trials: Sequence[Trial]) -> list[TuningFindings]:
    """Return how arms were tuned, one finding for all that were tuned by the same options.

    Args:
        study: of the trials.
        trials: of any status.
    """
    groups: dict[tuple[tuple[str, ...], str], dict[str, list[Trial]]] = {}
    for key, runs in latest_trials(trials).items():
        options = tuple(values(runs[0].tags, "trial"))
        metric = runs[0].params.get("select_on", "accuracy")
        groups.setdefault((options, metric), {})[key] = runs
    return [_finding(study, *group, arms) for group, arms in groups.items()]


def _finding(
    study: str, options: tuple[str, ...], metric: str, trials: Mapping[str, Sequence[Trial]]
) -> TuningFindings:
    arms = sorted((_arm(key, runs, metric) for key, runs in trials.items()), key=lambda a: a.name)
    shared = [
        setting for setting in arms[0].settings if all(setting in arm.settings for arm in arms)
    ]
    rows = [[arm.scores[arm.settings.index(one)] for one in shared] for arm in arms]
    lives = sum(any(score is not None for score in row) for row in rows)
    several = lives > 1 and len(shared) > 1
    regret = shared_regret(rows, minimize=metric in LOWER_IS_BETTER) if several else None
    return TuningFindings(study, options, metric, tuple(arms), tuple(shared), regret)


def _arm(key: str, runs: Sequence[Trial], metric: str) -> ArmTuning:
    name, minimize = f"best/val_{metric}", metric in LOWER_IS_BETTER
    by_setting: dict[Setting, dict[int, Score]] = {}
    stopped: dict[Setting, float] = {}
    for run in runs:
        if status(run) == "pruned" and PRUNED_BEST in run.metrics:
            stopped[_setting(run)] = run.metrics[PRUNED_BEST]
        value = run.metrics.get(name) if status(run) == "finished" else None
        by_setting.setdefault(_setting(run), {})[int(run.tags.get("seed", "0"))] = value
    settings = sorted(by_setting, key=_order)
    seeds = sorted({seed for of in by_setting.values() for seed in of})
    rows = [_whole([by_setting[setting].get(seed) for seed in seeds]) for setting in settings]
    scores = [fmean(row) if row else None for row in rows]
    early = [None if row else stopped.get(one) for one, row in zip(settings, rows, strict=True)]
    chosen = _picked(runs, settings)
    if chosen is None:
        chosen = best(scores, minimize=minimize)
    beside = [] if chosen is None else neighbours(settings, chosen)
    return ArmTuning(
        name=runs[0].tags.get(trial(ARM), "?"),
        key=key,
        settings=tuple(settings),
        scores=tuple(scores),
        early=tuple(early),
        spreads=tuple(stdev(row) if len(row) > 1 else None for row in rows),
        seeds=tuple(seeds),
        failed=sum(status(run) not in ("finished", "pruned") for run in runs),
        chosen=chosen,
        neighbours=tuple(
            Neighbour(other, lead(rows[chosen], rows[other], minimize=minimize))
            for other in beside
            if chosen is not None and rows[other]
        ),
        curve=expected_best(
            [before if now is None else now for now, before in zip(scores, early, strict=True)],
            minimize=minimize,
        ),
    )


def _picked(runs: Sequence[Trial], settings: Sequence[Setting]) -> int | None:
    """Return the place of the setting that the sweeper says it has chosen."""
    for run in runs:
        if run.tags.get(trial(CHOSEN)) == "true":
            return settings.index(_setting(run))
    return None


def _setting(run: Trial) -> Setting:
    return tuple(_value(text) for text in values(run.tags, "trial").values())


def _whole(row: Sequence[Score]) -> list[float]:
    """Return the scores of a setting; none where a run failed or is missing."""
    found = [value for value in row if value is not None]
    return found if len(found) == len(row) else []


def _value(text: str) -> Value:
    try:
        return float(text)
    except ValueError:
        return text


def _order(setting: Setting) -> list[tuple[bool, float, str]]:
    """Return what settings are sorted by: numbers in ascending order, and before texts."""
    return [
        (False, value, "") if isinstance(value, float) else (True, 0.0, value) for value in setting
    ]
