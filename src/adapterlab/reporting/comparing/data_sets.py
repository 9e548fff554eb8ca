"""A study of one or several data sets: each is compared by itself."""

from collections.abc import Sequence
from dataclasses import replace

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.reporting.comparing.compare import find, why_not
from adapterlab.reporting.findings import Findings, Question
from adapterlab.reporting.reading.reference import find_arm
from adapterlab.reporting.reading.study import Arm


def find_all(
    study: str, arms: Sequence[Arm], question: Question
) -> tuple[tuple[Findings, ...], list[str]]:
    """Compare the arms of every data set among themselves.

    Accuracies on two data sets say nothing about which arm is better, so they are never compared.

    Args:
        study: its name.
        arms: all of them, at least one.
        question: what is compared, and how; a reference needs to be an arm of one data set.

    Returns:
        What was found on each data set with a finished run, the one with most arms first; and of
        the others, why nothing was.

    Raises:
        ConfigError: the reference is none of the arms, or the metric is none.
        AdapterLabError: no run of the study has finished.
    """
    by_task: dict[str, list[Arm]] = {}
    for arm in arms:
        by_task.setdefault(arm.first.dataset, []).append(arm)
    asked = {task: _asked(own, question) for task, own in by_task.items()}
    if len(by_task) > 1:
        by_task = {task: _shortened(own) for task, own in by_task.items()}
    if question.reference is not None and not any(one.reference for one in asked.values()):
        find_arm(arms, question.reference)  # says that it is none
    found, gaps = [], []
    for task, own in by_task.items():
        if not any(arm.runs for arm in own):
            gaps.append(f"{task or 'runs without a data set'}: no run has finished: {why_not(own)}")
        else:
            found.append(find(study, own, asked[task]))
    if not found:
        raise AdapterLabError(f"study={study}: {'; '.join(gaps)}")
    return tuple(sorted(found, key=lambda one: -len(one.arms))), gaps


def _shortened(arms: Sequence[Arm]) -> list[Arm]:
    """Leave out of the names what all arms of a data set share, which tells data sets apart."""
    short = [arm.method or arm.name for arm in arms]
    if len(set(short)) < len(short):
        return list(arms)
    return [replace(arm, name=name) for arm, name in zip(arms, short, strict=True)]


def _asked(arms: Sequence[Arm], question: Question) -> Question:
    """Return the question for one data set, which may not have the arm that was named."""
    if question.reference is None:
        return question
    try:
        find_arm(arms, question.reference)
    except ConfigError:
        return replace(question, reference=None, planned=False)
    return question
