"""Costs against accuracy: which arms are on a front, and what does not compare."""

import numpy as np
from figure_cases import REFERENCE, costs, drawn, marks, texts
from matplotlib.axes import Axes
from synthetic import Made, study

from adapterlab.reporting.figures.costs import pareto_figure


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
