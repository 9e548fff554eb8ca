"""Scores that hang on few answers, and those of classes that no run answers."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import Made, study

from adapterlab.reporting.findings import Findings
from adapterlab.reporting.sentences.notes import notes

CLASSES = ("cat", "dog", "frog")


def mute(findings: Findings, arm: str, said: dict[int, str]) -> Findings:
    """Have runs of an arm, by their number, answer another class instead of one."""
    arms = []
    for one in findings.arms:
        if one.name == arm:
            assert one.answers is not None
            predicted = one.answers.predicted.copy()
            for run, name in said.items():
                label = CLASSES.index(name)
                predicted[run][predicted[run] == label] = (label + 1) % 3
            one = replace(one, answers=replace(one.answers, predicted=predicted))
        arms.append(one)
    return replace(findings, arms=tuple(arms))


def of(findings: Findings, metric: str) -> list[str]:
    said = notes(replace(findings, compared_on=metric))
    return [note for note in said if "hangs on" in note or "never answer" in note]


@pytest.fixture
def findings() -> Findings:
    """Arms that are right of 70 examples of each class, and wrong of 30."""
    made = study(Made("full", 0.8), Made("head", 0.8), classes=CLASSES, examples=300)
    arms = []
    for one in made.arms:
        assert one.answers is not None
        labels = one.answers.labels
        said = np.where(np.arange(300) < 210, labels, (labels + 1) % 3)
        arms.append(replace(one, answers=replace(one.answers, predicted=np.stack([said] * 3))))
    return replace(made, arms=tuple(arms))


def test_a_class_that_is_never_answered_wants_no_larger_test_split(findings: Findings) -> None:
    all_mute = mute(findings, "head", dict.fromkeys(range(3), "frog"))
    for metric in ("macro_f1", "balanced_accuracy", "f1/frog"):
        assert of(findings, metric) == []
        (said,) = of(all_mute, metric)
        assert said.startswith(f"head never answers 'frog': {metric} counts that as 0, and a")
        assert "larger test split changes nothing" in said
    for metric in ("accuracy", "mcc", "auroc", "f1/cat", "nll"):
        assert of(all_mute, metric) == []


def test_of_some_runs_and_several_arms_it_says_which(findings: Findings) -> None:
    two = mute(findings, "head", {0: "frog", 2: "frog"})
    (said,) = of(two, "macro_f1")
    assert said.startswith("head never answers 'frog' in 2 of 3 runs: ")
    both = mute(mute(two, "full", {0: "cat", 1: "cat", 2: "cat"}), "head", {1: "frog"})
    (said,) = of(both, "macro_f1")
    assert "full never answers 'cat'" in said
    assert "head never answers 'frog'" in said
    alike = mute(mute(findings, "full", {0: "cat"}), "head", {1: "cat"})
    (said,) = of(alike, "macro_f1")
    assert said.startswith("full and head never answer 'cat' in 1 of 3 runs: ")


def test_other_classes_may_hang_on_few_answers_beside_it() -> None:
    few = study(Made("full", 0.8), Made("head", 0.8), classes=CLASSES, examples=30)
    never, hangs = of(mute(few, "head", dict.fromkeys(range(3), "frog")), "macro_f1")
    assert never.startswith("head never answers 'frog'")
    assert hangs.startswith("macro_f1 hangs on ")
    assert "a larger test split helps" in hangs
