"""Looks at a study, kept with its MLflow run, so that whoever looks next knows what is left."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapterlab.base.errors import AdapterLabError
from adapterlab.evidence.looks import Look, next_look
from adapterlab.evidence.sequential import Spending, obrien_fleming, pocock
from adapterlab.tracking.servers.errors import unless_read_only
from adapterlab.tracking.servers.patience import calm
from adapterlab.tracking.study_run import find_study_run

SPENDING: dict[str, Spending] = {"pocock": pocock, "obrien_fleming": obrien_fleming}

METRICS = "study.metrics"
"""The tag with the metrics that arms were compared on, in the order in which they were asked."""

LOOKS, LEVEL, MOST, RULE = "study.looks", "study.level", "study.most", "study.spending"


@dataclass(frozen=True)
class LookPlan:
    """What was planned before the first look.

    Attributes:
        most: seeds an arm.
        level: of the whole study.
        spending: name of a function in `SPENDING`.
    """

    most: int
    level: float
    spending: str

    def __str__(self) -> str:
        return f"at most {self.most} seeds an arm, level {self.level:g}, spending {self.spending}"


@dataclass(frozen=True)
class Looked:
    """What a study's MLflow run says about looks.

    Attributes:
        run_id: of that run; None if the study has none.
        plan: None if there was none.
        looks: in the order in which they were made.
    """

    run_id: str | None = None
    plan: LookPlan | None = None
    looks: tuple[Look, ...] = ()

    def next(self, seeds: Sequence[int], level: float) -> tuple[Look, str | None]:
        """Return the look that is made now, and the sentence for it; see `next_look`.

        Args:
            seeds: finished runs of each arm.
            level: of the whole study, where no plan says it.
        """
        if self.plan is None:
            return next_look(self.looks, seeds, level=level)
        plan = self.plan
        spending = SPENDING[plan.spending]
        return next_look(self.looks, seeds, most=plan.most, level=plan.level, spending=spending)


def read_looks(client: Any, study: str, experiment: str) -> Looked:
    """Read what was kept; nothing of a study that has no run of its own.

    Args:
        client: an MLflow client.
        study: its name.
        experiment: name of the MLflow experiment.
    """
    run = find_study_run(client, experiment, study)
    if run is None:
        return Looked()
    tags = run.data.tags
    plan = None
    if {MOST, LEVEL, RULE} <= set(tags):
        plan = LookPlan(int(tags[MOST]), float(tags[LEVEL]), tags[RULE])
    looks = tuple(
        Look(tuple(look["seeds"]), look["level"]) for look in json.loads(tags.get(LOOKS, "[]"))
    )
    return Looked(run.info.run_id, plan, looks)


def look_at(
    client: Any, study: str, experiment: str, seeds: Sequence[int], *, level: float = 0.05
) -> tuple[Look, str | None]:
    """Look at a study: what its report tests at, and says about it. The look is kept.

    Args:
        client: an MLflow client.
        study: its name.
        experiment: name of the MLflow experiment.
        seeds: finished runs of each arm, at least one arm.
        level: of the whole study, where no plan says it.

    Returns:
        The look, whose ``level`` is that of all tests in the report; and a sentence to print, None
        where there is nothing to say.
    """
    looked = read_looks(client, study, experiment)
    look, said = looked.next(seeds, level)
    keep_look(client, looked, look)
    return look, said


def metrics_at(client: Any, study: str, experiment: str, now: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics that arms of a study were compared on so far, and keep those of now.

    Args:
        client: an MLflow client.
        study: its name.
        experiment: name of the MLflow experiment.
        now: on which they are compared now.
    """
    run = find_study_run(client, experiment, study)
    if run is None:
        return tuple(now)
    before = json.loads(run.data.tags.get(METRICS, "[]"))
    every = tuple(dict.fromkeys([*before, *now]))
    if len(every) > len(before):
        with unless_read_only("which metric was compared is not kept"), calm(client):
            client.set_tag(run.info.run_id, METRICS, json.dumps(every))
    return every


def keep_look(client: Any, looked: Looked, look: Look) -> Looked:
    """Keep a look with the study's run; return what is then kept.

    One that has been kept is not kept again, nor one at which nothing could be tested.
    """
    known = not look.tests or look.seeds in {other.seeds for other in looked.looks}
    looks = looked.looks if known else (*looked.looks, look)
    if looked.run_id is not None and not known:
        written = [{"seeds": list(each.seeds), "level": each.level} for each in looks]
        with unless_read_only("that the study was looked at is not kept"), calm(client):
            client.set_tag(looked.run_id, LOOKS, json.dumps(written))
    return Looked(looked.run_id, looked.plan, looks)


def require_plan(looked: Looked, study: str, plan: LookPlan) -> None:
    """Refuse a plan that comes after a look, or that is another than the one that was made.

    Raises:
        AdapterLabError: it is such a plan.
    """
    way_out = "give this one a name of its own by study=NAME"
    if looked.plan is not None and looked.plan != plan:
        raise AdapterLabError(
            f"study={study} was planned with {looked.plan}, and has been looked at; it cannot be "
            f"changed to {plan}: {way_out}"
        )
    if looked.plan is None and looked.looks:
        raise AdapterLabError(
            f"study={study} was looked at before its looks were planned, with "
            f"{looked.looks[-1].most} seeds an arm: {way_out}"
        )


def keep_plan(client: Any, looked: Looked, plan: LookPlan) -> Looked:
    """Keep the plan with the study's run, if there is none; return what is then kept."""
    from mlflow.entities import RunTag

    if looked.plan is not None:
        return looked
    if looked.run_id is not None:
        values = {MOST: plan.most, LEVEL: plan.level, RULE: plan.spending}
        with calm(client):  # all at once: another command may be reading them
            tags = [RunTag(name, str(value)) for name, value in values.items()]
            client.log_batch(looked.run_id, tags=tags)
    return Looked(looked.run_id, plan, looked.looks)
