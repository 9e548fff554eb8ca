"""Images whose file of labels has several labels for each, or a number."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapterlab.app import prune_command
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.pruning.cutting import Request, prune_saved
from adapterlab.runs.single import run
from lab import ONE_THREAD, compose

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that are light at the top, the bottom, or both; how light they are is a number."""
    folder = tmp_path_factory.mktemp("data") / "lights"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["file,where,light,top,bottom"]
    for number in range(60):
        top, bottom = number % 2, number // 2 % 2
        halves = np.repeat([top * 150, bottom * 150], 4)[:, None] + rng.integers(0, 50, (8, 8))
        Image.fromarray(halves.astype(np.uint8)).save(folder / f"{number}.png")
        where = "|".join(name for name, on in (("top", top), ("bottom", bottom)) if on)
        lines.append(f"{number}.png,{where},{halves.mean():.2f},{top},{bottom}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("task", "column", "metric"),
    [
        ("regression", "light", "r2"),
        ("multi_label", "where", "micro_f1"),
        ("multi_label", "[top,bottom]", "micro_f1"),
    ],
)
def test_images_are_learnt(
    task: str, column: str, metric: str, images: Path, tmp_path: Path
) -> None:
    options = [
        "dataset=image_folder", f"dataset.loader.path={images}", "dataset.loader.labels=labels.csv",
        f"dataset.loader.label_column={column}", f"task={task}", "model=mlp", "base=scratch",
        "adapter=full", "epochs=12", "batch_size=16", "optimizer.lr=0.02", "hardware=cpu",
        "hardware.threads=1", "hardware.precision=64-true", "tracking=none", "init_seed=0",
    ]  # fmt: skip
    alone = run(compose(tmp_path / "alone", *options))
    assert alone.metrics[f"test/{metric}"] > max(0.7, alone.metrics[f"data/majority_{metric}"])
    assert f"data/baseline_{metric}" in {**alone.metrics, **alone.missing}
    assert alone.classes == (("light",) if task == "regression" else alone.classes)
    lanes = [compose(tmp_path / "pack", *options, f"seed={s}", "pack=always") for s in (0, 1)]
    (lane, _) = run_pack(lanes)
    assert isinstance(lane, RunResult)
    scores = [result.metrics[f"test/{metric}"] for result in (alone, lane)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)


@pytest.mark.parametrize(
    ("task", "column", "select_on", "chosen_by"),
    [
        ("regression", "light", "mae", "r2"),
        ("regression", "light", "spearman", "spearman"),
        ("multi_label", "where", "macro_f1", "macro_f1"),
    ],
)
def test_a_run_is_pruned_by_what_its_task_is_scored_by(
    task: str,
    column: str,
    select_on: str,
    chosen_by: str,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [
        "dataset=image_folder", f"dataset.loader.path={images}", "dataset.loader.labels=labels.csv",
        f"dataset.loader.label_column={column}", f"task={task}", "model=mlp", "base=scratch",
        "adapter=lora", "adapter.rank=4", "epochs=4", "batch_size=16", "optimizer.lr=0.02",
        "hardware=cpu", "hardware.threads=1", "hardware.precision=64-true", "tracking=none",
        f"select_on={select_on}", "baseline=never",
    ]  # fmt: skip
    whole = run(compose(tmp_path, *options))
    found = prune_saved(
        Request(
            run=str(whole.folder), keep=[0.3, 1.0], log_run=False, tracking_uri=None,
            root=str(tmp_path), data_dir=None, hardware=ONE_THREAD,
        )
    )  # fmt: skip
    prune_command._print(found)
    main = "r2" if task == "regression" else "micro_f1"
    assert f"{main} on the test split" in capsys.readouterr().out
    # All that was trained scores what the whole does, at thresholds of the same choice.
    assert found.curve.metric == chosen_by
    assert found.curve.points[1].score == pytest.approx(found.curve.whole, abs=1e-9)
    best = whole.metrics[f"best/val_{chosen_by}"]
    assert found.curve.whole == pytest.approx(best, abs=1e-9)
    limits = [name for name in whole.metrics if name.startswith("test/threshold/")]
    assert bool(limits) == (task == "multi_label")
    assert all(found.result.metrics[name] != 0.5 for name in limits)
