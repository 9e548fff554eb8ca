from pathlib import Path

import numpy as np
import pytest

from adapterlab.drawing.canvas import save
from adapterlab.reporting.figures.tasks import ranks_figure
from adapterlab.reporting.tables.tasks import TaskFindings, about_tasks, over_tasks, tasks_table

LEVELS = {"lora": 0.90, "full": 0.89, "head": 0.70}


def made(
    tasks: int, arms: dict[str, float] = LEVELS, seeds: int = 5, spread: float = 0.005
) -> dict[str, dict[str, list[float]]]:
    rng = np.random.default_rng(0)
    return {
        f"task {n}": {
            name: rng.normal(level - 0.05 * n, spread, seeds).tolist()
            for name, level in arms.items()
        }
        for n in range(tasks)
    }


def found(scores: dict[str, dict[str, list[float]]]) -> TaskFindings:
    findings = over_tasks(scores)
    assert findings is not None
    return findings


class TestTable:
    def test_a_row_has_rank_means_and_what_is_over_tasks(self) -> None:
        scores = made(6)
        table = tasks_table(found(scores))
        assert table.title == "Ranks over 6 tasks"
        assert [row[0] for row in table.rows] == ["lora", "full", "head"]
        cells = dict(zip(table.header, table.rows[2], strict=True))
        assert cells["mean rank"] == "3.00"
        assert cells["task 0"] == f"{np.mean(scores['task 0']['head']):.2%}"
        assert cells["beats a run of lora"].startswith("0.00% (0.00% to ")
        assert table.rows[0][-1] == ""
        assert table.rows[1][-2].count("%") == 3

    def test_arms_share_letters_where_they_are_not_told_apart(self) -> None:
        table = tasks_table(found(made(6)))
        letters = {row[0]: row[2] for row in table.rows}
        assert set(letters["lora"]) & set(letters["full"])
        assert not set(letters["lora"]) & set(letters["head"])

    def test_one_seed_has_no_intervals_and_that_is_said(self) -> None:
        findings = found(made(6, seeds=1))
        assert "(" not in "".join(tasks_table(findings).rows[1])
        assert any("one seed on a task" in line for line in about_tasks(findings))

    def test_the_interval_of_a_share_ends_at_100(self) -> None:
        scores = {name: {"a": [0.99, 1.0], "b": [0.98, 1.0]} for name in "xy"}
        cells = " ".join(cell for row in tasks_table(found(scores)).rows for cell in row)
        assert "to 100.00%)" in cells

    def test_a_score_below_0_lies_within_its_interval(self) -> None:
        scores = {name: {"a": [-0.5, -0.4], "b": [-0.9, -0.7]} for name in "xy"}
        found = over_tasks(scores, least=float("-inf"))
        assert found is not None
        assert "-45.00% (-" in tasks_table(found).rows[0][-2]


class TestSentences:
    def test_two_tasks_are_too_few_whatever_they_show(self) -> None:
        lines = about_tasks(found(made(2)))
        assert lines[0].startswith("2 tasks cannot tell 3 arms apart by ranks")
        assert "takes 3 tasks or more" in lines[0]
        assert found(made(2)).best == ("lora", "full", "head")

    def test_ranks_that_differ(self) -> None:
        lines = about_tasks(found(made(6)))
        assert "ranks differ" in lines[0]
        assert "lora ranks before head; full is not told apart from it." in lines[0]
        assert "differ by 1.35 or more (Nemenyi)" in lines[1]

    def test_ranks_that_do_not(self) -> None:
        lines = about_tasks(found(made(4, {"a": 0.8, "b": 0.8, "c": 0.8}, spread=0.05)))
        assert "ranks do not tell any of 3 arms apart (Friedman's test, p = " in lines[0]

    def test_an_arm_that_lacks_a_task_is_left_out_and_named(self) -> None:
        scores = made(3)
        scores["task 1"]["head"] = []
        del scores["task 2"]["head"]
        findings = found(scores)
        assert [arm.name for arm in findings.arms] == ["lora", "full"]
        assert about_tasks(findings)[-1] == (
            "head has no ranks, because it has no score on task 1 and task 2."
        )


@pytest.mark.parametrize(
    "scores", [made(1), made(3, {"lora": 0.9}), {"a": {"x": [1.0]}, "b": {"y": [1.0]}}, {}]
)
def test_nothing_to_rank(scores: dict) -> None:
    assert over_tasks(scores) is None


@pytest.mark.parametrize("tasks", [2, 6])
def test_the_figure_marks_ranks_groups_and_the_difference(tasks: int, tmp_path: Path) -> None:
    findings = found(made(tasks))
    figure = ranks_figure(findings)
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[:3] == [f"{arm.rank:.2f}" for arm in findings.arms]
    assert ("critical difference 1.35" in texts) == (tasks == 6)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [arm.name for arm in findings.arms]
    groups = [line for line in axes.lines if line.get_linewidth() == 4]
    assert len(groups) == sum(len(group) > 1 for group in findings.test.groups)
    left, right = axes.get_xlim()
    for line in axes.lines:
        assert left <= np.min(line.get_xdata()) <= np.max(line.get_xdata()) <= right
    save(figure, tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").stat().st_size > 1000
