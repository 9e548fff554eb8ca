"""What trials show, and the figure of it."""

from pathlib import Path

import numpy as np
import pytest
from test_pictures import assert_whole_and_apart
from tuning_runs import Logged, tuning_run

from adapterlab.drawing.canvas import save
from adapterlab.reporting.figures.tuning import tuning_figure
from adapterlab.reporting.tuning_study import read_trials, tuning_of

RATES = (0.001, 0.01, 0.1)


def grid(scores: dict[str, tuple[float | None, ...]], **more: object) -> list[Logged]:
    return [
        tuning_run(
            arm, rate, value or 0.0, status="failed" if value is None else "finished", **more
        )
        for arm, row in scores.items()
        for rate, value in zip(RATES, row, strict=True)
    ]


def test_scores_chosen_neighbours_curve_and_regret() -> None:
    runs = grid({"b": (0.5, 0.9, 0.8), "a": (0.6, 0.5, 0.7), "c": (None, None, None)})
    (found,) = tuning_of("x-tuning", runs)
    assert (found.study, found.options, found.metric) == ("x-tuning", ("optimizer.lr",), "accuracy")
    a, b, c = found.arms
    assert [arm.name for arm in found.arms] == ["a", "b", "c"]
    assert b.settings == found.shared == ((0.001,), (0.01,), (0.1,))
    assert (a.scores, a.chosen, b.chosen) == ((0.6, 0.5, 0.7), 2, 1)
    assert [(one.place, one.lead.difference, one.lead.noise) for one in b.neighbours] == [
        (0, pytest.approx(0.4), None),
        (2, pytest.approx(0.1), None),
    ]
    assert [point.mean for point in a.curve] == pytest.approx([0.6, 2 / 3, 0.7])
    assert (c.chosen, c.failed, c.neighbours) == (None, 3, ())
    assert [point.mean for point in c.curve] == [None] * 3
    assert found.regret is not None
    assert found.regret.means == pytest.approx((0.25, 0.1, 0.05))
    assert found.regret.place == 2


def test_several_seeds_and_a_loss() -> None:
    runs = [
        tuning_run("a", rate, score, seed=seed, metric="loss")
        for rate, scores in ((0.1, (1.0, 2.0)), (0.2, (1.5, 1.0)))
        for seed, score in zip((7, 3), scores, strict=True)
    ]
    (found,) = tuning_of("x-tuning", runs)
    (arm,) = found.arms
    assert found.minimize
    assert arm.seeds == (3, 7)
    assert arm.scores == (1.5, 1.25)
    assert arm.spreads == pytest.approx((0.5**0.5, 0.5**0.5 / 2))
    assert arm.chosen == 1
    assert arm.neighbours[0].lead.difference == pytest.approx(0.25)
    assert arm.neighbours[0].lead.noise == pytest.approx(0.75)  # (1.0, -0.5)
    assert arm.neighbours[0].lead.clear is False
    missing = [run for run in runs if run.run_id != "a0.13"]
    (found,) = tuning_of("x-tuning", missing)
    assert found.arms[0].scores == (None, 1.25)
    assert found.regret is None


def test_only_the_last_grid_of_an_arm_counts() -> None:
    runs = [
        tuning_run("a", 0.1, 0.9, at="2025"),
        tuning_run("a", 0.2, 0.7),
        tuning_run("a", 0.3, 0.8),
        Logged("untagged", {"seed": "0"}, {}, {"best/val_accuracy": 1.0}),
    ]
    (found,) = tuning_of("x-tuning", runs)
    assert found.arms[0].settings == ((0.2,), (0.3,))
    assert tuning_of("x-tuning", runs[3:]) == []


def test_what_the_sweeper_says_it_chose_wins_over_order() -> None:
    runs = [
        tuning_run("a", "linear", 0.7, option="optimizer.schedule", chosen="true"),
        tuning_run("a", "cosine", 0.7, option="optimizer.schedule", chosen="false"),
    ]
    (found,) = tuning_of("x-tuning", runs)
    assert found.arms[0].settings == (("cosine",), ("linear",))
    assert found.arms[0].chosen == 1


def test_arms_tuned_by_other_options_are_apart() -> None:
    runs = [tuning_run("a", 1, 0.5), tuning_run("b", 1, 0.5, option="adapter.rank")]
    assert [f.options for f in tuning_of("x", runs)] == [("optimizer.lr",), ("adapter.rank",)]


def test_a_store_without_trials() -> None:
    class Empty:
        def get_experiment_by_name(self, _: str) -> None:
            return None

    assert read_trials(Empty(), "x", "adapterlab") == []


SIX = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


@pytest.mark.parametrize(
    ("arms", "tried", "seeds", "option"),
    [
        (7, SIX, 1, "optimizer.lr"),
        (2, (0.01, 0.02), 3, "optimizer.lr"),
        (1, (0.0001, 0.0002, 0.0003, 0.1), 1, "optimizer.lr"),
        (1, ("cosine", "linear"), 1, "optimizer.schedule"),
        (9, tuple(range(1, 17)), 2, "adapter.rank"),
    ],
)
def test_the_figure_shows_every_trial(
    arms: int, tried: tuple[object, ...], seeds: int, option: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    runs = [
        tuning_run(f"adapter=lora adapter.rank={n}", value, rng.random(), seed=seed, option=option)
        for n in range(arms)
        for value in tried
        for seed in range(seeds)
    ]
    (found,) = tuning_of("x-tuning", runs)
    figure = tuning_figure(found)
    assert figure is not None
    scores, curves = figure.axes
    marked = [line for line in scores.lines if line.get_marker() != "None"]
    lines = [line for line in marked if len(line.get_xdata()) == len(tried)]
    assert len(lines) == arms
    for line, arm in zip(lines, found.arms, strict=True):
        assert sorted(line.get_ydata()) == pytest.approx(sorted(arm.scores))
        joined = line.get_linestyle() != "None"
        assert joined == (option != "optimizer.schedule")
    ends = [line.get_ydata()[-1] for line in curves.lines]
    assert ends == pytest.approx([max(arm.scores) for arm in found.arms])
    chosen = [line for line in scores.lines if line.get_markersize() == 9]
    assert [float(line.get_ydata()[0]) for line in chosen] == pytest.approx(ends)
    assert [tick.get_text() for tick in scores.get_xticklabels()] == [
        f"{v:g}" if isinstance(v, float | int) else v for v in tried
    ]
    assert_whole_and_apart(figure)
    save(figure, tmp_path / "tuning.png")
    assert (tmp_path / "tuning.png").stat().st_size > 10_000


def test_a_failed_setting_is_said_and_a_single_one_is_no_figure() -> None:
    (found,) = tuning_of("x", grid({"a": (0.5, None, 0.8), "b": (0.6, 0.9, 0.7)}))
    figure = tuning_figure(found)
    assert figure is not None
    text = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "Settings with a run that failed are not drawn (1 in all)." in text
    assert "One optimizer.lr for all arms would cost them 10.00 points of validation" in text
    assert "on average, at 0.1." in text
    (single,) = tuning_of("x", [tuning_run("a", 0.1, 0.5)])
    assert tuning_figure(single) is None
