"""Rank and alpha as maps: which cells, which is the best, and which differ from it."""

import matplotlib as mpl
import pytest
from figure_cases import drawn, texts
from synthetic import Made, study
from test_pictures import assert_whole_and_apart

from adapterlab.drawing.figures import VERMILION
from adapterlab.reporting.figures.ranks import rank_alpha_figure


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
        (
            [
                ranked("lora", r, a, 0.8, params={"hardware.precision": precision})
                for r in (1, 4)
                for a in (8, 16)
                for precision in ("32-true", "bf16-mixed")
            ],
            ["lora 32-true", "lora bf16-mixed"],
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
    ids=[
        "diagonal",
        "alpha",
        "two ranks",
        "two cells",
        "no rank",
        "both",
        "lr",
        "five",
        "precision",
        "tuned",
    ],
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
