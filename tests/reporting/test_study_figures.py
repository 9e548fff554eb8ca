"""What stands on the figures of a study, for one arm or many, and that all of it can be read."""

import io
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from synthetic import Made, study
from test_pictures import assert_whole_and_apart, written

from adapterlab.drawing.canvas import save
from adapterlab.drawing.figures import VERMILION
from adapterlab.evidence.calibration import reliability
from adapterlab.reporting.arm_figures import accuracy_figure, curves_figure
from adapterlab.reporting.class_figures import (
    calibration_figure,
    classes_figure,
    confusion_figure,
)
from adapterlab.reporting.cost_figures import pareto_figure
from adapterlab.reporting.figure_layout import fitted, short_names
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.rank_figures import rank_alpha_figure
from adapterlab.reporting.study_figures import FIGURES, narrow_figure

REFERENCE = "\N{BLACK DIAMOND}"
STRATEGIES = ("full", "head", "lora", "dora", "bitfit", "last_layers")


def costs(step: float, *, packed: bool = False) -> dict[str, float]:
    time = "cost/lane_seconds" if packed else "cost/train_seconds"
    memory = "cost/pack_peak_memory_mib" if packed else "cost/peak_memory_mib"
    return {
        "params/trainable": 1000 * 2**step,
        "cost/adapter_bytes": 4096 * 2**step,
        time: 3 + step,
        memory: 800 + step,
        "source/accuracy_before": 0.9,
        "source/accuracy_after": 0.9 - 0.02 * step,
        "test/ece": 0.02,
    }


def many(n: int, seeds: int, name: str, classes: int) -> Findings:
    made = [
        Made(
            name.format(strategy=STRATEGIES[i % 6], i=i),
            0.6 + 0.3 * i / n,
            seeds,
            params={"adapter.rank": str(2 ** (i % 4)), "adapter.alpha": str(1 + i // 4)},
            metrics=costs(10 * i / n, packed=n > 20),
        )
        for i in range(n)
    ]
    return study(*made, classes=[f"some class {i}" for i in range(classes)])


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest) -> Findings:
    return many(*request.param)


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def texts(figure: Figure | None) -> list[str]:
    return [text for text, _ in written(drawn(figure))]


def marks(axes: Axes, size: float) -> list[tuple[float, float]]:
    """All (x, y) of marks of a size."""
    lines = [
        line.get_xydata()
        for line in axes.lines
        if line.get_markersize() == size and line.get_marker() not in ("", "None")
    ]
    return [(round(float(x), 6), round(float(y), 6)) for x, y in np.concatenate(lines)]


# All of them


@pytest.mark.parametrize(
    "findings",
    [
        (1, 1, "{strategy}", 3),
        (2, 2, "{strategy} $x_{i}$", 30),
        (12, 3, "{strategy} " + "a long option=0.001 " * 5 + "{i}", 12),
        (12, 3, "lora " + "W" * 60 + "{i}", 2),
        (40, 3, "{strategy} alpha={i} rank=8", 40),
    ],
    ids=["one arm", "two arms", "long names", "wide names", "forty arms"],
    indirect=True,
)
@pytest.mark.parametrize("stem", FIGURES)
def test_texts_are_whole_and_apart(stem: str, findings: Findings) -> None:
    figure = FIGURES[stem][2](findings)
    few = len(findings.arms) < 3
    if figure is None:
        assert stem == "rank_alpha" if few else stem in ("rank_alpha", "confusion")
        return
    assert_whole_and_apart(figure)
    assert figure.get_size_inches()[0] <= 8.5
    assert min(text.get_fontsize() for text in figure.findobj(mpl.text.Text)) >= 9


@pytest.mark.parametrize(
    "findings",
    [
        (1, 1, "{strategy}", 3),
        (12, 5, "{strategy} " + "a long option=0.001 " * 5 + "{i}", 12),
        (33, 3, "{strategy} $x$ alpha={i} rank=8", 5),
    ],
    ids=["one arm", "long names", "33 arms"],
    indirect=True,
)
@pytest.mark.parametrize("stem", sorted({*FIGURES} - {"rank_alpha"}))
def test_figures_for_a_phone_are_narrow_and_whole(stem: str, findings: Findings) -> None:
    wide = drawn(FIGURES[stem][2](findings)).get_size_inches()[0]
    figure = narrow_figure(stem, findings)
    assert drawn(FIGURES[stem][2](findings)).get_size_inches()[0] == wide >= 4.1
    if stem == "confusion" and len(findings.arms) == 12:
        assert figure is None  # 12 classes, whose numbers have no room
        return
    assert drawn(figure).get_size_inches()[0] <= 4.1 + 1e-9
    assert_whole_and_apart(drawn(figure))
    assert min(text.get_fontsize() for text in drawn(figure).findobj(mpl.text.Text)) >= 9


def test_ten_classes_have_a_confusion_on_a_phone() -> None:
    names = ("ankle boot", "T-shirt/top", "$5", *(f"some class {i}" for i in range(7)))
    figure = drawn(narrow_figure("confusion", study(*map(Made, STRATEGIES), classes=names)))
    assert len([axes for axes in figure.axes if axes.get_title()]) == 3
    assert_whole_and_apart(figure)
    assert drawn(narrow_figure("classes", study(Made("full"), classes=names)))


def test_names_that_are_cut_alike_are_told_apart() -> None:
    arms = study(*(Made(f"lora {'a' * 50}{i}{'b' * 50}") for i in range(3))).arms
    short = short_names(arms, 1.5)
    assert len(set(short.values())) == 3
    assert fitted("lora rank=8", 1.5) == "lora rank=8"
    assert re.fullmatch(r"lor.* \.\.\. .*end", fitted("lora " + "a" * 80 + "end", 1.5))


def test_names_are_texts_of_the_svg() -> None:
    findings = study(Made("lora $5 <a>", 0.9), Made("head", 0.7))
    with mpl.rc_context({"svg.fonttype": "none"}):
        page = io.StringIO()
        drawn(accuracy_figure(findings)).savefig(page, format="svg")
    assert "lora $5 &lt;a&gt;" in page.getvalue()
    assert "70.0%</text>" in page.getvalue()
    assert "worse</text>" in page.getvalue()


def test_a_study_that_kept_nothing_draws_accuracy_only(tmp_path: Path) -> None:
    bare = study(Made("full", 0.9, tested=False, epochs=0), Made("head", tested=False, epochs=0))
    kept = [stem for stem, (_, _, draw) in FIGURES.items() if draw(bare) is not None]
    assert kept == ["accuracy"]
    save(drawn(FIGURES["accuracy"][2](bare)), tmp_path / "accuracy.png")
    assert list(FIGURES) == [
        *("accuracy", "curves", "rank_alpha", "pareto"),
        *("classes", "confusion", "calibration", "forgetting"),
    ]


# Curves


def test_curves_are_means_over_seeds_and_end_where_a_seed_stopped() -> None:
    findings = study(Made("full", 0.9, epochs=(2, 4, 3)))
    loss, accuracy = drawn(curves_figure(findings)).axes
    (line,) = accuracy.lines
    expected = findings.arms[0].curves["val/accuracy"].values.mean(axis=0)
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert np.isfinite(line.get_ydata()).tolist() == [True, True, False, False]
    (band,) = accuracy.collections
    assert band.get_paths()[0].get_extents().x1 == 4
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == (
        "training loss (nats)",
        "validation accuracy",
    )


def test_eight_arms_have_a_colour_and_the_reference_is_one_of_them() -> None:
    arms = [Made(f"lora rank={i}", 0.5 + 0.03 * i, validation=0.9 - 0.03 * i) for i in range(12)]
    figure = drawn(curves_figure(study(*arms, selected_on="macro_f1")))
    (key,) = figure.legends
    named = [text.get_text() for text in key.get_texts()]
    assert named[0] == f"{REFERENCE} lora rank=0"
    assert named[1:] == [*(f"lora rank={i}" for i in range(11, 4, -1)), "4 other arms"]
    assert figure.axes[1].get_ylabel() == "validation macro F1"
    assert len(figure.axes[1].lines) == 12
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[1].lines}
    assert len(styles) == 9


# Rank and alpha


def ranked(strategy: str, rank: float, alpha: float, accuracy: float, **more: object) -> Made:
    params = {"adapter.rank": str(rank), "adapter.alpha": str(alpha)}
    params |= more.pop("params", {})  # type: ignore[call-overload]
    name = " ".join([strategy, *(f"{key}={value}" for key, value in params.items())])
    return Made(name, accuracy, params=params, **more)


def test_the_best_cell_on_validation_is_outlined_and_those_that_differ_are_marked() -> None:
    findings = study(
        ranked("lora", 1, 8, 0.60),
        ranked("lora", 4, 8, 0.90, validation=0.99),
        ranked("lora", 1, 16, 0.61),
        ranked("lora", 4, 16, 0.91),
        Made("full", 0.95),
    )
    figure = drawn(rank_alpha_figure(findings))
    (axes,) = figure.axes
    cells = {text.get_position(): text.get_text().split("\n")[0] for text in axes.texts}
    assert cells == {(0, 0): "60.0%*", (1, 0): "90.0%", (0, 1): "61.0%*", (1, 1): "91.0%"}
    (outline,) = axes.patches
    assert (outline.get_xy(), outline.get_edgecolor()) == (
        (0.5, -0.5),
        mpl.colors.to_rgba(VERMILION),
    )
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["8", "16"]
    (best,) = [arm for arm in findings.arms if arm.selection.mean > 0.98]
    assert best.accuracy.interval is not None
    halves = {text.get_position(): text.get_text().split("±")[1] for text in axes.texts}
    assert halves[1, 0] == f"{100 * best.accuracy.interval.half_width:.1f}"
    assert "differs from the best cell" in texts(figure)


@pytest.mark.parametrize(
    ("arms", "titles"),
    [
        # By one line where only the rank varies, or alpha with it.
        ([ranked("lora", r, 2 * r, 0.5 + r / 100) for r in (1, 4, 16)], [""]),
        ([ranked("lora", 8, a, 0.5 + a / 100) for a in (1, 4, 16)], [""]),
        ([ranked("lora", r, 8, 0.8) for r in (1, 4)], None),
        ([ranked("lora", r, r, 0.8) for r in (1, 4)], None),
        ([Made("head"), Made("full")], None),
        # Two strategies: a map and a line.
        (
            [
                *(ranked("lora", r, a, 0.8) for r in (1, 4) for a in (8, 16)),
                *(ranked("dora", r, 8, 0.7) for r in (1, 4, 8)),
            ],
            ["lora", ""],
        ),
        # Cells with several arms: a map for each combination of what tells these apart.
        (
            [
                ranked("lora", r, a, 0.8, params={"optimizer.lr": lr, "seed": lr})
                for r in (1, 4)
                for a in (8, 16)
                for lr in ("0.1", "0.2")
            ],
            ["lora optimizer.lr=0.1", "lora optimizer.lr=0.2"],
        ),
        (
            [
                ranked("lora", r, a, 0.8, params={"optimizer.lr": str(lr)})
                for r in (1, 4)
                for a in (8, 16)
                for lr in range(5)
            ],
            None,
        ),
        # What was tuned for each cell takes it into no map of its own.
        (
            [
                ranked("lora", r, a, 0.8, params={"optimizer.lr": str(r * a)})
                for r in (1, 4)
                for a in (8, 16)
            ],
            ["lora"],
        ),
    ],
    ids=["diagonal", "alpha", "two ranks", "two cells", "no rank", "both", "lr", "five", "tuned"],
)
def test_panels_of_rank_and_alpha(arms: list[Made], titles: list[str] | None) -> None:
    figure = rank_alpha_figure(study(*arms))
    if titles is None:
        assert figure is None
        return
    panels = [axes for axes in drawn(figure).axes if axes.get_visible()]
    assert sorted(axes.get_title(loc="left") for axes in panels) == sorted(titles)
    for axes in panels:
        if not axes.get_title(loc="left"):
            assert axes.get_xscale() == "log"
            assert len(axes.get_xticks()) == 3
    assert_whole_and_apart(drawn(figure))


# Costs


def numbered(axes: Axes) -> dict[str, tuple[float, float]]:
    return {text.get_text(): (text.xy[0], round(text.xy[1], 6)) for text in axes.texts}


def test_only_arms_on_a_front_are_numbered_and_a_line_joins_them() -> None:
    findings = study(
        Made("full", 0.9, metrics=costs(4)),
        Made("lora", 0.8, metrics=costs(1)),
        Made("head", 0.7, metrics=costs(2)),
        Made("frozen", 0.3, metrics={**costs(0), "params/trainable": 0}),
    )
    figure = drawn(pareto_figure(findings))
    trainable, size, time, memory = figure.axes
    assert numbered(trainable) == {"1": (16000, 0.9), "2": (2000, 0.8), "4": (500, 0.3)}
    assert numbered(time) == {"1": (7, 0.9), "2": (4, 0.8), "4": (3, 0.3)}
    (front,) = [line for line in time.lines if line.get_drawstyle() == "steps-post"]
    np.testing.assert_allclose(front.get_xydata(), [[3, 0.3], [4, 0.8], [7, 0.9]])
    # Nothing is trained: left of all else, on an axis that has no 0.
    labels = [label.get_text() for label in trainable.get_xticklabels()]
    assert (trainable.get_xscale(), labels[0], trainable.get_xticks()[0]) == ("log", "0", 500)
    assert "16 KiB" in [label.get_text() for label in size.get_xticklabels()]
    assert memory.get_xlabel() == "peak memory of a run (MiB)"
    written_below = texts(figure)
    assert {f"1  {REFERENCE} full", "2  lora", "4  frozen", "head (beaten at every cost)"} <= {
        *written_below
    }
    assert not any("Training time" in text for text in written_below)


def test_time_alone_and_in_packs_never_share_a_front() -> None:
    findings = study(
        Made("full", 0.9, metrics=costs(4)),
        Made("dora", 0.85, metrics=costs(3)),
        Made("lora", 0.8, metrics=costs(1, packed=True)),
        Made("head", 0.7, metrics=costs(0, packed=True)),
    )
    figure = drawn(pareto_figure(findings))
    *_, time = [axes for axes in figure.axes if axes.get_visible()]
    fronts = [line for line in time.lines if line.get_drawstyle() == "steps-post"]
    assert {line.get_linestyle(): line.get_xdata().tolist() for line in fronts} == {
        "-": [6, 7],
        "--": [3, 4],
    }
    faces = [line.get_markerfacecolor() for line in time.lines if line.get_markersize() == 7]
    assert [face == "#FFFFFF" for face in faces] == [False, False, True, True]
    notes = " ".join(texts(figure))
    assert "peak memory of a run (MiB): 2 of 4 arms ran in packs, measured as a whole" in notes
    assert "filled marks and solid line, runs that were trained by themselves" in notes


def test_an_arm_of_runs_alone_and_in_packs_is_left_out_of_time() -> None:
    mixed = study(Made("full", metrics=costs(4)), Made("lora", metrics=costs(1)))
    (lora,) = [arm for arm in mixed.arms if arm.name == "lora"]
    del lora.figures["cost/train_seconds"]
    figure = drawn(pareto_figure(mixed))
    assert len(marks(figure.axes[2], 7)) == 1
    note = "training time of a run (s): not measured alike in all runs of 1 of 2 arms."
    assert note in texts(figure)


def test_what_was_measured_on_two_machines_is_left_out() -> None:
    arms = [Made(s, metrics=costs(i), tags={"hardware.id": s}) for i, s in enumerate("ab")]
    figure = drawn(pareto_figure(study(*arms)))
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "trainable parameters",
        "adapter's size on disk",
    ]
    assert "training time of a run (s): measured on 2 kinds of hardware" in " ".join(texts(figure))


# Answers


def test_classes_stand_with_the_hardest_on_the_left() -> None:
    findings = study(Made("full", 0.9), Made("head", 0.7))
    figure = drawn(classes_figure(findings))
    (axes,) = figure.axes
    assert axes.get_xticklabels()[0].get_text() == "frog"
    assert figure.get_suptitle() == "frog is the hardest class for 2 of 2 arms"
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
