"""What an MLflow server has of runs, against what was written to it."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adapterlab.base.redaction import public
from adapterlab.config.parsing import to_container
from adapterlab.config.schema import Config
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.integrity import artifacts
from adapterlab.tracking.searching import searched
from adapterlab.tracking.study_run import PARENT
from adapterlab.tracking.trackers import flattened

_AT_ONCE = 8
"""Questions that are asked at the same time; there are twenty of each run."""


@dataclass
class Arrived:
    """Counts of what was written and is there, and what is wrong.

    Attributes:
        written: of runs, parameters, tags, final metrics, points of epochs, files and bytes.
        found: of the same.
        wrong: runs that are not as they were written, in a line each.
    """

    written: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def count(self, what: str, written: int, found: int) -> None:
        """Add to both counts."""
        self.written[what] = self.written.get(what, 0) + written
        self.found[what] = self.found.get(what, 0) + found

    def add(self, other: "Arrived") -> None:
        """Add what was found of another run."""
        for what in other.written:
            self.count(what, other.written[what], other.found[what])
        self.wrong += other.wrong

    @property
    def is_all(self) -> bool:
        """Whether everything is there."""
        return not self.wrong and self.written == self.found


def tags_of(result: RunResult, config: Config) -> dict[str, str]:
    """Return the tags of a run that has the result of another one."""
    return {**result.tags, "study": config.study or "", "seed": str(config.seed)}


def arrived(client: Any, configs: Sequence[Config], result: RunResult) -> Arrived:
    """Look at every run of a study, all points of its metrics, and all its files.

    Args:
        client: an MLflow client of the server.
        configs: of the runs; their folders have the files that were sent.
        result: that each of them was given.
    """
    first, told = configs[0], Arrived()
    experiment = client.get_experiment_by_name(first.tracking.experiment)
    query = f"tags.study = '{first.study}'"
    runs = list(searched(client, experiment.experiment_id, query)) if experiment else []
    studies = [one.info.run_id for one in runs if one.data.tags.get("kind") == "study"]
    if len(studies) != 1:
        told.wrong.append(f"{len(studies)} runs stand for the study")
    own = [one for one in runs if one.data.tags.get("kind") == "run"]
    told.count("runs", len(configs), len(own))
    by_seed: dict[str, list[Any]] = {}
    for one in own:
        by_seed.setdefault(one.data.tags["seed"], []).append(one)
    with ThreadPoolExecutor(_AT_ONCE) as several:
        for one in several.map(
            lambda config: _of(client, config, result, by_seed, studies), configs
        ):
            told.add(one)
    return told


def _of(
    client: Any,
    config: Config,
    result: RunResult,
    by_seed: Mapping[str, Sequence[Any]],
    studies: Sequence[str],
) -> Arrived:
    """Return what there is of one run."""
    told, of_seed = Arrived(), by_seed.get(str(config.seed), [])
    if len(of_seed) != 1:
        told.wrong.append(f"seed {config.seed}: {len(of_seed)} runs")
        return told
    (one,) = of_seed
    if one.info.status != "FINISHED" or one.data.tags.get(PARENT) not in studies:
        told.wrong.append(f"seed {config.seed}: {one.info.status}, {one.data.tags.get(PARENT)}")
    _compare(client, one, config, result, told)
    return told


def _compare(client: Any, one: Any, config: Config, result: RunResult, told: Arrived) -> None:
    params = {k: str(v) for k, v in flattened(public(to_container(config))).items()}
    told.count("parameters", len(params), _same(params, one.data.params))
    tags = tags_of(result, config)
    told.count("tags", len(tags), _same(tags, one.data.tags))
    told.count("final metrics", len(result.metrics), _same(result.metrics, one.data.metrics))
    points = {
        (name, epoch): value
        for epoch, metrics in result.history.items()
        for name, value in metrics.items()
    }
    there = [
        ((point.key, point.step), point.value)
        for name in {name for name, _ in points}
        for point in client.get_metric_history(one.info.run_id, name)
    ]
    if len(there) != len(dict(there)):
        told.wrong.append(f"seed {config.seed}: {len(there) - len(dict(there))} points twice")
    told.count("points of epochs", len(points), _same(points, dict(there)))
    files = {where: path.stat().st_size for path, where in _sent(config)}
    sizes = dict(_files(client, one.info.run_id))
    told.count("files", len(files), _same(files, sizes))
    told.count("bytes", sum(files.values()), sum(sizes.get(name, 0) for name in files))


def _same(written: Mapping[Any, Any], found: Mapping[Any, Any]) -> int:
    """Return how many of the values that were written are there as they were."""
    same = 0
    for name, value in written.items():
        there = found.get(name)
        if isinstance(value, float) and isinstance(there, float):
            same += bool(np.isclose(value, there, rtol=1e-12, atol=0, equal_nan=True))
        else:
            same += there == value
    return same


def _sent(config: Config) -> Iterator[tuple[Path, str]]:
    """Yield the files of a run that go to MLflow, and where each is there."""
    for path, where in artifacts(RunFolder.of(config)):
        start = f"{where}/" if where else ""
        if path.is_file():
            yield path, f"{start}{path.name}"
        else:
            for file in path.rglob("*"):
                if file.is_file():
                    yield file, f"{start}{file.relative_to(path).as_posix()}"


def _files(client: Any, run_id: str, folder: str | None = None) -> Iterator[tuple[str, int]]:
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from _files(client, run_id, item.path)
        else:
            yield item.path, int(item.file_size)
