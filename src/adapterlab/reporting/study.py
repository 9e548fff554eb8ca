"""A study as MLflow has it: its finished runs, grouped into arms."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from adapterlab.errors import AdapterLabError


@dataclass(frozen=True)
class Run:
    """One finished run: what it was, and what it measured."""

    run_id: str
    arm: str
    seed: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Arm:
    """Runs that differ in their seeds only, in the order of the seeds.

    Attributes:
        name: the strategy, with the options in which arms of the study differ.
        runs: at least one.
    """

    name: str
    runs: tuple[Run, ...]

    def values(self, metric: str) -> tuple[float, ...]:
        """Return a metric of every run that has it."""
        return tuple(run.metrics[metric] for run in self.runs if metric in run.metrics)

    def mean(self, metric: str) -> float | None:
        """Return a metric's mean over the runs, None where it was not measured."""
        values = self.values(metric)
        return fmean(values) if values else None


def read_runs(client: Any, study: str, experiment: str) -> list[Run]:
    """Return the finished runs of a study.

    A configuration that was run more than once counts once, with its latest run.

    Args:
        client: an MLflow client.
        study: the value of the tag `study`.
        experiment: name of the MLflow experiment.

    Raises:
        AdapterLabError: there are none.
    """
    found = client.get_experiment_by_name(experiment)
    pages = [] if found is None else _search(client, found.experiment_id, study)
    latest: dict[str, Run] = {}
    for raw in pages:
        run = Run(
            run_id=raw.info.run_id,
            arm=raw.data.tags["arm"],
            seed=int(raw.data.tags["seed"]),
            tags=dict(raw.data.tags),
            params=dict(raw.data.params),
            metrics=dict(raw.data.metrics),
        )
        latest.setdefault(raw.data.tags["config_hash"], run)
    if not latest:
        raise AdapterLabError(f"study={study}: no finished runs in experiment {experiment}")
    return list(latest.values())


def arms_of(runs: Sequence[Run]) -> list[Arm]:
    """Group runs into arms, named by the strategy and by what tells its arms apart."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.arm, []).append(run)
    return [
        Arm(_name(group[0], runs), tuple(sorted(group, key=lambda run: run.seed)))
        for group in groups.values()
    ]


def _name(run: Run, runs: Sequence[Run]) -> str:
    """Return the strategy, and the options in which its arms differ: ``lora rank=4``."""
    strategy = run.tags["strategy"]
    peers = [other for other in runs if other.tags["strategy"] == strategy]
    parts = [strategy]
    for key, value in sorted(run.params.items()):
        derived = key in ("seed", "init_seed", "order_seed", "adapter.label")
        if not derived and len({other.params.get(key) for other in peers}) > 1:
            parts.append(f"{key.removeprefix('adapter.')}={value}")
    return " ".join(parts)


def _search(client: Any, experiment_id: str, study: str) -> list[Any]:
    query = f"tags.study = {json.dumps(study)} and attributes.status = 'FINISHED'"
    pages: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], query, order_by=["attributes.start_time DESC"], page_token=token
        )
        pages.extend(page)
        token = page.token
        if not token:
            return pages
