"""From what the runs of a study left to findings: which arms are compared, on what, and how."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from adapterlab.base.errors import ConfigError
from adapterlab.evidence.all_metrics import higher_is_better
from adapterlab.evidence.all_metrics import metric as known_metric
from adapterlab.evidence.replicates import Replicates
from adapterlab.evidence.verdicts import (
    MARGIN,
    Comparison,
    Family,
    Verdict,
    compare_all,
)
from adapterlab.reporting.comparing.arm_findings import findings_of
from adapterlab.reporting.findings import (
    ArmFindings,
    Findings,
    Question,
    main_of,
    task_of_run,
)
from adapterlab.reporting.margins import margin_of
from adapterlab.reporting.reading.logged import read_answers
from adapterlab.reporting.reading.reference import find_arm
from adapterlab.reporting.reading.study import Arm, Status, same_examples
from adapterlab.reporting.reading.task_scores import read_task_scores


@dataclass(frozen=True, eq=False)
class Candidate:
    """An arm, and what it can be compared by.

    Attributes:
        found: what is known of it.
        values: per test example of the metric compared, ``[S, N]``; None if there are none.
        examples: what the test examples were; arms are compared if these are equal.
        why: why it has no values.
    """

    found: ArmFindings
    values: np.ndarray | None
    examples: str
    why: str = ""

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.found.name


def find(study: str, arms: Sequence[Arm], question: Question) -> Findings:
    """Read what the arms' runs left, and compare all pairs of arms.

    The reference is the arm with the best mean on validation. The verdicts hold for any other
    choice as well, since all pairs are compared (`evidence.verdicts.compare_all`).

    Args:
        study: its name.
        arms: of one data set, of at least one of which a run has finished.
        question: what is compared, and how.

    Raises:
        ConfigError: the reference is none of the arms, or the metric is none.
    """
    finished = [arm for arm in arms if arm.runs]
    first = finished[0].runs[0]
    every = [run for arm in arms for run in (*arm.runs, *arm.lost)]
    select_on = _selected_on(finished)
    if question.compare_on == "auto":
        question = replace(question, compare_on=main_of(first))
    chosen = None
    if question.reference is not None:
        named = find_arm(arms, question.reference)
        if not named.runs:
            raise ConfigError(
                f"reference={question.reference} has no finished run: {why_not([named])}"
            )
        chosen = named.name
    read = [_read(arm, select_on, question) for arm in finished]
    return judge(
        study,
        read,
        replace(question, reference=chosen, margin=margin_of(question, every)),
        selected_on=select_on,
        lost=[arm for arm in arms if not arm.runs],
    )


def _selected_on(arms: Sequence[Arm]) -> str:
    """Return the validation metric that most arms were selected on, the first of equal ones."""
    names = Counter(arm.first.params.get("select_on", "accuracy") for arm in arms)
    return max(names, key=lambda name: names[name])


def judge(
    study: str,
    candidates: Sequence[Candidate],
    question: Question,
    *,
    selected_on: str,
    lost: Sequence[Arm] = (),
) -> Findings:
    """Compare all pairs of arms that can be compared, and put everything in order.

    Args:
        study: its name.
        candidates: its arms of one data set, at least one.
        question: with the name of the reference, if there is one, and the margin in the unit of
            the score.
        selected_on: the validation metric that runs were selected on.
        lost: arms without a finished run.
    """
    candidates = sorted(candidates, key=lambda one: one.name)
    chosen = next((one for one in candidates if one.name == question.reference), None)
    group, gaps = _comparable(candidates, chosen)
    best = max(group, key=lambda one: one.found.selected)
    leader = chosen or next(one for one in candidates if one.name == best.name)
    margin = MARGIN if question.margin is None else question.margin
    family = _family(group, leader, question, margin)
    found = [_decided(one, leader, family) for one in candidates]
    sign = 1 if higher_is_better(question.compare_on) else -1
    ranked = sorted(found, key=lambda one: (-sign * one.score.mean, one.name))
    return Findings(
        study=study,
        task=leader.found.arm.first.dataset,
        arms=tuple(ranked),
        lost=tuple(lost),
        reference=next(one for one in ranked if one.name == leader.name),
        chosen=chosen is not None,
        selected_on=selected_on,
        compared_on=question.compare_on,
        family=family,
        margin=margin,
        gaps=tuple(gaps),
    )


def _read(arm: Arm, select_on: str, question: Question) -> Candidate:
    metric = question.compare_on
    if task_of_run(arm.first) != "single_label":
        return _read_task(arm, select_on, metric)
    answers, why = read_answers(arm.runs, metric)
    if answers is not None and len({run.test_hash for run in arm.runs} - {""}) > 1:
        why = "its runs were tested on different examples"  # with the same labels
    values = None if answers is None or why else answers.values(metric).values
    correct = None if answers is None else answers.correct
    told = None if answers is None else (answers.labels, answers.classes)
    one = findings_of(arm, select_on, metric, correct, values, told)
    one = replace(one, answers=answers)
    return Candidate(one, values, _examples(arm, told), why)


def _read_task(arm: Arm, select_on: str, metric: str) -> Candidate:
    """Do as `_read` where examples have several labels, or a number."""
    main = main_of(arm.first)
    scores, why = read_task_scores(arm.runs, task_of_run(arm.first), (main, metric))
    if scores is not None and len({run.test_hash for run in arm.runs} - {""}) > 1:
        why = "its runs were tested on different examples"
    values = None if scores is None or why else scores.values[metric]
    of_main = None if scores is None else scores.values.get(main)
    told = None if scores is None else (scores.labels, scores.classes)
    one = findings_of(arm, select_on, metric, of_main, values, told)
    return Candidate(one, values, _examples(arm, told), why)


def _examples(arm: Arm, told: tuple[np.ndarray, tuple[str, ...]] | None) -> str:
    """Return what an arm was tested on, in such a way that equal texts mean equal examples.

    It is a hash of the examples, which runs from before there was one lack, and their labels, which
    mean the same where classes have the same names in the same order.
    """
    if told is None:
        return ""
    answered, classes = told
    hashes = {run.test_hash for run in arm.runs}
    labels = f"{len(answered)} examples, labels {hash((answered.tobytes(), classes)):x}"
    return f"{'/'.join(sorted(hashes))} {labels}" if "" not in hashes else f" {labels}"


def _comparable(
    read: Sequence[Candidate], chosen: Candidate | None
) -> tuple[list[Candidate], list[str]]:
    """Return the arms that are compared, and say of the others why not."""
    gaps = [f"{r.name} is compared with no arm: {r.why}" for r in read if r.values is None]
    having = _as_far_as_known([r for r in read if r.values is not None])
    # One that cannot be compared says nothing of what the others were tested on.
    chosen = next((r for r in having if chosen is not None and r.name == chosen.name), None)
    if chosen is not None:
        examples = chosen.examples
    else:
        kinds: dict[str, list[Candidate]] = {}
        for r in having:
            kinds.setdefault(r.examples, []).append(r)
        examples = max(kinds, key=lambda kind: (len(kinds[kind]), _size(kinds[kind])), default="")
    group = [r for r in having if r.examples == examples]
    apart = [r for r in having if r.examples != examples]
    if apart:
        sizes = "/".join(sorted({str(_size([r])) for r in group}))
        for r in apart:
            gaps.append(
                f"{r.name} was tested on other examples, or other classes ({_size([r])} examples), "
                f"than the arms that are compared ({sizes}), so it is not comparable"
            )
    return group or list(read), gaps


def _as_far_as_known(read: Sequence[Candidate]) -> list[Candidate]:
    """Let arms without a hash of their examples count as tested on those with the same labels.

    Of several such, on those that most arms were tested on.
    """
    hashed = Counter(r.examples for r in read if not r.examples.startswith(" "))
    known = []
    for r in read:
        same = [kind for kind in hashed if kind.endswith(r.examples)]
        if r.examples.startswith(" ") and same:
            r = replace(r, examples=max(same, key=lambda kind: hashed[kind]))
        known.append(r)
    return known


def _size(read: Sequence[Candidate]) -> int:
    return read[0].found.tested_on


def _family(
    group: Sequence[Candidate], leader: Candidate, question: Question, margin: float
) -> Family | None:
    arms = [replicates(r.found, r.values) for r in group if r.values is not None]
    if not arms or (question.planned and leader.name not in {arm.name for arm in arms}):
        return None
    known = known_metric(question.compare_on)
    return compare_all(
        arms,
        level=question.level,
        margin=margin,
        higher_is_better=higher_is_better(question.compare_on),
        largest=known.most - known.least if known is not None and known.bounded else np.inf,
        control=leader.name if question.planned else None,
    )


def replicates(one: ArmFindings, values: np.ndarray) -> Replicates:
    """Return an arm's runs as `compare_all` takes them."""
    return Replicates(one.name, tuple(run.replicate for run in one.arm.runs), values)


def _decided(r: Candidate, leader: Candidate, family: Family | None) -> ArmFindings:
    """Add to an arm what its family decided."""
    one, name = r.found, r.name
    inside = {arm.name for arm in family.arms} if family is not None else set()
    if name in inside and family is not None:
        one = replace(one, letters=family.letters[name], may_be_best=family.may_be_best[name])
    if r is leader:
        return one
    if family is not None and {name, leader.name} <= inside:
        return replace(one, comparison=family.compare(name, leader.name))
    others = same_examples(one.arm.first, leader.found.arm.first)
    why = r.why or leader.why or others or "other test examples"
    runs = len(one.score.values), len(leader.found.score.values)
    none = Comparison(
        a=name,
        b=leader.name,
        difference=one.score.mean - leader.found.score.mean,
        interval=None,
        p=None,
        p_adjusted=None,
        smallest_detectable=None,
        runs=runs,
        verdict=Verdict.NOT_COMPARABLE,
        why=why,
    )
    return replace(one, comparison=none)


def why_not(arms: Sequence[Arm]) -> str:
    """Say what came of runs that did not finish."""
    lost = [run for arm in arms for run in arm.lost]
    counts = {
        status: sum(run.status is status for run in lost)
        for status in Status
        if any(run.status is status for run in lost)
    }
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    reason = next((run.reason for run in lost if run.reason), "")
    return f"{said} ({reason})" if reason else said
