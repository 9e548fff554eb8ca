"""What stands on the figures of a study, for one arm or many, and that all of it can be read."""

import io
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from figure_cases import REFERENCE, STRATEGIES, costs, drawn, many, texts
from synthetic import Made, study
from test_pictures import assert_whole_and_apart

from adapterlab.drawing.canvas import save
from adapterlab.reporting.figures.arms import accuracy_figure, curves_figure
from adapterlab.reporting.figures.layout import SIZE, fitted, short_names
from adapterlab.reporting.figures.study import FIGURES, narrow_figure
from adapterlab.reporting.figures.tasks import ranks_figure
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.page import svg_of
from adapterlab.reporting.tables.tasks import over_tasks


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest) -> Findings:
    return many(*request.param)


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
        assert stem in ("rank_alpha", "rates", *(() if few else ("confusion",)))
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
@pytest.mark.parametrize("stem", sorted({*FIGURES} - {"rank_alpha", "rates"}))
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


def test_no_figure_shows_two_names_alike() -> None:
    long = [f"{'a' * 60}{i}{'b' * 60}" for i in range(3)]
    over = over_tasks({task: {name: [0.7, 0.8] for name in long} for task in "xy"})
    assert over is not None
    ways = [
        Made(f"{way} optimizer.lr={rate:g}", rate,
             params={"optimizer.lr": str(rate), "adapter.rank": way},
             metrics={"best/val_accuracy": rate})
        for way in long for rate in (0.4, 0.5, 0.6)
    ]  # fmt: skip
    ranks = [
        Made(f"lora rank={rank} alpha={alpha} {name}",
             params={"adapter.rank": str(rank), "adapter.alpha": str(alpha), "adapter.init": name})
        for name in long for rank in (1, 2) for alpha in (1, 2)
    ]  # fmt: skip
    tested = study(Made("full"), Made("head"), classes=long)
    for figure in (
        ranks_figure(over),
        *(FIGURES[stem][2](tested) for stem in ("classes", "confusion")),
        FIGURES["rates"][2](study(*ways)),
        FIGURES["rank_alpha"][2](study(*ranks)),
    ):
        said = [text for text in texts(figure) if " ... " in text]
        assert len({*said}) >= 3, said


def test_names_are_texts_of_the_svg() -> None:
    findings = study(Made("lora $5 <a>", 0.9), Made("head", 0.7))
    with mpl.rc_context({"svg.fonttype": "none"}):
        page = io.StringIO()
        drawn(accuracy_figure(findings)).savefig(page, format="svg")
    assert "lora $5 &lt;a&gt;" in page.getvalue()
    assert "70.0%</text>" in page.getvalue()
    assert "worse</text>" in page.getvalue()


@pytest.mark.filterwarnings("error")
def test_letters_that_no_font_here_has_have_their_room_in_the_svg() -> None:
    names = ("积极的评价和推荐", "消极的评价和批评", "中性")
    findings = study(Made("lora 模型", metrics=costs(1)), Made("head", 0.7), classes=names)
    for stem in ("pareto", "confusion"):  # whose texts stand beside marks, and whose around panels
        page = svg_of(drawn(FIGURES[stem][2](findings))).decode()
    upright = re.findall(r"end; fill[^>]* x=\"([\d.]+)\"[^>]*>([^<]+)<", page)
    ends = {text: float(x) for x, text in upright if text in names}
    (title,) = set(re.findall(r"x=\"([\d.]+)\"[^>]*>true class<", page))
    assert set(ends) == {*names}
    assert min(x - SIZE * len(text) for text, x in ends.items()) > float(title)
    # Below, names that are wider than their cells are turned.
    assert {*re.findall(r'rotate\(-90\)">([^<]+)<', page)} >= {*names}


def test_a_study_that_kept_nothing_draws_accuracy_only(tmp_path: Path) -> None:
    bare = study(Made("full", 0.9, tested=False, epochs=0), Made("head", tested=False, epochs=0))
    kept = [stem for stem, (_, _, draw) in FIGURES.items() if draw(bare) is not None]
    assert kept == ["accuracy"]
    save(drawn(FIGURES["accuracy"][2](bare)), tmp_path / "accuracy.png")
    assert list(FIGURES) == [
        *("accuracy", "curves", "rank_alpha", "rates", "pareto"),
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
