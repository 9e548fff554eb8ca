"""A finished run whose data have changed since: it answers as it was trained, or says why not."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from adapterlab.adapters import read_extra
from adapterlab.base.errors import CheckpointError, ConfigError
from adapterlab.config.schema import Config
from adapterlab.data.sources.decode import Encoded
from adapterlab.runs import saved as runs_saved
from adapterlab.runs.assembly import assemble
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.predicting.members import member
from adapterlab.runs.saved import SavedRun, rebuild
from adapterlab.runs.single import run
from adapterlab.training.predicting import predict
from lab import ONE_THREAD, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

TASKS = {"regression": "bright", "single_label": "kind"}


def write(
    folder: Path, names: tuple[str, str], brighter: float = 0.0, *, colours: bool = False
) -> Path:
    """Images, dark and light ones, with what each is called and how bright it is said to be."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    with (folder / "labels.csv").open("w") as opened:
        table = csv.writer(opened)
        table.writerow(["file", "kind", "bright", "split"])
        for i in range(40):
            light = i % 2
            pixels = (light * 150 + rng.integers(0, 60, (6, 6))).astype(np.uint8)
            image = Image.fromarray(pixels)
            (image.convert("RGB") if colours else image).save(folder / f"{i:02}.png")
            split = "train" if i < 30 else "test"
            told = 5000.0 + 10 * float(pixels.mean()) + brighter
            table.writerow([f"{i:02}.png", names[light], told, split])
    return folder


def config(root: Path, task: str, *options: str) -> Config:
    return tiny(
        root,
        *("dataset=image_folder", f"dataset.loader.path={root / 'own'}", "model=mlp"),
        *("model.widths=[4]", "dataset.loader.labels=labels.csv"),
        *(f"dataset.loader.label_column={TASKS[task]}", "dataset.loader.split_column=split"),
        *(f"task={task}", "batch_size=8", "epochs=1", *options),
    )


def trained(root: Path, task: str) -> RunResult:
    write(root / "own", ("dark", "light"))
    return run(config(root, task, "base=scratch", "adapter=full"))


def saved(root: Path, result: RunResult) -> SavedRun:
    return SavedRun(
        run=str(result.folder), tracking_uri=None, root=str(root), data_dir=None,
        hardware=ONE_THREAD,
    )  # fmt: skip


def test_numbers_stay_in_the_scale_that_they_were_learnt_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = trained(tmp_path, "regression")
    contents = [path.read_bytes() for path in sorted((tmp_path / "own").glob("*.png"))]
    images = Encoded(len(contents), read=contents.__getitem__, name=str)
    before = member(saved(tmp_path, result)).outputs(images)
    learnt = next(note for note in result.notes if "standard deviations" in note)
    write(tmp_path / "own", ("dark", "light"), brighter=1000)
    # Earlier versions took options of a cut that was not made: this file names the splits.
    options = result.folder / "config.yaml"
    written = options.read_text()
    assert "test_seed: 0" in written
    options.write_text(written.replace("test_seed: 0", "test_seed: 3"))
    after = member(saved(tmp_path, result))
    np.testing.assert_array_equal(after.outputs(images), before)
    assert after.notes == ("the data have changed since this run was trained",)
    assert learnt in rebuild(saved(tmp_path, result)).assembly.notes
    weights = result.folder / "adapter.safetensors"
    assert read_extra(weights)["scale"][0] > 5000
    # As a base, its head says the same numbers, in the scale of the run that goes on with it.
    told = ("base=checkpoint", f"base.path={weights}", "base.head=keep", "adapter=head")
    on = assemble(config(tmp_path, "regression", *told), run)
    assert on.data.scale.mean == pytest.approx(read_extra(weights)["scale"][0] + 1000)
    said = predict(on.adapted, on.data, "test", torch.device("cpu")).logits
    np.testing.assert_allclose(said, before[30:], rtol=1e-5)
    for kept, error, why in (
        (None, ConfigError, "does not say in which scale its head learnt numbers"),
        ("[1.0,-2.0]", CheckpointError, r"says \[1.0, -2.0\] as the scale of its numbers"),
        ("3", CheckpointError, "says 3 as the scale of its numbers"),
    ):
        other = _with_scale(weights, kept, tmp_path / "other.safetensors")
        told = ("base=checkpoint", f"base.path={other}", "base.head=keep", "adapter=head")
        with pytest.raises(error, match=why):
            assemble(config(tmp_path, "regression", *told), run)
    monkeypatch.setattr(runs_saved, "scale_of", lambda _: None)  # as of an earlier version
    with pytest.raises(CheckpointError, match="has not kept the scale in which it learnt numbers"):
        rebuild(saved(tmp_path, result))
    write(tmp_path / "own", ("dark", "light"))
    assert rebuild(saved(tmp_path, result)).assembly.data.scale.mean > 5000


def _with_scale(weights: Path, kept: str | None, to: Path) -> Path:
    """Copy a run's file with another scale, as JSON, or none."""
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    extra = json.loads(metadata["extra"])
    del extra["scale"]
    metadata["extra"] = json.dumps(extra if kept is None else {**extra, "scale": json.loads(kept)})
    save_file(load_file(weights), to, metadata)
    return to


def test_classes_that_are_called_otherwise_now_are_refused(tmp_path: Path) -> None:
    """So are images in colours, which a grey one would be shown as."""
    result = trained(tmp_path, "single_label")
    for names, colours, said in (
        (("dark", "bright"), False, "has learnt dark, light, and its data have bright, dark now"),
        (("dark", "light"), True, "images of [1, 6, 6], and its data have images of [3, 6, 6] now"),
    ):
        write(tmp_path / "own", names, colours=colours)
        with pytest.raises(CheckpointError, match=re.escape(said)):
            rebuild(saved(tmp_path, result))
