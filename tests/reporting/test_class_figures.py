"""Classes, confusions and calibration: what the answers of a study look like."""

from dataclasses import replace

import numpy as np
import pytest
from figure_cases import REFERENCE, drawn, many, marks, texts
from synthetic import Made, study
from test_pictures import assert_whole_and_apart

from adapterlab.evidence.calibration import reliability
from adapterlab.reporting.figures.classes import (
    _title,
    calibration_figure,
    classes_figure,
    confusion_figure,
)


def test_classes_stand_with_the_hardest_on_the_left() -> None:
    findings = study(Made("full", 0.9), Made("head", 0.7))
    figure = drawn(classes_figure(findings))
    (axes,) = figure.axes
    assert axes.get_xticklabels()[0].get_text() == "frog"
    assert figure.get_suptitle() == "frog is the hardest class for 2 of 2 arms"
    names = ["frog", "cat", "dog"]
    for shares, said in (
        ([[0.7, 0.5, 0.5], [1, 1, 0], [1, 1, 0]], "frog is among the hardest classes for 3"),
        ([[0.7, 0.5, 0.5], [1, 1, 0], [0, 0, 0]], "frog is among the hardest classes for 2"),
        ([[0.7, 0.5, 0.5], [0, 1, 0.9], [0, 0, 0]], "frog is the hardest class for 1"),
    ):
        assert _title(np.array(shares), names, 2.5).startswith(f"{said} of 3 arms")
    shares = [arm.answers.wrong_by_class()[2] for arm in findings.arms if arm.answers]
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert [numbers[0, row] for row in (0, 1)] == [f"{100 * share:.0f}%" for share in shares]
    assert len(numbers) == 6


def test_a_study_without_mistakes_has_no_hardest_class() -> None:
    figure = drawn(classes_figure(study(Made("full", 1.0, spread=0))))
    assert figure.get_suptitle() == "no class has a mistake"


def test_classes_and_arms_beyond_thirty_are_counted() -> None:
    figure = drawn(classes_figure(many(40, 1, "lora rank={i}", 45)))
    (mapped,) = figure.axes[0].collections
    assert mapped.get_array().shape == (30, 30)
    notes = texts(figure)
    assert {
        "Not drawn: 15 classes with fewer mistakes.",
        "Not drawn: the 10 least accurate arms.",
    } <= {*notes}


@pytest.mark.parametrize(("arms", "panels"), [(1, 1), (4, 4), (9, 6)])
def test_confusion_is_drawn_for_the_reference_and_five_more(arms: int, panels: int) -> None:
    made = [Made(f"lora rank={i}", 0.5 + 0.04 * i, validation=0.9 - 0.1 * i) for i in range(arms)]
    findings = study(*made)
    figure = drawn(confusion_figure(findings))
    drawn_panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(drawn_panels) == panels
    assert drawn_panels[0].get_title() == (f"{REFERENCE} " if arms > 1 else "") + "lora rank=0"
    answers = findings.reference.answers
    assert answers is not None
    counts = answers.confusion()
    (mapped,) = drawn_panels[0].collections
    np.testing.assert_allclose(mapped.get_array(), counts / counts.sum(axis=1, keepdims=True))


def test_a_class_without_examples_is_no_class_that_is_always_wrong() -> None:
    findings = study(Made("full", 0.9), classes=("cat", "dog", "frog", "newt"), examples=3)
    (mapped,) = drawn(confusion_figure(findings)).axes[0].collections
    assert np.ma.getmaskarray(mapped.get_array())[3].all()
    axes = drawn(classes_figure(findings)).axes[0]
    assert "newt" not in [label.get_text() for label in axes.get_xticklabels()]


def test_reliability_is_that_of_all_seeds() -> None:
    findings = study(Made("full", 0.8, metrics={"test/ece": (0.02, 0.03, 0.04)}))
    above, strip = drawn(calibration_figure(findings)).axes
    answers = findings.arms[0].answers
    assert answers is not None
    bins = reliability(answers.confidence.ravel(), answers.correct.ravel(), bins=15)
    points = [(one.confidence, one.accuracy) for one in bins if one.count]
    assert sorted(marks(above, 4)) == [(round(x, 6), round(y, 6)) for x, y in points]
    hollow = [line for line in above.lines if line.get_markerfacecolor() == "#FFFFFF"]
    few = [one for one in bins if 0 < one.count < 20]
    assert sum(len(line.get_xdata()) for line in hollow) == len(few)
    heights = [bar.get_height() for bar in strip.patches]
    np.testing.assert_allclose(heights, [one.count / 900 for one in bins])
    assert "900 answers (3 seeds, 300 examples)" in " ".join(texts(above.figure))
    # t(0.975, 2) = 4.3027; 0.01 / sqrt(3) = 0.0057735.
    assert [text.get_text() for text in above.texts] == ["ECE 3.0 ± 2.5"]


@pytest.mark.parametrize("arms", [1, 2, 4, 6])
def test_panels_of_calibration_are_alike_and_in_line(arms: int) -> None:
    names = ["lora", "W" * 40, "head", "full", "dora", "bitfit"][:arms]
    metrics = {"test/ece": 0.02}
    findings = study(*(Made(name, 0.9 - 0.1 * i, metrics=metrics) for i, name in enumerate(names)))
    figure = drawn(calibration_figure(findings))
    panels, strips = figure.axes[::2], figure.axes[1::2]
    assert len(panels) == arms
    size = figure.get_size_inches()
    for group in (panels, strips):
        boxes = np.array([axes.get_position().bounds for axes in group]) * [*size, *size]
        np.testing.assert_allclose(boxes[:, 2:], boxes[:1, 2:].repeat(arms, axis=0))
        assert len({axes.get_xlim() + axes.get_ylim() for axes in group}) == 1
        columns = min(arms, 3)
        assert len(set(boxes[:, 0].round(6))) == columns
        assert len(set(boxes[:, 1].round(6))) == -(-arms // columns)
    width, height = panels[0].get_position().size * size
    assert width == pytest.approx(height)
    assert_whole_and_apart(figure)


@pytest.mark.parametrize("names", [("dog", "cat", "frog"), ("cat", "dog", "frog", "newt")])
def test_arms_of_other_classes_are_not_drawn_under_the_names_of_these(
    names: tuple[str, ...],
) -> None:
    found = study(Made("full", 0.9), Made("lora", 0.8))
    answers = found.arms[1].answers
    assert answers is not None
    other = replace(found.arms[1], answers=replace(answers, classes=names))
    found = replace(found, arms=(found.arms[0], other))
    said = "Not drawn: 1 arm has other classes, or another order of them."
    for draw in (classes_figure, confusion_figure):
        figure = drawn(draw(found))
        assert said in texts(figure)
        assert "lora" not in texts(figure)
