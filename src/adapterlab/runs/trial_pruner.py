"""Whether tuning runs are stopped early: by Optuna's own pruners, over a journal of their rivals.

All trials of an arm are written to one file, epoch by epoch, in the order in which they are judged.
Whoever judges reads what others have written first, so that runs of several processes are rivals,
and a command that was killed goes on as it was. Optuna is told the same in the same order, and
keeps nothing itself.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adapterlab.base.errors import ConfigError, TrialPrunedError, allowed, first_line
from adapterlab.base.locks import waited_for
from adapterlab.config.bookkeeping import TrialPruner
from adapterlab.config.schema import Config
from adapterlab.config.tasks import LOWER_IS_BETTER
from adapterlab.runs.identity import config_hash
from adapterlab.training.packed.lane import LaneProgress, LaneTask
from adapterlab.training.training_state import UNSETTLED, TrainingState

RULES: Mapping[str, str] = MappingProxyType(
    {"median": "MedianPruner", "successive_halving": "SuccessiveHalvingPruner"}
)
"""The pruners, by the names that they are asked for by, and Optuna's."""

_USUAL: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"median": {}, "successive_halving": {"min_resource": 1}}
)
"""Options that are not Optuna's usual ones: by itself it waits for a trial to end."""

WHERE = "hydra.sweeper.pruner"


def make_pruner(rule: str, options: Mapping[str, Any]) -> Any:
    """Return Optuna's pruner.

    Raises:
        ConfigError: there is none of this name, it takes no such options, or Optuna is not there.
    """
    if rule not in RULES:
        raise ConfigError(f"{WHERE}={rule}; {allowed(rule, [*RULES, 'null'])}")
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            f"{WHERE}={rule} takes Optuna, which is not installed: pip install '.[sweeps]'"
        ) from None
    try:
        return getattr(optuna.pruners, RULES[rule])(**{**_USUAL[rule], **options})
    except (TypeError, ValueError) as error:
        said = " ".join(f"{name}={value}" for name, value in options.items())
        raise ConfigError(f"{WHERE}: {rule} {said}: {first_line(error)}") from None


def journals(mlruns: Path, study: str) -> Path:
    """Return the folder of the journals of a study's trials."""
    return mlruns / "studies" / study / "pruner"


@dataclass(frozen=True)
class Standpoint:
    """How far a trial has come.

    Attributes:
        run: its name in the journal.
        values: of the metric that is selected on, by epoch from 1; none of epochs that are not what
            the method gives, see `Hooks.settled`.
        over: it has ended by itself, and is not to be stopped.
    """

    run: str
    values: Mapping[int, float]
    over: bool = False


class Rivals:
    """The trials of one arm.

    Args:
        path: of the journal.
        asked: the pruner.
        metric: that is selected on.
        data_hash: of the data that they are trained on.
    """

    def __init__(self, path: Path, asked: TrialPruner, metric: str, data_hash: str) -> None:
        self.path, self.asked = path, asked
        self.sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        self._header = {"rule": asked.rule, "options": asked.options, "metric": metric,
                        "data": data_hash}  # fmt: skip
        self._start()

    def judge(self, trials: Sequence[Standpoint]) -> dict[str, int]:
        """Take in trials after an epoch; return those that are stopped, and after which epoch.

        The best of them is asked first: a pruner that lets the first one of its kind through, as
        successive halving does, lets the best one through.
        """

        def worst(trial: Standpoint) -> float:
            return -self.sign * trial.values[max(trial.values)]

        with self._held():
            for trial in sorted((one for one in trials if one.values), key=worst):
                for epoch in sorted(trial.values):
                    over = trial.over and epoch == max(trial.values)
                    if epoch > self._epochs.get(trial.run, 0) and trial.run not in self.stopped:
                        self._add(
                            {"run": trial.run, "epoch": epoch, "value": trial.values[epoch],
                             "over": over}
                        )  # fmt: skip
            return {one.run: self.stopped[one.run] for one in trials if one.run in self.stopped}

    def fail(self, run: str) -> None:
        """Hear of a trial that has failed."""
        with self._held():
            if run not in self._ended:
                self._add({"run": run, "failed": True})

    def known(self) -> dict[str, int]:
        """Return all trials that have been stopped, and after which epoch."""
        with self._held():
            return dict(self.stopped)

    def value(self, run: str) -> float:
        """Return the best value of a trial so far."""
        return self.sign * max(self.sign * value for value in self._values[run])

    def _start(self) -> None:
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        self._optuna = optuna
        self._study = optuna.create_study(
            direction="maximize" if self.sign > 0 else "minimize",
            sampler=optuna.samplers.RandomSampler(seed=0),  # nothing is sampled
            pruner=make_pruner(self.asked.rule, self.asked.options),
        )
        self._read = 0
        self._trials: dict[str, Any] = {}
        self._epochs: dict[str, int] = {}
        self._values: dict[str, list[float]] = {}
        self._ended: set[str] = set()
        self.stopped: dict[str, int] = {}

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the journal, and know all that is in it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with waited_for(self.path.with_suffix(".lock"), "what the pruner knows"):
            self._catch_up()
            yield

    def _catch_up(self) -> None:
        whole = self.path.read_bytes() if self.path.is_file() else b""
        whole = whole[: whole.rfind(b"\n") + 1]  # a process may have been killed while it wrote
        lines = whole.splitlines()
        if not lines or json.loads(lines[0]) != self._header:  # judged by another rule, or nothing
            if self._read:
                self._start()
            whole = json.dumps(self._header).encode() + b"\n"
            self.path.write_bytes(whole)
        elif not self._read and self.path.stat().st_size > len(whole):
            self.path.write_bytes(whole)
        for line in whole[self._read :].splitlines()[0 if self._read else 1 :]:
            self._take(json.loads(line))
        self._read = len(whole)

    def _add(self, event: dict[str, Any]) -> None:
        """Take something in that has just happened, and write it down with what comes of it."""
        line = json.dumps({**event, **self._take(event)}).encode() + b"\n"
        with self.path.open("r+b") as file:
            file.seek(self._read)
            file.truncate()
            file.write(line)
        self._read += len(line)

    def _take(self, event: Mapping[str, Any]) -> dict[str, bool]:
        """Tell Optuna; return its decision, or the one that is written down."""
        run, states = event["run"], self._optuna.trial.TrialState
        if run in self._ended:
            return {}
        if run not in self._trials:
            self._trials[run] = self._study.ask()
        trial = self._trials[run]
        if event.get("failed"):
            self._ended.add(run)
            self._study.tell(trial, state=states.FAIL)
            return {}
        epoch, value = int(event["epoch"]), float(event["value"])
        self._epochs[run] = epoch
        self._values.setdefault(run, []).append(value)
        trial.report(value, epoch)
        asked = bool(trial.should_prune())  # which also remembers a rung that it has come to
        pruned = bool(event.get("pruned", asked and not event["over"]))
        if pruned:
            self.stopped[run] = epoch
            self._study.tell(trial, state=states.PRUNED)
        elif event["over"]:
            self._study.tell(trial, self.value(run))
        if pruned or event["over"]:
            self._ended.add(run)
        return {"pruned": pruned}


class TrialJudge:
    """Stops trials after an epoch; a `Judge` of packs, and one of runs alone.

    Args:
        data_hash: of the data that they are trained on.
    """

    def __init__(self, data_hash: str) -> None:
        self.data_hash = data_hash
        self._rivals: dict[Path, Rivals] = {}

    def __call__(self, lanes: Sequence[tuple[LaneTask, LaneProgress]]) -> None:
        """Give lanes that are stopped their error."""
        groups: dict[int, list[tuple[Config, LaneProgress]]] = {}
        judges: dict[int, Rivals] = {}
        for task, progress in lanes:
            if (rivals := self._of(task.config)) is None:
                continue
            judges[id(rivals)] = rivals
            if progress.error is not None:
                rivals.fail(_name(task.config))
            else:
                groups.setdefault(id(rivals), []).append((task.config, progress))
        for key, group in groups.items():
            stopped = judges[key].judge([_standpoint(*one) for one in group])
            for config, progress in group:
                if (epoch := stopped.get(_name(config))) is not None:
                    progress.error = self._error(config, judges[key], epoch)

    def after_epoch(self, config: Config, state: TrainingState) -> None:
        """Stop a run alone, where its rivals are ahead of it.

        Raises:
            TrialPrunedError: they are.
        """
        if (rivals := self._of(config)) is None:
            return
        stopped = rivals.judge([_standpoint(config, state)])
        if (epoch := stopped.get(_name(config))) is not None:
            raise self._error(config, rivals, epoch)

    def fail(self, config: Config) -> None:
        """Hear of a run that has failed."""
        if (rivals := self._of(config)) is not None:
            rivals.fail(_name(config))

    def before(self, config: Config) -> TrialPrunedError | None:
        """Return how a run was stopped earlier in its study; None if it was not."""
        if not config.resume or (rivals := self._of(config)) is None:
            return None
        epoch = rivals.known().get(_name(config))
        return None if epoch is None else self._error(config, rivals, epoch)

    def _of(self, config: Config) -> Rivals | None:
        asked = config.trial_pruner
        if asked is None:
            return None
        folder = journals(config.mlruns, config.study or "single")
        path = folder / f"{asked.among}.jsonl"
        if path not in self._rivals:
            self._rivals[path] = Rivals(path, asked, config.select_on, self.data_hash)
        return self._rivals[path]

    @staticmethod
    def _error(config: Config, rivals: Rivals, epoch: int) -> TrialPrunedError:
        best = rivals.value(_name(config))
        return TrialPrunedError(rivals.asked.rule, epoch, config.epochs, best)


def _standpoint(config: Config, state: TrainingState) -> Standpoint:
    name = f"val/{config.select_on}"
    # An epoch of more than the method gives, more ranks say, tells neither of it nor of its rivals.
    values = {
        epoch: metrics[name]
        for epoch, metrics in state.history.items()
        if not metrics.get(UNSETTLED)
    }
    over = state.is_over(config.epochs, config.early_stopping)
    return Standpoint(_name(config), values, over)


def _name(config: Config) -> str:
    return config_hash(config)
