"""What a reader of a report must know beside its figures."""

from collections.abc import Sequence

from adapterlab.reporting.findings import Findings
from adapterlab.reporting.study import Run
from adapterlab.reporting.words import counted, percent


def about(findings: Findings) -> str:
    """Return in a line what was compared."""
    runs = findings.runs
    models = "/".join(dict.fromkeys(run.tags.get("model", "?") for run in runs))
    datasets = "/".join(dict.fromkeys(run.tags.get("dataset", "?") for run in runs))
    of = f"{counted(len(findings.arms), 'arm')}, {counted(len(runs), 'run')}"
    reference = findings.reference.name
    why = "as asked" if findings.chosen else f"best {findings.selected_on} on validation"
    return f"{models} on {datasets}: {of}. Reference: {reference} ({why})."


def notes(findings: Findings) -> list[str]:
    """Return what a reader of the tables must know."""
    arms = findings.arms
    runs = findings.runs
    said = []
    if all(len(arm.arm.runs) == 1 for arm in arms):
        said.append("one seed an arm says nothing about the spread between seeds")
    if not findings.chosen and len(arms) > 1:
        said.append(
            "the reference was chosen on validation, which the test split has no part in; "
            "validation figures of a chosen arm flatter it"
        )
    said += _on_rates(findings)
    before = {value for arm in arms for value in arm.arm.values("source/accuracy_before")}
    if before:
        said.append(
            f"the base had {', '.join(sorted({percent(value) for value in before}))} on the source "
            "task before"
        )
    if any(arm.figure("cost/lane_seconds") for arm in arms):
        said.append(
            "seconds in a pack are a run's share of the time of runs that were trained together; "
            "they do not compare with those of runs alone"
        )
    if len({run.tags.get("hardware.id") for run in runs}) > 1:
        said.append("seconds come from different hardware and do not compare")
    said += _missing(runs)
    said += findings.gaps
    said += sorted({note for run in runs if (note := run.tags.get("data_notes"))})
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


def _on_rates(findings: Findings) -> list[str]:
    """Say how learning rates were chosen: it decides what a comparison is worth."""
    runs = findings.runs
    tuned = [run for run in runs if "tuned.study" in run.tags]
    if len(tuned) == len(runs):
        studies = "/".join(dict.fromkeys(run.tags["tuned.study"] for run in runs))
        trials = "/".join(dict.fromkeys(run.tags.get("tuned.trials", "?") for run in runs))
        chosen = (f"{arm.name} {arm.param('optimizer.lr')}" for arm in findings.arms)
        return [
            f"learning rates were tuned on validation in study {studies}, {trials} trials an arm: "
            + ", ".join(chosen)
        ]
    rates = {run.params.get("optimizer.lr") for run in runs}
    strategies = {arm.strategy for arm in findings.arms}
    if len(rates) == 1 and len(strategies) > 1:
        return [
            f"all strategies share one learning rate, {rates.pop()}: tuned for each, they might "
            "rank otherwise (experiment=compare tunes)"
        ]
    return []


def facts(findings: Findings) -> list[tuple[str, str]]:
    """Return the circumstances, as names and values."""
    runs = findings.runs
    wanted = {
        "data set": "dataset",
        "model": "model",
        "base": "base",
        "precision": "precision",
        "processor": "hardware.cpu",
        "GPU": "hardware.gpu",
        "threads": "hardware.threads",
        "torch": "hardware.torch",
        "Lightning": "hardware.lightning",
        "Python": "hardware.python",
        "commit": "git_commit",
    }
    found = []
    for name, tag in wanted.items():
        values: Sequence[str] = sorted({run.tags[tag] for run in runs if tag in run.tags})
        if values:
            found.append((name, ", ".join(values)))
    return found
