"""A study as MLflow has it: its finished runs, grouped into arms."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapterlab.errors import AdapterLabError
from adapterlab.runs import BOOKKEEPING, SEEDS

NO_NAMES = (*BOOKKEEPING, *SEEDS, "hardware", "adapter.label", "base.dataset")
"""Options that tell no arms apart, or follow from one that does."""

CHOICES = {
    "dataset.name": ("dataset", "base"),
    "model.name": ("model",),
    "optimizer.name": ("optimizer",),
    "base.kind": ("base",),
}
"""Options whose value stands for those of whole groups."""


@dataclass(frozen=True)
class Run:
    """One finished run: what it was, what it measured, and where its files are."""

    run_id: str
    arm: str
    seed: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    artifacts: str = ""


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
            artifacts=raw.info.artifact_uri,
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
    one_each = [group[0] for group in groups.values()]
    return [
        Arm(_name(group[0], one_each), tuple(sorted(group, key=lambda run: run.seed)))
        for group in groups.values()
    ]


def _name(run: Run, arms: Sequence[Run]) -> str:
    """Return the strategy, and the options in which its arms differ: ``lora rank=4``.

    Where these are many and every arm has a label of its own, that is the name.

    Args:
        run: any of the arm's.
        arms: one run of every arm.
    """
    strategy = run.tags["strategy"]
    peers = [other for other in arms if other.tags["strategy"] == strategy]
    differing = {
        key
        for key in run.params
        if not within(key, NO_NAMES) and len({other.params.get(key) for other in peers}) > 1
    }
    for choice, groups in CHOICES.items():
        if choice in differing:
            differing = {key for key in differing if key == choice or not within(key, groups)}
    parts = [f"{key.removeprefix('adapter.')}={run.params[key]}" for key in sorted(differing)]
    if differing & {"base.kind"}:
        kinds = {other.params["base.kind"] for other in peers}
        parts.remove(f"base.kind={run.params['base.kind']}")
        if run.params["base.kind"] == "scratch":
            parts.append("from scratch")
        elif len(kinds - {"scratch"}) > 1:
            parts.append(f"base={run.params['base.kind']}")
    label = run.params.get("adapter.label")
    labels = {other.params.get("adapter.label") for other in peers}
    # What an experiment calls its arms says more than a list of all in which they differ.
    if len(parts) > 2 and label is not None and len(labels) == len(peers):
        return label
    return " ".join([strategy, *parts])


def within(key: str, groups: Sequence[str]) -> bool:
    """Say whether an option is one of `groups`, or lies inside one."""
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def _search(client: Any, experiment_id: str, study: str) -> list[Any]:
    query = f"tags.study = {json.dumps(study)} and attributes.status = 'FINISHED'"
    pages: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], query, order_by=["attributes.start_time DESC"], page_token=token
        )
        # The study's own parent run has measured nothing.
        pages.extend(run for run in page if run.data.tags.get("kind") != "study")
        token = page.token
        if not token:
            return pages
