"""A study that adds seeds until it is certain: looks are planned, arms that are worse leave.

At every look all pairs of arms are tested at the look's own level, so that all looks together keep
the study's (`evidence.sequential`). Seeds go to the arms that are left, until one is left, or all
that are left are shown to be equivalent within the margin, or the budget is spent.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from adapterlab.base.errors import ConfigError, NothingFinishedError, allowed
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import MIN_SEEDS
from adapterlab.runs.budget import parse_solved
from adapterlab.runs.folders.homes import latest_home
from adapterlab.studies.planning.power import announced
from adapterlab.studies.sequential.stopping import (
    Decision,
    Examples,
    FamilyTest,
    compared,
    decide,
    other_examples,
)
from adapterlab.studies.sweeps.arms import Arms
from adapterlab.tracking.client import connect
from adapterlab.tracking.looks import SPENDING, Looked, LookPlan, keep_look, keep_plan, require_plan
from adapterlab.tracking.looks import read_looks as read

log = logging.getLogger(__name__)

_MOST = 0.5
"""Share of studies with a false difference: with more, none is a finding."""

Launch = Callable[..., Sequence[JobReturn]]
"""A launcher's `launch(job_overrides, initial_job_idx)`."""

TAKEN = {"seed": "hydra.sweeper.looks", "init_seed": "seed", "order_seed": "seed"}


@dataclass(frozen=True)
class Design:
    """When a study is looked at, and how it is decided.

    Attributes:
        looks: seeds an arm at each look, growing; the last is the budget.
        level: of the whole study.
        margin: difference of accuracies that does not matter, as a share.
        spending: name of the spending function.
    """

    looks: tuple[int, ...]
    level: float
    margin: float
    spending: str

    @classmethod
    def of(
        cls,
        looks: Sequence[int],
        max_seeds: int | None,
        level: float,
        margin: float,
        spending: str,
    ) -> "Design":
        """Check the sweeper's options.

        Args:
            looks: seeds an arm; those above ``max_seeds`` are left out.
            max_seeds: the last look; None for the last of ``looks``.
            level: of the whole study.
            margin: in points of accuracy.
            spending: name of the spending function.

        Raises:
            ConfigError: one of them is outside its range.
        """
        planned = list(looks)
        if not planned or planned[0] < MIN_SEEDS or sorted(set(planned)) != planned:
            raise ConfigError(
                f"hydra.sweeper.looks={planned} should be growing counts, {MIN_SEEDS} or more"
            )
        most = planned[-1] if max_seeds is None else max_seeds
        if most < MIN_SEEDS:
            raise ConfigError(f"hydra.sweeper.max_seeds={most} should be {MIN_SEEDS} or more")
        if not 0 < level <= _MOST:
            raise ConfigError(
                f"hydra.sweeper.level={level} should be above 0 and at most {_MOST}: the share of "
                "studies with a false difference, such as 0.05"
            )
        if not 0 < margin < 100:
            raise ConfigError(f"hydra.sweeper.margin={margin} should be points, above 0")
        if spending not in SPENDING:
            raise ConfigError(
                f"hydra.sweeper.spending={spending} is unknown; {allowed(spending, SPENDING)}"
            )
        kept = [look for look in planned if look < most]
        return cls((*kept, most), level, margin / 100, spending)

    @property
    def plan(self) -> LookPlan:
        """What is kept with the study's run."""
        return LookPlan(self.looks[-1], self.level, self.spending)


class SequentialStudy:
    """A study whose seeds are added look by look.

    Args:
        design: when it is looked at, and how it is decided.
        arms: at least 2.
        config: of the sweep.
        launch: carries out a batch of runs.
        test: compares the arms at a look.

    Raises:
        ConfigError: there is nothing to compare.
        AdapterLabError: the study has been looked at without this plan, or with another.
    """

    def __init__(
        self,
        design: Design,
        arms: Arms,
        config: DictConfig,
        launch: Launch,
        test: FamilyTest = compared,
    ) -> None:
        if len(arms.labels) < 2:
            raise ConfigError(
                "hydra/sweeper=sequential compares arms: sweep over options, as by "
                "adapter=lora,dora, or list them in hydra.sweeper.arms"
            )
        if config.get("task", "single_label") != "single_label":
            raise ConfigError(
                f"hydra/sweeper=sequential adds seeds by accuracy, which task={config.task} has "
                "not; sweep over seed=0,1,2 instead"
            )
        self.design, self.arms, self.launch, self.test = design, arms, launch, test
        self.study, self.plan_only = str(config.study), bool(config.plan)
        self._experiment = str(config.tracking.experiment)
        self._client: Any = None
        self._looked = Looked()
        if config.tracking.enabled and not self.plan_only:
            mlruns = Path(config.root).resolve() / "mlruns"
            self._client = connect(config.tracking.uri, mlruns)
            self._looked = read(self._client, self.study, self._experiment)
            require_plan(self._looked, self.study, design.plan)
        self._answers: dict[str, dict[int, npt.NDArray[np.bool_]]] = {}
        self._tested: dict[str, Examples] = {}
        self._said: set[str] = set()

    def jobs(self, look: int, left: Sequence[str]) -> list[tuple[str, int, list[str]]]:
        """Return arm, seed and overrides of the runs that a look adds."""
        looks = self.design.looks
        first = looks[look - 1] if look else 0
        return [
            (arm, seed, self.arms.job(place, f"seed={seed}", f"study={self.study}"))
            for place, arm in enumerate(self.arms.labels)
            if arm in left
            for seed in range(first, looks[look])
        ]

    def carry_out(self) -> list[Sequence[JobReturn]]:
        """Add seeds until there is nothing left to find, or none are left to add.

        Returns:
            What was launched, look by look.

        Raises:
            NothingFinishedError: no arm has enough finished runs to be tested.
            Exception: of the first run that has failed, when all is done.
        """
        looks = self.design.looks
        left = tuple(self.arms.labels)
        log.info(
            "looks at %s seeds an arm, %d arms in study %s",
            ", ".join(map(str, looks)), len(left), self.study,
        )  # fmt: skip
        if self.plan_only:
            announced.append((len(left), looks[-1]))
        done: list[Sequence[JobReturn]] = []
        for number in range(len(looks)):
            jobs = self.jobs(number, left)
            count = sum(map(len, done))
            try:
                done.append(self.launch([line for _, _, line in jobs], initial_job_idx=count))
            finally:
                self._keep_plan()  # the report of what is interrupted is a look as well
            if self.plan_only:
                return done
            require_plan(self._looked, self.study, self.design.plan)
            for (arm, seed, _), returned in zip(jobs, done[-1], strict=True):
                self._take(arm, seed, returned)
            left, is_over = self._look(number, left)
            if is_over:
                break
        self._conclude(left, sum(map(len, done)))
        for returned in (job for batch in done for job in batch):
            _ = returned.return_value  # raises what a failed run has raised
        return done

    def _take(self, arm: str, seed: int, returned: JobReturn) -> None:
        """Read what a run got right; nothing of one that failed."""
        if returned.status is not JobStatus.COMPLETED or returned.cfg is None:
            return
        folder = latest_home(parse_solved(returned.cfg, said=self._said))
        table = pq.read_table(folder.predictions, columns=["label", "prediction"])
        label, prediction = (table[name].to_numpy() for name in ("label", "prediction"))
        self._answers.setdefault(arm, {})[seed] = label == prediction
        finished = folder.finished()
        now = Examples(label, "" if finished is None else finished.tags.get("test_hash", ""))
        if not now.same(self._tested.setdefault(arm, now)):
            raise ConfigError(f"{arm}: its runs were tested on different examples")

    def _look(self, number: int, left: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
        """Test, keep the look, and say what came of it; return who is left, and if that is all."""
        arms = [
            Replicates(arm, tuple(sorted(own)), np.stack([own[seed] for seed in sorted(own)]))
            for arm, own in self._answers.items()
            if len(own) >= MIN_SEEDS
        ]
        tested = [arm.name for arm in arms]
        for arm in left:
            if arm not in tested:
                log.info("%s leaves: it has fewer than %d finished runs", arm, MIN_SEEDS)
        left = tuple(arm for arm in left if arm in tested)
        if not left:
            raise NothingFinishedError("no arm has enough finished runs to be compared")
        other = other_examples({arm: self._tested[arm] for arm in tested})
        if other is not None:
            raise ConfigError(
                f"{other} and {tested[0]} were tested on different examples, and cannot be "
                "compared; the arms of a study share data set and limits"
            )
        self._read_looks()
        counts = [len(self._answers.get(arm, {})) for arm in self.arms.labels]
        look, _ = self._looked.next(counts, self.design.level)
        self._looked = keep_look(self._client, self._looked, look)
        pairs = self.test(arms, look.level)
        decision = decide(pairs, left, level=look.level, margin=self.design.margin)
        self._say(number, look.level, decision)
        return decision.left, decision.is_over

    def _keep_plan(self) -> None:
        """Keep the plan, now that the study's run is there, unless another command has looked."""
        if self._looked.plan is not None or self.plan_only:
            return
        self._read_looks()
        if not self._looked.looks:
            self._looked = keep_plan(self._client, self._looked, self.design.plan)

    def _read_looks(self) -> None:
        """Read what is kept: another command may be at the study as well, or report it."""
        if self._client is not None:
            found = read(self._client, self.study, self._experiment)
            if found.run_id is not None:
                self._looked = found

    def _say(self, number: int, level: float, decision: Decision) -> None:
        looks = self.design.looks
        log.info(
            "look %d of %d at %d seeds an arm, tested at %.2g%%: arms left %d, undecided pairs %d",
            number + 1, len(looks), looks[number], 100 * level, len(decision.left),
            decision.undecided,
        )  # fmt: skip
        for worse, better in decision.out.items():
            log.info("%s leaves: worse than %s", worse, better)

    def _conclude(self, left: Sequence[str], runs: int) -> None:
        fixed = len(self.arms.labels) * self.design.looks[-1]
        log.info("%d runs, where all seeds of all arms would be %d", runs, fixed)
        if len(left) == 1:
            log.info("left: %s", left[0])
        else:
            log.info("left, not told apart by this study: %s", "; ".join(left))
