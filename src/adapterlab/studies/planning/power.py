"""What a planned study could find: printed by `plan=true`, before anything is trained.

Nothing heavy is imported at the top: every command line loads this, and few plan.
"""

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapterlab.base.errors import AdapterLabError
from adapterlab.tracking.stores.uris import not_made

if TYPE_CHECKING:
    from adapterlab.config.schema import Config

DEVIATION, ACCURACY, EXAMPLES = 0.005, 0.85, 1000
"""What is assumed of seeds, arms and test split where nothing is known."""

LARGE = 0.03
"""A smallest difference above which a study is warned about."""

OFFICIAL = {
    "digits": 360, "digits_rotated": 360, "mnist": 10_000, "fashion_mnist": 10_000,
    "cifar10": 10_000, "imdb": 25_000, "ag_news": 7_600, "emotion": 2_000,
}  # fmt: skip
"""Test examples of data sets whose files may not be here yet."""

_DRAWS = 1_000
_MOST_RUNS = 1_000  # that are looked at; the latest


@dataclass(frozen=True)
class Seen:
    """What stored runs say about the luck of a study like theirs.

    Attributes:
        deviation: of scores over seeds, pooled over arms.
        accuracy: of the arms, on average.
        studies: where that was seen.
        examples: of the test split of the latest run with the same limit; None if it is not known.
    """

    deviation: float
    accuracy: float
    studies: tuple[str, ...]
    examples: int | None


planned: "list[Config]" = []
"""Runs of this process's multirun that were planned and not carried out."""

announced: list[tuple[int, int]] = []
"""Arms and seeds of the study that a sweeper plans, where its first runs are not all of it."""


def foresee(ended_by: BaseException | None = None) -> None:
    """Print what the runs in `planned` could find as one study, and forget them.

    A study of one arm compares nothing, so nothing is said. Warns of a design that finds large
    differences only.

    Args:
        ended_by: what has ended the multirun: nothing is said after an error. Launchers end a plan
            by exiting with code 0.
    """
    runs, sizes = list(planned), list(announced)
    planned.clear()
    announced.clear()
    if ended_by is not None and getattr(ended_by, "code", 1) != 0:
        return
    tasks: dict[tuple[str, str], list[Config]] = {}
    for config in runs:
        key = config.dataset.name, str(config.model["name"])
        tasks.setdefault(key, []).append(config)
    if sizes and len(tasks) > 1:
        return  # which arm is on which data set is only known once it is composed
    for (dataset, model), own in tasks.items():
        arms, seeds = sizes[0] if sizes else _size(own)
        if arms > 1 and (task := own[0].task) != "single_label":
            print(f"task={task}: which difference would be found is foreseen of accuracy only")
        elif arms > 1:
            line, smallest = said(arms, seeds, own[0])
            print(f"{dataset}, {model}: {line}" if len(tasks) > 1 else line)
            if smallest is not None and smallest > LARGE:
                warnings.warn(
                    f"{arms} arms x {seeds} seeds leave differences below {100 * smallest:.2g} "
                    "points undecided more often than 1 time in 5",
                    stacklevel=1,
                )


def said(arms: int, seeds: int, config: "Config") -> tuple[str, float | None]:
    """Return a sentence on the smallest difference that a study would find, and that difference.

    Args:
        arms: at least 2.
        seeds: of each.
        config: of one of the runs.
    """
    from adapterlab.evidence import design

    seen, why = None, "no stored runs of this data set and model tell"
    try:
        seen = stored(config)
    except AdapterLabError as error:
        why = str(error)
    sizes = [n for n in (OFFICIAL.get(config.dataset.name), config.limit_of("test")) if n]
    examples = seen.examples if seen is not None else None
    assumed = [] if seen is not None else ["deviation", "accuracy"]
    if examples is None and not sizes:
        assumed.append("test examples")
    notes = [f"assumed: {', '.join(assumed)} ({why})"] if assumed else []
    if seen is not None:
        named = ", ".join(seen.studies[:3]) + (", ..." if len(seen.studies) > 3 else "")
        notes.insert(0, f"deviation and accuracy as seen in study {named}")
    planned_design = design.StudyDesign(
        arms=arms,
        seeds=seeds,
        deviation=DEVIATION if seen is None else seen.deviation,
        examples=examples or min(sizes, default=EXAMPLES),
        accuracy=ACCURACY if seen is None else seen.accuracy,
    )
    smallest = design.smallest_difference(planned_design, draws=_DRAWS)
    return design.said(planned_design, smallest, prior="; ".join(notes)), smallest


def stored(config: "Config") -> Seen | None:
    """Return what finished runs of a run's data set and model say; None if there are none.

    Only arms with several seeds say something. No store is made where there is none.

    Raises:
        AdapterLabError: the store does not answer.
    """
    tracking = config.tracking
    if not tracking.enabled or not_made(tracking.uri, config.mlruns) is not None:
        return None
    from adapterlab.tracking.client import connect

    client = connect(config.tracking.uri, config.mlruns)
    experiment = client.get_experiment_by_name(config.tracking.experiment)
    if experiment is None:
        return None
    wanted = {"kind": "run", "dataset": config.dataset.name, "model": str(config.model["name"])}
    query = " and ".join(f"tags.{key} = {json.dumps(value)}" for key, value in wanted.items())
    found = client.search_runs(
        [experiment.experiment_id],
        f"{query} and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=_MOST_RUNS,
    )
    runs = [run for run in found if "test/accuracy" in run.data.metrics]
    return _seen(runs, str(config.limit_of("test")), client.tracking_uri)


def _seen(runs: Sequence[Any], limit: str, store: str) -> Seen | None:
    """Pool the spread over seeds of the arms of all studies."""
    import numpy as np

    groups: dict[tuple[str, ...], list[Any]] = {}
    for run in runs:
        key = tuple(run.data.tags.get(tag, "") for tag in ("study", "arm", "data_hash"))
        groups.setdefault(key, []).append(run)
    arms = {key: _scores(group) for key, group in groups.items()}
    arms = {key: scores for key, scores in arms.items() if len(scores) > 1}
    if not arms:
        return None
    spare = sum(float(np.var(scores)) * len(scores) for scores in arms.values())
    freedom = sum(len(scores) - 1 for scores in arms.values())
    sizes = (_examples(run, store) for run in runs if _test_limit(run.data.params) == limit)
    return Seen(
        deviation=(spare / freedom) ** 0.5,
        accuracy=float(np.mean([np.mean(scores) for scores in arms.values()])),
        studies=tuple(dict.fromkeys(study for study, *_ in arms)),
        examples=next((size for size in sizes if size is not None), None),
    )


def _scores(runs: Iterable[Any]) -> list[float]:
    """Return the latest accuracy of every replicate of an arm."""
    scores: dict[tuple[str | None, ...], float] = {}
    for run in runs:
        params = run.data.params
        seeds = ("seed", "init_seed", "order_seed", "dataset.validation_seed")
        replicate = tuple(params.get(name) for name in seeds)
        scores.setdefault(replicate, float(run.data.metrics["test/accuracy"]))
    return list(scores.values())


def _test_limit(params: Any) -> str:
    return str(params.get("limit.test", params.get("limit", "None")))


def _examples(run: Any, store: str) -> int | None:
    """Return how many examples a run was tested on: the rows of its predictions."""
    import pyarrow.parquet as pq
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = f"{run.info.artifact_uri}/predictions/predictions.parquet"
    try:
        return int(
            pq.read_metadata(download_artifacts(artifact_uri=uri, tracking_uri=store)).num_rows
        )
    except (MlflowException, OSError):
        return None


def _size(configs: "Sequence[Config]") -> tuple[int, int]:
    """Return how many arms there are, and how many replicates of the arm that has fewest."""
    from adapterlab.runs.identity import arm_hash

    arms: dict[str, set[tuple[int, int, int]]] = {}
    for c in configs:
        replicate = c.init_seed, c.order_seed, c.dataset.validation_seed
        arms.setdefault(f"{arm_hash(c)} {c.data_dir}", set()).add(replicate)
    return len(arms), min(map(len, arms.values()))
