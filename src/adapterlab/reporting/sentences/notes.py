"""What a reader of a report must know beside its figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from adapterlab.base.amounts import counted
from adapterlab.config.tasks import F1, TASKS
from adapterlab.evidence.all_metrics import metric as known_metric
from adapterlab.evidence.score_intervals import carried_by
from adapterlab.reporting.findings import Findings, task_of_run
from adapterlab.reporting.formatting import gap, listed, percents
from adapterlab.reporting.margins import on_margin
from adapterlab.reporting.reading.study import Replicate, Run
from adapterlab.reporting.sentences.few_answers import on_answers
from adapterlab.reporting.sentences.pack_sizes import on_pack_sizes, on_prefixes
from adapterlab.reporting.sentences.tuning import on_tuning
from adapterlab.reporting.sentences.unlike_runs import on_unlike_runs
from adapterlab.reporting.sentences.versions import on_versions
from adapterlab.tracking.mlflow_run import SPLIT
from adapterlab.tracking.note_tags import notes_in

_REASONS = 8
"""Reasons of runs that did not finish that are written at most; runs.csv has all."""

_ARMS = 3
"""That are named in front of a note at most; of more it says how many runs there are."""

_REPLICATES = 6
"""Draws of an arm's runs that are written at most."""

_FEW_EXAMPLES = 30
"""Test examples below which a single one decides much (`scripts/simulations/few.py`)."""

_ENOUGH = 20
"""Examples that carry a score without bounds: of fewer, an arm's interval holds too seldom."""


def about(findings: Findings) -> str:
    """Return in a line what was compared."""
    runs = findings.runs
    models = "/".join(dict.fromkeys(run.tags.get("model", "?") for run in runs))
    of = f"{counted(len(findings.all_arms), 'arm')}, {counted(findings.tried, 'run')}"
    if len(runs) < findings.tried:
        of += f", of which {len(runs)} finished"
    reference = findings.reference.name
    why = "as asked" if findings.chosen else f"best {findings.selected_on} on validation"
    compared = f"Compared on {findings.compared_on}{_family(findings)}, margin {_margin(findings)}."
    return f"{models} on {findings.task}: {of}. Reference: {reference} ({why}). {compared}"


def notes(findings: Findings) -> list[str]:
    """Return what a reader of the tables must know."""
    arms = findings.arms
    runs = findings.runs
    said = []
    if all(len(arm.arm.runs) == 1 for arm in arms):
        said.append("one seed an arm says nothing about the spread between seeds")
    if findings.selected_on != findings.compared_on:
        by, on = findings.selected_on, findings.compared_on
        selectable = TASKS[task_of_run(runs[0])].selectable
        why = (
            f"runs selected by it (select_on={on}) might come out otherwise"
            if on in selectable or on.startswith(F1)
            else "no epoch can be selected by that"
        )
        said.append(f"epochs were selected by {by} on validation, arms are compared on {on}: {why}")
    said += _otherwise_selected(findings)
    said += on_margin(findings)
    said += on_versions(findings.all_arms)
    said += _over_budget(findings)
    said += _uneven(findings)
    said += _precisions(findings)
    said += on_unlike_runs(findings)
    said += _fixed(findings)
    said += _reasons(findings)
    said += _short_of_examples(findings)
    said += _hardly_any_examples(findings)
    said += on_answers(findings)
    said += _few_errors(findings)
    said += on_tuning(runs, {arm.first.arm: arm.name for arm in findings.all_arms})
    before = {value for arm in arms for value in arm.arm.values("source/accuracy_before")}
    if before:
        said.append(f"the base had {percents(before)} on the source task before")
    if any(arm.figure("cost/lane_seconds") for arm in arms):
        said.append(
            "seconds in a pack are a run's share of the time of runs that were trained together, "
            "by what a step of its method takes; they do not compare with those of runs alone"
        )
    said += on_pack_sizes(findings)
    said += on_prefixes(findings)
    if lanes := sorted({int(run.tags[SPLIT]) for run in runs if SPLIT in run.tags}):
        split = counted(sum(SPLIT in run.tags for run in runs), "run")
        said.append(
            f"{split} began in packs of {listed([str(one) for one in lanes])} that ran out of "
            "memory, and went again in smaller ones"
        )
    if len({run.tags.get("hardware.id") for run in runs}) > 1:
        said.append("seconds come from different hardware and do not compare")
    said += _missing(runs)
    said += findings.gaps
    said += _on_data({arm.name: arm.arm.runs for arm in arms})
    return said


def _on_data(arms: Mapping[str, Sequence[Run]]) -> list[str]:
    """Say what runs say of data and base: what all say, one by one, then whose the rest is."""
    runs = [run for own in arms.values() for run in own]
    saying: dict[str, list[int]] = {}
    for place, run in enumerate(runs):
        for note in dict.fromkeys(notes_in(run.tags)):
            saying.setdefault(note, []).append(place)
    alike: dict[tuple[int, ...], list[str]] = {}
    for note, places in saying.items():
        alike.setdefault((*places,), []).append(note)
    most_first = sorted(alike.items(), key=lambda one: -len(one[0]))
    said: list[str] = []
    for at, notes in most_first:
        whose = _whose(at, arms)
        said += [whose + "; ".join(notes)] if whose else notes
    return said


def _whose(places: Sequence[int], arms: Mapping[str, Sequence[Run]]) -> str:
    """Name the runs at these places, as arms or by their number; nothing if they are all."""
    count = sum(map(len, arms.values()))
    if len(places) == count:
        return ""
    names = [name for name, own in arms.items() for _ in own]
    among = Counter(names[place] for place in places)
    if len(among) <= _ARMS and all(among[name] == len(arms[name]) for name in among):
        return f"{listed([*among])}: "
    return f"in {len(places)} of {count} runs: "


def _otherwise_selected(findings: Findings) -> list[str]:
    """Say which arms had their epochs selected by another metric than most."""
    other: dict[str, list[str]] = {}
    for arm in findings.arms:
        metric = arm.param("select_on") or findings.selected_on
        if metric != findings.selected_on:
            other.setdefault(metric, []).append(arm.name)
    return [
        f"epochs of {listed(names)} were selected by {metric}, those of other arms by "
        f"{findings.selected_on}: what differs may come from that, and validation does not rank "
        "them"
        for metric, names in other.items()
    ]


def _short_of_examples(findings: Findings) -> list[str]:
    """Say where the margin is too small for the test split."""
    family = findings.family
    if family is None or family.pairs is None:
        return []
    examples, enough = family.arms[0].examples, family.enough_examples
    if examples >= enough:
        return []
    return [
        f"with {examples:,} test examples no arm can be shown to be within {_margin(findings)} of "
        f"another, which takes {enough:,}; a larger margin takes fewer (margin=...)"
    ]


def _hardly_any_examples(findings: Findings) -> list[str]:
    """Say where the test split is so small that no test over examples keeps its level."""
    family = findings.family
    if family is None or family.pairs is None:
        return []
    examples = family.arms[0].examples
    if examples >= _FEW_EXAMPLES:
        return []
    return [
        f"with {examples} test examples a few answers decide: below {_FEW_EXAMPLES} equal arms "
        "that have no more than luck in common are told apart in up to 10% of studies, and in up "
        "to 25% where each answers one class throughout; a larger test split helps"
    ]


def _few_errors(findings: Findings) -> list[str]:
    """Say where a score without bounds hangs on a few large errors."""
    family, known = findings.family, known_metric(findings.compared_on)
    if family is None or known is None or known.bounded:
        return []
    least = min(carried_by(arm.values) for arm in family.arms)
    if least >= _ENOUGH:
        return []
    return [
        f"{findings.compared_on} hangs on few test examples, as if {least:.0f} carried all of its "
        f"spread: below {_ENOUGH} or so the interval of an arm promises more than it holds "
        "(differences of arms keep their level); a larger test split helps"
    ]


def _reasons(findings: Findings) -> list[str]:
    """Say why runs did not finish, the first reason for each arm and fate."""
    first: dict[tuple[str, str], str] = {}
    for arm in findings.all_arms:
        for run in arm.lost:
            if run.reason:
                first.setdefault((arm.name, str(run.status)), run.reason)
    told = [f"{name}: {status}: {reason}" for (name, status), reason in sorted(first.items())]
    more = len(told) - _REASONS
    if more > 0:
        told[_REASONS:] = [
            f"{counted(more, 'further reason')} {'is' if more == 1 else 'are'} in runs.csv"
        ]
    return told


def _over_budget(findings: Findings) -> list[str]:
    """Say which arms train more than they were asked to."""
    over = [arm for arm in findings.arms if arm.over_budget]
    shares = [f"{arm.name} trains {max(arm.arm.values('budget/near')):.0%} of it" for arm in over]
    if not over:
        return []
    return [
        f"not within the budget that was asked for: {listed(shares)}; what is gained over arms "
        "within it is no gain at an equal budget"
    ]


def _uneven(findings: Findings) -> list[str]:
    """Say where means are over different seeds, so that nobody reads them as over the same."""
    kinds: dict[tuple[Any, ...], list[str]] = {}
    for arm in findings.arms:
        replicates = tuple(run.replicate for run in arm.arm.runs)
        kinds.setdefault(replicates, []).append(arm.name)
    if len(kinds) < 2:
        return []
    return [
        "means are over each arm's own finished runs, which are not the same for all: "
        + "; ".join(
            f"{listed(names)}: {_written(replicates)}" for replicates, names in kinds.items()
        )
    ]


def _precisions(findings: Findings) -> list[str]:
    """Say where arms differ in their precision too, as of two machines: their names may not."""
    kinds: dict[str, list[str]] = {}
    for arm in findings.arms:
        told = listed(sorted({run.precision for run in arm.arm.runs} - {""}))
        kinds.setdefault(told, []).append(arm.name)
    kinds.pop("", None)
    if len(kinds) < 2:
        return []
    return [
        "arms were trained in unlike precisions, which is in their differences too: "
        + "; ".join(f"{listed(names)} in {told}" for told, names in kinds.items())
    ]


def _written(replicates: Sequence[Replicate]) -> str:
    if len(replicates) > _REPLICATES:
        return f"{len(replicates)} runs"
    return listed([str(one) for one in replicates], _REPLICATES)


def _fixed(findings: Findings) -> list[str]:
    """Say what was not drawn anew from run to run, so that its luck is in no interval."""
    several = [arm.arm.replicates for arm in findings.arms if len(arm.arm.runs) > 1]
    said = []
    for name, drawn in (("initialisation", "init"), ("order of batches", "order")):
        kinds = [{getattr(one, drawn) for one in replicates} for replicates in several]
        if kinds and all(len(kind) == 1 for kind in kinds):
            said.append(
                f"all runs of an arm share the {name}: what another one would change is in no "
                "interval and in no verdict"
            )
    return said


def _missing(runs: Sequence[Run]) -> list[str]:
    """Say which figures were not measured, and why."""
    why: dict[tuple[str, int], list[str]] = {}
    for name, reason in sorted({tag for run in runs for tag in run.tags.items()}):
        if name.startswith("missing.") and "in a pack of" not in reason:
            count = sum(run.tags.get(name) == reason for run in runs)
            why.setdefault((reason, count), []).append(name.removeprefix("missing."))
    return [
        f"not measured in {count} of {len(runs)} runs, {' and '.join(names)}: {reason}"
        for (reason, count), names in why.items()
    ]


def _family(findings: Findings) -> str:
    """Say which comparisons count, and at which level they hold together."""
    family = findings.family
    if family is None or family.pairs is None:
        return ""
    pairs = "all pairs" if family.control is None else f"with {family.control} as planned,"
    return f", {pairs} at {100 * family.level:.3g}% together"


def _margin(findings: Findings) -> str:
    return gap(findings.margin, findings.compared_on)


def facts(findings: Findings) -> list[tuple[str, str]]:
    """Return the circumstances, as names and values."""
    runs = findings.runs
    wanted = {
        "data set": "dataset",
        "model": "model",
        "base": "base",
        "precision": "precision",
        "processor": "hardware.cpu",
        "instructions": "hardware.cpu_capability",
        "GPU": "hardware.accelerator",
        "threads": "hardware.threads",
        "torch": "hardware.torch",
        "Lightning": "hardware.lightning",
        "transformers": "version.transformers",
        "Python": "hardware.python",
        "commit": "git_commit",
    }
    found = []
    for name, tag in wanted.items():
        values: Sequence[str] = sorted({run.tags[tag] for run in runs if tag in run.tags})
        if values:
            found.append((name, ", ".join(values)))
    return found
