"""What the tuned sweeper writes down with its runs: what each was tried for, what was chosen.

A run that had finished keeps its tags when it is not repeated, and a grid that has changed may
choose anew. So what holds now is written after each stage, also with runs of before.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from adapterlab.runs.budget import parse_solved
from adapterlab.runs.folders.homes import latest_home
from adapterlab.studies.sweeps.shared_data import ReadOnce
from adapterlab.tracking.client import connect
from adapterlab.tracking.searching import searched
from adapterlab.tracking.servers.errors import unless_gone
from adapterlab.tracking.servers.patience import calm
from adapterlab.tracking.tuning_tags import AT, EDGE, KEY, SUPERSEDED, trial, tuned, values

Marked = Iterable[tuple[JobReturn, Mapping[str, str]]]
"""Runs, and what is to be said of each, by name."""


class RunTags:
    """Writes the tags of a sweep's runs; nothing where runs are not logged.

    Args:
        config: of the sweep.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._read = ReadOnce()

    def of_trials(self, runs: Marked) -> None:
        """Tag tuning runs, finished or failed."""
        for run_id, about in self._logged(runs):
            self._tag(run_id, {trial(name): value for name, value in about.items()})

    def of_compared(self, runs: Marked) -> None:
        """Tag compared runs, those that had finished before as well."""
        for run_id, about in self._logged(runs):
            gone = [tuned(SUPERSEDED)] + ([] if EDGE in about else [tuned(EDGE)])
            self._tag(run_id, {tuned(name): value for name, value in about.items()}, gone)

    def supersede(self, study: str, chosen: Mapping[str, Mapping[str, str]]) -> None:
        """Mark the runs of a study that were run with what is no longer chosen.

        Args:
            study: its name.
            chosen: by the arm's key: options, and their values as they are written.
        """
        if not self.config.tracking.enabled:
            return
        client = self._client()
        experiment = client.get_experiment_by_name(self.config.tracking.experiment)
        if experiment is None:
            return
        query = f"tags.study = {json.dumps(study)} and tags.kind = 'run'"
        for run in searched(client, experiment.experiment_id, query):
            tags = run.data.tags
            now = chosen.get(tags.get(tuned(KEY), ""))
            if now is not None and values(tags, "tuned") != dict(sorted(now.items())):
                said = " ".join(f"{option}={value}" for option, value in now.items())
                self._tag(run.info.run_id, {tuned(SUPERSEDED): said})

    def _logged(self, runs: Marked) -> Iterable[tuple[str, dict[str, str]]]:
        if not self.config.tracking.enabled:
            return
        for job, about in runs:
            if job.cfg is None:
                continue
            config = parse_solved(job.cfg, self._read, _AllSaid())
            if (run_id := latest_home(config).link.run_id()) is not None:
                yield run_id, {**about, AT: self.at}

    def _tag(self, run_id: str, tags: Mapping[str, str], gone: Sequence[str] = ()) -> None:
        from mlflow.entities import RunTag

        client = self._client()
        with unless_gone(), calm(client):  # one that was deleted has failed, and the others go on
            client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
            known = client.get_run(run_id).data.tags if gone else {}
            for name in gone:
                if name in known:
                    client.delete_tag(run_id, name)

    def _client(self) -> Any:
        return connect(self.config.tracking.uri, Path(self.config.root) / "mlruns")


class _AllSaid(set[str]):
    """Lines that need not be said again: every line."""

    def __contains__(self, line: object) -> bool:
        return True
