"""Predicting for the rows of a file: the run's own answers, beside all that the file has."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.special import softmax

from adapterlab.app.predict_command import predict
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.predicting import file
from adapterlab.runs.predicting.members import Member
from adapterlab.runs.saved import SavedRun
from adapterlab.runs.single import run
from lab import TINY, Outcome, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

RunCli = Callable[..., Outcome]
WORDS = {"good, really": "sunny day", "bad": "grey rain", "größer": "tall tower"}
ROWS = [
    (f"{word} number {i} " + "and more " * (i % 7), name)
    for i in range(24)
    for name, word in WORDS.items()
]
COLUMNS = ["id", "text", "when", "label"]


@dataclass(frozen=True)
class Trained:
    """Two runs that differ in their seed, and the root and file of their data."""

    root: Path
    runs: tuple[RunResult, ...]
    test: Path


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Two tiny text classifiers that have learnt something."""
    root = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        folder = root / "own"
        folder.mkdir()
        for name, ends in (("train", " and"), ("test", " more")):
            lines = [
                json.dumps({"id": i, "text": f"{text}{ends}", "when": None, "label": label})
                for i, (text, label) in enumerate(ROWS)
            ]
            (folder / f"{name}.jsonl").write_text("\n".join(lines))
        common = (
            *("dataset=text_files", f"dataset.loader.path={folder}", "dataset.max_length=12"),
            *("model=bert_tiny", "model.hidden_size=32", "model.vocab_size=300", "base=scratch"),
            *("adapter=full", "epochs=10", "batch_size=8", "optimizer.lr=0.003"),
        )
        runs = tuple(run(tiny(root, *common, f"seed={seed}")) for seed in (0, 1))
        yield Trained(root, runs, folder / "test.jsonl")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A small network over images of a folder, of two classes."""
    root = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(("dark", "light")):
            folder = root / "own" / split / name
            folder.mkdir(parents=True)
            for i in range(24):
                pixels = draw.integers(0, 120, (6, 6, 3)) + 100 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        common = ("dataset=image_folder", f"dataset.loader.path={root / 'own'}", "base=scratch")
        config = tiny(root, *common, "model.widths=[16]", "adapter=full")
        yield Trained(root, (run(config),), root / "own" / "test")


def probabilities(result: RunResult) -> Any:
    table = pq.read_table(result.folder / "predictions.parquet")
    return softmax(np.array(table["logits"].to_pylist(), dtype=np.float64), axis=1)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as opened:
        return list(csv.DictReader(opened, delimiter="\t" if path.suffix == ".tsv" else ","))


def asked(trained: Trained, run_cli: RunCli, *options: object) -> Outcome:
    told = [str(option) for option in options]
    if not any(option.startswith(("run=", "study=")) for option in told):
        told.append(f"run={trained.runs[0].folder}")
    return run_cli(*told, "hardware=cpu", program=predict, root=trained.root)


def test_the_runs_own_test_file_gets_the_runs_own_predictions(
    texts: Trained, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "ROWS", 7)  # several chunks, and a last one that is smaller
    out = tmp_path / "out.jsonl"
    done = asked(texts, run_cli, f"input={texts.test}", f"output={out}", "probabilities=true")
    assert done.code == 0, done
    rows = read(out)
    assert [row["text"] for row in rows] == [f"{text} more" for text, _ in ROWS]
    assert [list(row)[:4] for row in rows] == [COLUMNS] * len(rows)
    (result, _), classes = texts.runs, texts.runs[0].classes
    wanted = probabilities(result)
    found = np.array([[row[f"probability/{name}"] for name in classes] for row in rows])
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert [row["prediction"] for row in rows] == [classes[i] for i in wanted.argmax(1)]
    assert [row["probability"] for row in rows] == pytest.approx(wanted.max(1), abs=1e-6)
    assert len({row["prediction"] for row in rows}) > 1  # it has learnt something
    assert "have more than 12 tokens, and are cut off as in training" in done.out


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("to", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_keeps_the_columns_of_every_other(
    suffix: str, to: str, texts: Trained, tmp_path: Path, run_cli: RunCli
) -> None:
    source, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{to}"
    values = {
        "id": [1, 2, 3],
        "text": ["a, sunny\nday", 'grey "rain"', "tall 塔"],
        "note": ["=1+1", None, "é"],
    }
    if suffix == "parquet":
        pq.write_table(pa.table(values), source)
    elif suffix == "jsonl":
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with source.open("w", newline="") as opened:
            writer = csv.writer(opened, delimiter="\t" if suffix == "tsv" else ",")
            writer.writerow(values)
            writer.writerows(zip(*values.values(), strict=True))
    done = asked(texts, run_cli, f"input={source}", f"output={out}", "top_k=2")
    assert done.code == 0, done
    new = ["prediction", "probability", "prediction_2", "probability_2"]
    typed = {"parquet", "jsonl"} >= {suffix, to}
    rows = read(out)
    assert [list(row) for row in rows] == [[*values, *new]] * 3
    for name, column in values.items():
        said = column if typed else ["" if value is None else str(value) for value in column]
        assert [str(v or "") if not typed else v for v in (row[name] for row in rows)] == said
    for row in rows:
        assert row["prediction"] != row["prediction_2"]
        assert float(row["probability"]) >= float(row["probability_2"]) > 0
    if suffix == to == "parquet":
        assert pq.read_schema(out).field("id") == pq.read_schema(source).field("id")


def test_seeds_are_an_ensemble_whose_probabilities_are_averaged(
    texts: Trained, tmp_path: Path, run_cli: RunCli
) -> None:
    out = tmp_path / "out.parquet"
    runs = ",".join(str(result.folder) for result in texts.runs)
    options = (f"input={texts.test}", f"output={out}", "probabilities=true")
    done = asked(texts, run_cli, f"run=[{runs}]", *options)
    assert done.code == 0, done
    own = [probabilities(result) for result in texts.runs]
    mean = np.mean(own, axis=0)
    table = pq.read_table(out)
    found = [table[f"probability/{name}"].to_numpy() for name in texts.runs[0].classes]
    np.testing.assert_allclose(np.stack(found, axis=1), mean, atol=1e-6)
    alike = np.mean([each.argmax(1) == mean.argmax(1) for each in own], axis=0)
    np.testing.assert_array_equal(table["agreement"].to_numpy(), alike)
    twice = asked(texts, run_cli, f"run=[{texts.runs[0].folder},{texts.runs[0].folder}]", *options)
    assert "names a run twice" in twice.error


def test_an_arm_answers_with_all_of_its_seeds(tmp_path: Path, run_cli: RunCli) -> None:
    tracked = [option for option in TINY if option != "tracking=none"]
    configs = [
        tiny(tmp_path, *tracked, "tracking=mlflow", "study=arms", f"seed={seed}", f"adapter={name}")
        for name in ("head", "lora")
        for seed in (0, 1)
    ]
    results = [*run_pack(configs[:2]), *run_pack(configs[2:])]
    source, out = tmp_path / "digit.png", tmp_path / "out.csv"
    Image.fromarray(np.eye(8, dtype=np.uint8) * 200).save(source)
    options = (f"input={source}", f"output={out}", "hardware=cpu")
    done = run_cli("study=arms", "arm=lora", *options, program=predict)
    assert done.code == 0, done
    assert all(result.name in done.out for result in results[2:])
    assert not any(result.name in done.out for result in results[:2])
    (row,) = read(out)
    assert row["file"] == "digit.png"
    assert row["agreement"] in ("0.5", "1.0")
    wrong = run_cli("study=arms", "arm=dora", *options, program=predict)
    assert wrong.error.startswith("arm=dora is no arm; allowed: head, lora")
    none = run_cli("study=other", "arm=lora", *options, program=predict)
    assert "other" in none.error


def test_a_folder_of_images_is_read_with_its_folders(
    images: Trained, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "ROWS", 10)
    out = tmp_path / "out.csv"
    (images.test / ".hidden.png").write_text("no image")
    done = asked(images, run_cli, f"input={images.test}", f"output={out}", "probabilities=true")
    assert done.code == 0, done
    rows = read(out)
    names = [f"{name}/{i:02}.png" for name in ("dark", "light") for i in range(24)]
    assert [row["file"] for row in rows] == names
    found = [[float(row[f"probability/{name}"]) for name in ("dark", "light")] for row in rows]
    np.testing.assert_allclose(found, probabilities(images.runs[0]), atol=1e-6)


def test_images_of_a_parquet_file_or_named_in_one_are_read(
    images: Trained, tmp_path: Path, run_cli: RunCli
) -> None:
    files = sorted(images.test.glob("*/*.png"))[20:30]
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    content = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    pq.write_table(pa.table({"img": content, "n": range(10)}), source)
    assert asked(images, run_cli, f"input={source}", f"output={out}").code == 0
    table = pq.read_table(out)
    assert table.schema.field("img") == pq.read_schema(source).field("img")
    found = table["probability"].to_numpy()
    np.testing.assert_allclose(found, probabilities(images.runs[0])[20:30].max(1), atol=1e-6)
    refused = asked(images, run_cli, f"input={source}", f"output={tmp_path}/out.csv")
    assert "cannot hold the bytes in column img; name a .parquet file" in refused.error
    named = images.test / "list.csv"
    named.write_text("image\n" + "".join(f"{p.parent.name}/{p.name}\n" for p in files))
    assert asked(images, run_cli, f"input={named}", f"output={tmp_path}/named.jsonl").code == 0
    rows = read(tmp_path / "named.jsonl")
    np.testing.assert_allclose([row["probability"] for row in rows], found, atol=1e-6)
    named.unlink()


BROKEN = {
    "text\nsunny\n\n'grey'\n": None,
    "text,n\nsunny,1\ngrey\n": "has 1 fields in line 3 but 2 in its header",
    "text\nsunny\n   \n": "has an empty text in line 3; fill or remove it",
    'text\nsunny\n"grey\n': "is broken in line 3: unexpected end of data",
    "words,n\nsunny,1\n": "has no column text; it has: words, n; set column",
    # The only column may be one of labels, or a text where there is no header.
    "id,label\n1,good\n": "was trained on; it has: id, label; set column=... to one of them",
    "a sunny day\nsome grey rain\n": "was trained on; it has: a sunny day; set column=...",
    "text,text\na,b\n": "has more than one column 'text'",
    "text,prediction\na,b\n": "has a column prediction already; prefix=...",
    "text\n": "has no rows",
    "": "has no columns",
}


@pytest.mark.parametrize(("content", "says"), BROKEN.items())
def test_a_broken_file_is_one_line_and_leaves_no_output(
    content: str, says: str | None, texts: Trained, tmp_path: Path, run_cli: RunCli
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(content)
    done = asked(texts, run_cli, f"input={source}", f"output={out}")
    if says is None:
        assert done.code == 0, done
        return
    assert says in done.error
    assert list(tmp_path.iterdir()) == [source]


def test_a_file_is_read_as_a_data_set_would_be(
    texts: Trained, tmp_path: Path, run_cli: RunCli
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes("v1;v2\nham;größer, sunny\n".encode("utf-16"))
    done = asked(texts, run_cli, f"input={source}", f"output={out}")
    assert done.code == 0, done
    (row,) = read(out)
    assert [row["v1"], row["v2"]] == ["ham", "größer, sunny"]
    assert "the text is in 'v2', by the names of the columns (column names another)" in done.out
    assert "semicolons" in done.out
    assert "UTF-16" in done.out
    named = asked(texts, run_cli, f"input={source}", f"output={tmp_path}/b.csv", "column=v1")
    assert "by the names" not in named.out


def test_the_column_of_the_training_comes_before_usual_names(
    texts: Trained, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = file.member

    def renamed(saved: SavedRun) -> Member:
        own = usual(saved)
        assert own.trained_on == ("text",)
        return replace(own, trained_on=("review",))

    monkeypatch.setattr(file, "member", renamed)
    source = tmp_path / "in.csv"
    said = []
    for header, option in (("text,Review", "top_k=1"), ("text,review", "column=text"),
                           ("text,comment", "top_k=1")):  # fmt: skip
        source.write_text(f"{header}\nsunny day,grey rain\n")
        out = tmp_path / f"{len(said)}.csv"
        done = asked(texts, run_cli, f"input={source}", f"output={out}", option)
        assert done.code == 0, done
        said.append((read(out)[0]["prediction"], "was trained on 'review'" in done.out))
    assert said == [("bad", False), ("good, really", False), ("good, really", True)]


def test_what_cannot_be_meant_is_refused_before_a_model_is_loaded(
    texts: Trained, images: Trained, tmp_path: Path, run_cli: RunCli
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\nsunny\n")

    def refused(*options: object, trained: Trained = texts) -> str:
        told = [f"input={source}", f"output={out}", *options]
        return asked(trained, run_cli, *told).error

    assert "is the input; name another" in refused(f"output={source}")
    assert "should end in .csv, .tsv, .jsonl, .parquet" in refused(f"output={tmp_path}/out.txt")
    assert "there is no folder" in refused(f"output={tmp_path}/no/out.csv")
    assert "is no file and no folder" in refused(f"input={tmp_path}/no.csv")
    assert "should end in .csv" in refused(f"input={texts.root}/own/test.xlsx", f"input={__file__}")
    assert "has no images" in refused(f"input={texts.test.parent}")
    assert "top_k=4 is more than the 3 classes" in refused("top_k=4")
    assert "study=... and arm=... go together" in refused("study=own")
    assert "should say which runs" in refused("run=null")
    assert "takes texts" in refused(f"input={images.test}")
    assert "has no column image; it has: text; set column=..." in refused(trained=images)
    assert "sunny is missing" in refused("column=text", trained=images)
    out.write_text("kept")
    assert "exists; name another file, or overwrite=true" in refused()
    assert out.read_text() == "kept"
    other = f"run=[{texts.runs[0].folder},{images.runs[0].folder}]"
    assert "have different classes" in refused(other, "overwrite=true")
