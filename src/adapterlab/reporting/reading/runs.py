"""A run as a report reads it: what it was, what it measured, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from adapterlab.runs.identity import USUAL_CUT

NAMING = "arm_options"
"""The tag with the options that a run was told to name its arm by."""


class Status(StrEnum):
    """What came of a run."""

    FINISHED = "finished"
    FAILED = "failed"
    DIVERGED = "diverged"
    KILLED = "killed"
    PRUNED = "pruned"
    RUNNING = "running"


@dataclass(frozen=True, order=True)
class Replicate:
    """What the draws of a run come from; runs of several arms that share it are paired.

    Attributes:
        init: seed of the new head, the adapter and dropout.
        order: seed of the batches' order and of augmentation.
        cut: seed of the cut between training and validation rows.
    """

    init: int
    order: int
    cut: int = USUAL_CUT

    def __str__(self) -> str:
        """Write it as a person says it: ``seed 3``, ``init 0, order 1``, ``seed 3, cut 7``."""
        seeds = f"init {self.init}, order {self.order}"
        if self.init == self.order:
            seeds = f"seed {self.init}"
        return seeds if self.cut == USUAL_CUT else f"{seeds}, cut {self.cut}"


@dataclass(frozen=True)
class Run:
    """One run: what it was, what it measured, and where its files are.

    Attributes:
        run_id: of MLflow.
        arm: the arm's hash.
        tags, params, metrics: as they were logged; a run that was killed early may lack any.
        artifacts: where its files are.
        store: the tracking URI of what has them, where that is a server; None is MLflow's own.
        status: what came of it.
        reason: why it has not finished, in a line; empty if it has.
        replicate: what its draws come from.
        started: when its configuration was run for the first time, in milliseconds since 1970.
        replaced: what had changed (`data`, say) since an earlier run of its configuration, which
            does not count any more.
        read_at: the place of its data, where earlier runs read the same at another, which its
            options then have; empty otherwise. See `same_data`.
    """

    run_id: str
    arm: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    artifacts: str = ""
    store: str | None = None
    status: Status = Status.FINISHED
    reason: str = ""
    replicate: Replicate = Replicate(0, 0)
    started: int = 0
    replaced: tuple[str, ...] = ()
    read_at: str = ""

    @property
    def dataset(self) -> str:
        """The name of its data set."""
        return self.tags.get("dataset", "")

    @property
    def model(self) -> str:
        """The name of its model."""
        return self.tags.get("model", "")

    @property
    def strategy(self) -> str:
        """The way of fine-tuning."""
        return self.tags.get("strategy", "")

    @property
    def precision(self) -> str:
        """The precision that it was trained in: of the hardware, what makes it another arm."""
        return self.tags.get("precision") or self.params.get("hardware.precision", "")

    @property
    def test_hash(self) -> str:
        """A hash of the examples that it was tested on; empty if the run is older than that."""
        return self.tags.get("test_hash", "")

    @property
    def seed(self) -> int:
        """The option `seed`, which several replicates may share."""
        return int(self.tags.get("seed", self.replicate.init))
