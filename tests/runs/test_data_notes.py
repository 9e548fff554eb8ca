"""What is wrong with data is said where their figures are: on the terminal and in MLflow."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from PIL import Image

from adapterlab.app import cli
from adapterlab.runs.data import load_data
from adapterlab.runs.single import run
from adapterlab.tracking.note_tags import notes_in
from adapterlab.tracking.stores.uris import default_uri
from lab import Outcome, tiny
from reviews import SMALL, write_reviews

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Ten images a class to train on, four to test on, all of them different."""
    noise = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 4)):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(0, 256, (5, 5), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "pets" / split / name / f"{number}.png")
    return tmp_path / "pets"


def test_a_leak_is_said_on_the_terminal_and_in_mlflow(
    pets: Path, run_cli: Callable[..., Outcome], lab_root: Path
) -> None:
    leaked = (pets / "train" / "dog" / "7.png").read_bytes()
    (pets / "test" / "cat" / "2.png").write_bytes(leaked)
    (pets / "train" / "cat" / "1.png").write_bytes(leaked)
    outcome = run_cli(
        "dataset=image_folder", f"dataset.loader.path={pets}", "base=scratch", "epochs=1",
        "adapter=full", "hardware.threads=1", "dataset.validation=0.3",
        "study=leaks", root=lab_root,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    leak = (
        "1 of 8 (12.50%) test images are in train too (the first: test/cat/2.png is "
        "train/cat/1.png)"
    )
    repeats = (
        "1 of 20 (5.00%) training images repeat another one; 2 stand there with more than one "
        "label (train/cat/1.png as 'cat', train/dog/7.png as 'dog')"
    )
    said = " ".join(outcome.out.split())
    assert f"note: {leak}" in said
    assert f"note: {repeats}" in said

    client = MlflowClient(default_uri(lab_root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    found = client.search_runs([experiment], "tags.study = 'leaks' and tags.kind = 'run'")
    (logged,) = found
    assert {leak, repeats} <= {*notes_in(logged.data.tags)}  # whole: one has a semicolon
    figures = {
        name: logged.data.metrics[f"data/{name}"] for name in ("test_in_train", "duplicates")
    }
    assert figures == {"test_in_train": 1, "duplicates": 1}
    assert logged.data.metrics["data/conflicting"] == 2
    assert logged.data.metrics["data/majority_accuracy"] == 0.5


def test_a_cut_through_equal_texts_is_said_and_counted_once_for_all_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 96 reviews many are the same, so that some stand on both sides of the cut."""
    path = write_reviews(tmp_path / "reviews")
    own = ("limit=null", "dataset=text_files", f"dataset.loader.path={path}", *SMALL, "epochs=1")
    config = tiny(tmp_path, *own, "base=scratch", "adapter=head", "dataset.validation=0.25")
    read = load_data(config)
    result = run(config, read)
    texts = [text.lower().split() for text in read.target.train.texts]  # type: ignore[union-attr]
    repeats = sum(text in texts[:row] for row, text in enumerate(texts))
    assert result.metrics["data/duplicates"] == repeats > 0
    assert result.metrics["data/validation_in_train"] > 0
    assert any(
        "the validation split is cut from train, where some texts" in n for n in result.notes
    )
    monkeypatch.setattr("adapterlab.runs.data.alike", None)
    again = run(tiny(tmp_path, *own, "base=scratch", "adapter=head", "seed=1"), read)
    assert again.metrics["data/duplicates"] == repeats


def test_the_base_may_have_seen_the_test(tmp_path: Path) -> None:
    """Some of cifar10's training images are the target's test."""
    noise = np.random.default_rng(0)

    def rows(count: int) -> list[dict[str, object]]:
        made: list[dict[str, object]] = []
        for row in range(count):
            file = BytesIO()
            image = Image.fromarray(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8))
            image.save(file, "PNG")
            made.append({"img": {"bytes": file.getvalue(), "path": None}, "label": row % 10})
        return made

    seen, unseen = rows(120), rows(60)
    for name, train, test in (("cifar10", seen, unseen[:10]), ("own", unseen[10:], seen[:10])):
        (tmp_path / name).mkdir()
        pq.write_table(pa.Table.from_pylist(train), tmp_path / name / "train.parquet")
        pq.write_table(pa.Table.from_pylist(test), tmp_path / name / "test.parquet")
    config = tiny(
        tmp_path, f"data_dir={tmp_path}", "dataset=image_parquet", "dataset.loader.path=own",
        "base.source=cifar10", "base.epochs=1", "epochs=1", "dataset.validation=0.4",
    )  # fmt: skip
    result = run(config)
    assert result.metrics["data/test_in_source"] == 10
    said = "10 of 10 (100.00%) test images are among those that the base was trained on"
    assert said in result.notes


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        ("[cat,cat]", "'cat' is there 2 times"),
        ("[cat,'']", "number 2 of them is ''"),
        ("[cat,' ']", "number 2 of them is ' '"),
        ("['cat ',cat]", "'cat ' and 'cat' differ by white space only"),
    ],
)
def test_class_names_that_nobody_tells_apart_are_refused_before_anything_is_read(
    classes: str, why: str, run_cli: Callable[..., Outcome]
) -> None:
    outcome = run_cli("dataset=digits", f"dataset.classes={classes}")
    assert outcome.error.startswith("dataset.classes=[")
    assert outcome.error.endswith(f"should have names that can be told apart; {why}")


def test_a_refusal_comes_before_the_base_is_trained(
    pets: Path, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    same = (pets / "train" / "dog" / "7.png").read_bytes()
    for file in (pets / "train").rglob("*.png"):
        file.write_bytes(same)
    outcome = run_cli(
        "dataset=image_folder", f"dataset.loader.path={pets}", "base.source=digits",
        program=cli.train,
    )  # fmt: skip
    first = pets / "train" / "cat" / "0.png"
    assert outcome.error == f"all 20 training images are the same as {first}: nothing can be learnt"
    assert not (tmp_path / "mlruns" / "runs" / "bases").exists()
