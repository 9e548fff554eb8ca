"""Accuracy and forgetting: what stands on these figures of a study's arms."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from figure_cases import REFERENCE, drawn, marks, texts
from matplotlib.axes import Axes
from synthetic import Made, study
from test_pictures import assert_whole_and_apart

from adapterlab.reporting.figures.arms import accuracy_figure, forgetting_figure
from adapterlab.reporting.figures.study import FIGURES
from adapterlab.reporting.reading.study import Replicate, Status

# Accuracy


def test_accuracy_ranks_arms_and_says_what_each_comparison_came_to() -> None:
    findings = study(
        Made("head", 0.6), Made("full", 0.9, validation=0.95), Made("lora", 0.92, validation=0.9)
    )
    figure = accuracy_figure(findings)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lora", "full", "head"]
    assert axes.yaxis_inverted()
    means = [(round(arm.accuracy.mean, 6), y) for y, arm in enumerate(findings.arms)]
    starred = [y for y, arm in enumerate(findings.arms) if arm.may_be_best]
    assert starred
    plain = marks(axes, 8)
    assert plain == [mean for y, mean in enumerate(means) if y not in starred]
    seeds = [x for x, _ in marks(axes, 4.6)]
    assert seeds == [round(s, 6) for arm in findings.arms for s in arm.accuracy.values]
    bars = [tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 2.2]
    assert bars == [(arm.accuracy.interval.low, arm.accuracy.interval.high)
                    for arm in findings.arms if arm.accuracy.interval]  # fmt: skip
    assert beside(axes) == {
        0: ["92.0%", "a", "undecided"],
        1: ["90.0%", "a", "reference"],
        2: ["60.0%", "b", "worse"],
    }
    stars = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "*"]
    assert stars == starred


def beside(axes: Axes) -> dict[int, list[str]]:
    """What stands at the right of each arm, from left to right."""
    said: dict[int, list[str]] = {}
    for text in sorted(axes.texts, key=lambda text: text.xyann[0]):
        said.setdefault(round(text.xy[1]), []).append(text.get_text())
    return said


def test_one_seed_has_a_bar_over_examples_and_a_note() -> None:
    figure = accuracy_figure(study(Made("full", seeds=1), Made("head", seeds=1)))
    assert any("the spread between seeds is not known" in text for text in texts(figure))
    assert len([line for line in figure.axes[0].lines if line.get_linewidth() == 2.2]) == 2
    assert "too few seeds" in texts(figure)
    bars = "the one seed, 95% interval by its test examples"
    assert bars in texts(figure)
    bare = [Made(name, seeds=1, tested=False) for name in ("full", "head")]
    assert bars not in texts(accuracy_figure(study(*bare)))


@pytest.mark.parametrize("seeds", [2, 5, 20])
def test_equal_seeds_are_as_many_marks(seeds: int) -> None:
    findings = study(Made("full", 0.9, seeds, spread=0), Made("head", 0.8, 3, spread=0.05))
    figure = accuracy_figure(findings)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (equal,) = [line for line in axes.lines
                if line.get_markersize() == 4.6 and len(line.get_xdata()) == seeds]  # fmt: skip
    assert set(equal.get_xdata()) == {0.9}
    at = axes.transData.transform(equal.get_xydata())[:, 1]
    apart = -np.diff(np.sort(at)[::-1]) * 72 / figure.dpi
    assert apart.min() > 1  # point: more than the white edge that each mark has
    # Between the mean's mark and that of the arm below.
    means = [axes.transData.transform((0.9, y))[1] for y in (0, 1)]
    assert means[0] - at.max() > 4 * figure.dpi / 72
    assert at.min() - means[1] > 4 * figure.dpi / 72


def test_seeds_that_are_apart_share_a_line() -> None:
    (axes,) = accuracy_figure(study(Made("full", 0.8, 5, spread=0.1))).axes
    assert len({y for _, y in marks(axes, 4.6)}) == 1


def test_letters_the_set_of_the_best_and_lost_runs_are_said_where_they_are_known() -> None:
    findings = study(Made("full", 0.9), Made("lora", 0.89), Made("head", 0.6))
    full, lora, head = findings.arms
    for arm, letters, best in ((full, "a", True), (lora, "ab", True), (head, "b", False)):
        object.__setattr__(arm, "letters", letters)
        object.__setattr__(arm, "may_be_best", best)
    run = lora.arm.runs[0]
    object.__setattr__(lora.arm, "lost", (replace(run, status=Status.FAILED),))
    object.__setattr__(lora.arm, "missing", (Replicate(4, 4),))
    figure = accuracy_figure(findings)
    (axes,) = figure.axes
    assert beside(axes) == {
        0: ["90.0%", "a", "reference"],
        1: ["89.0%", "ab", "undecided, 3 of 5 runs"],
        2: ["60.0%", "b", "worse"],
    }
    stars = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "*"]
    assert stars == [0, 1]
    assert {"may be best", "Arms that share a letter are not told apart."} <= {*texts(figure)}
    assert_whole_and_apart(figure)


def test_a_study_in_which_nothing_is_compared_says_so() -> None:
    findings = study(Made("full", 0.9, 1, tested=False), Made("lora", 0.8, 1, tested=False))
    bare = [replace(arm, comparison=None) for arm in findings.arms]
    findings = replace(findings, arms=tuple(bare), reference=bare[0])
    for _, _, draw in FIGURES.values():
        draw(findings)
    (axes,) = accuracy_figure(findings).axes
    assert beside(axes) == {0: ["90.0%", "reference"], 1: ["80.0%", "not compared"]}


# Forgetting


def test_what_was_forgotten_is_in_points_beside_what_was_learned() -> None:
    after = {"source/accuracy_before": 0.9, "source/accuracy_after": (0.7, 0.8, 0.75)}
    findings = study(
        Made("full", 0.9, metrics={**after, "target/accuracy_before": 0.1}),
        Made("lora", 0.8, metrics={**after, "source/accuracy_after": 0.9}),
        Made("dora", 0.7),
    )
    figure = drawn(forgetting_figure(findings))
    (axes,) = figure.axes
    assert marks(axes, 8) == [(15, 0.9), (0, 0.8)]
    assert not [line for line in axes.lines if line.get_linestyle() == ":"]
    far = "Target accuracy before adaptation (zero-shot): 10.0%, below what is drawn."
    assert far in texts(figure)
    # 15 ± 4.3027 · 5 / sqrt(3).
    spans = [tuple(line.get_xdata()) for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert any(span == pytest.approx((2.579, 27.421), abs=1e-3) for span in spans)
    below = texts(figure)
    assert {f"1  {REFERENCE} full", "2  lora"} <= {*below}
    assert "1 of 3 arms: not measured on the source task." in below
    assert forgetting_figure(study(Made("full"))) is None


def forgot(name: str, accuracy: float, lost: Sequence[float], **more: float) -> Made:
    after = [0.9 - one for one in lost]
    metrics = {"source/accuracy_before": 0.9, "source/accuracy_after": after, **more}
    return Made(name, accuracy, len(lost), spread=0.002, metrics=metrics)


def test_forgetting_uses_the_range_that_its_marks_need() -> None:
    findings = study(
        forgot("full", 0.90, (0.30, 0.31), **{"target/accuracy_before": 0.1}),
        forgot("lora", 0.88, (0.34, 0.33), **{"target/accuracy_before": 0.1}),
    )
    figure = drawn(forgetting_figure(findings))
    (axes,) = figure.axes
    points = np.array(marks(axes, 8))
    for (low, high), column in ((axes.get_xlim(), 0), (axes.get_ylim(), 1)):
        spread = np.ptp(points[:, column])
        assert low < points[:, column].min()
        assert high > points[:, column].max()
        assert high - low < 4 * spread
    # Intervals of two seeds are 12.7 standard errors wide at each side.
    assert "Bars that reach the edge go on beyond it." in texts(figure)


def test_forgetting_draws_what_is_near_its_marks() -> None:
    near = study(
        forgot("full", 0.50, (0.0, 0.01, 0.02), **{"target/accuracy_before": 0.42}),
        forgot("lora", 0.45, (0.03, 0.04, 0.05), **{"target/accuracy_before": 0.44}),
    )
    figure = drawn(forgetting_figure(near))
    (axes,) = figure.axes
    (zero_shot,) = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert zero_shot.get_ydata() == pytest.approx([0.43, 0.43])
    assert "target accuracy before adaptation (zero-shot)" in texts(figure)
    nothing_lost = [line for line in axes.lines if list(line.get_xdata()) == [0, 0]]
    assert len(nothing_lost) == 1


def test_forgetting_of_one_seed_is_a_mark_in_the_middle() -> None:
    figure = drawn(forgetting_figure(study(forgot("full", 0.5, (0.1,)))))
    (axes,) = figure.axes
    assert np.mean(axes.get_xlim()) == pytest.approx(10)
    assert np.mean(axes.get_ylim()) == pytest.approx(0.5)
