"""What runs of several labels or of a number are good for: predicting, and MLflow's model."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.special import expit

from adapterlab.app import cli
from adapterlab.app.predict_command import predict
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.predicting import file
from lab import Outcome, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

RunCli = Callable[..., Outcome]
KINDS = [
    ("multi_label", "pairs"),
    ("multi_label", "images"),
    ("regression", "texts"),
    ("regression", "images"),
]
NAMES = ("d, or e", "f", "größer")


@dataclass(frozen=True)
class Trained:
    """Two seeds of an arm, with MLflow models, and the file or folder of their test rows."""

    root: Path
    task: str
    content: str
    runs: tuple[RunResult, ...]
    test: Path

    def outputs(self, run: int = 0) -> Any:
        """What a run says of the test rows, in their order: probabilities, or numbers."""
        table = pq.read_table(self.runs[run].folder / "predictions.parquet")
        if self.task == "regression":
            return table["prediction"].to_numpy()
        return expit(np.array(table["logits"].to_pylist(), dtype=np.float64))

    def labels(self, run: int = 0) -> list[list[str]]:
        table = pq.read_table(self.runs[run].folder / "predictions.parquet")
        return [[NAMES[i] for i in row] for row in table["prediction"].to_pylist()]

    def limits(self, run: int = 0) -> Any:
        """The thresholds that a run logged, by its own names of metrics."""
        logged = self.runs[run].metrics
        return np.array([logged[f"test/threshold/{name}"] for name in ("d_ or e", "f", "größer")])

    def rows(self) -> pd.DataFrame:
        """The test rows as an MLflow model takes them."""
        if self.content == "images":
            paths = sorted(self.test.glob("*.png"))
            return pd.DataFrame({"image": [path.read_bytes() for path in paths]})
        lines = [json.loads(line) for line in self.test.read_text().splitlines()]
        columns = ["text", "second"] if self.content == "pairs" else ["text"]
        table = pd.DataFrame([[line[name] for name in columns] for line in lines])
        table.columns = ["text", "text_pair"][: len(columns)]
        return table


def _texts(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 64), ("test", 20)):
        rows = []
        for _ in range(count):
            letters = rng.choice(list("abcdef"), size=int(rng.integers(3, 7)))
            found = [name for name, there in zip(NAMES, "def", strict=True) if there in letters]
            half = len(letters) // 2
            late = 1000.0 * sum(letter > "c" for letter in letters) + 5000
            text, second = " ".join(letters[:half]), " ".join(letters[half:])
            rows.append({"text": text, "second": second, "labels": found, "late": late})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def _images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    with (folder / "labels.csv").open("w") as opened:
        told = csv.writer(opened)
        told.writerow(["file", "labels", "late", "split"])
        for split, count in (("train", 64), ("test", 20)):
            (folder / split).mkdir()
            for i in range(count):
                on = rng.integers(0, 2, 3)
                pixels = np.repeat(on * 150, 2)[:, None] + rng.integers(0, 60, (6, 6))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / f"{i:02}.png")
                found = [name for name, there in zip(NAMES, on, strict=True) if there]
                told.writerow([f"{split}/{i:02}.png", json.dumps(found), pixels.mean(), split])


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: " ".join(kind))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    task, content = request.param
    root = tmp_path_factory.mktemp("root")
    own = root / "own"
    own.mkdir()
    (_images if content == "images" else _texts)(own)
    column = {"multi_label": "labels", "regression": "late"}[task]
    options = [f"dataset.loader.path={own}", f"dataset.loader.label_column={column}"]
    if content == "images":
        options += ["dataset=image_folder", "model=mlp", "model.widths=[16]"]
        options += ["dataset.loader.labels=labels.csv", "dataset.loader.split_column=split"]
    else:
        options += ["dataset=text_files", "dataset.max_length=8", "model=bert_tiny"]
        options += ["model.hidden_size=16", "model.vocab_size=60"]
        options += ["dataset.loader.text_column=" + ("[text,second]", "text")[content == "texts"]]
    options += [f"task={task}", "base=scratch", "adapter=full", "epochs=3", "batch_size=8"]
    options += ["tracking=mlflow", "study=after", "mlflow_model=true", "limit=null"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        runs = run_pack([tiny(root, *options, f"seed={seed}") for seed in (0, 1)])
    results = tuple(
        one for one in runs if isinstance(one, RunResult) and "mlflow_model" not in one.missing
    )
    assert len(results) == 2, runs
    test = own / "test" if content == "images" else own / "test.jsonl"
    return Trained(root, task, content, results, test)


def asked(trained: Trained, run_cli: RunCli, *options: object) -> Outcome:
    told = [str(option) for option in options]
    if not any(option.startswith(("run=", "study=")) for option in told):
        told.append(f"run={trained.runs[0].folder}")
    told += [f"input={trained.test}", "hardware=cpu"]
    return run_cli(*told, program=predict, root=trained.root)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    with path.open(newline="") as opened:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in opened]
        return list(csv.DictReader(opened))


def probabilities_in(table: Any) -> Any:
    return np.stack([np.asarray(table[f"probability/{name}"]) for name in NAMES], axis=1)


def test_the_test_rows_get_the_runs_own_answers(
    trained: Trained, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "ROWS", 7)
    for suffix in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"out.{suffix}"
        done = asked(trained, run_cli, f"output={out}")
        assert done.code == 0, done
        rows = read(out)
        found = [row["prediction"] for row in rows]
        if trained.task == "regression":
            np.testing.assert_allclose(np.array(found, float), trained.outputs(), rtol=1e-5)
            assert "prediction" in done.out
            assert "on average" in done.out
            assert not [name for name in rows[0] if name.startswith("prob")]
            continue
        said = [json.loads(one) for one in found] if suffix == "csv" else found
        assert said == trained.labels()
        shares = np.array([[float(row[f"probability/{name}"]) for name in NAMES] for row in rows])
        np.testing.assert_allclose(shares, trained.outputs(), atol=1e-6)
        assert [
            [NAMES[i] for i in np.flatnonzero(row)] for row in shares > trained.limits()
        ] == said


def test_an_arms_seeds_answer_together(trained: Trained, tmp_path: Path, run_cli: RunCli) -> None:
    out = tmp_path / "out.parquet"
    done = asked(trained, run_cli, "study=after", "arm=full", f"output={out}")
    assert done.code == 0, done
    table = pq.read_table(out)
    own = np.stack([trained.outputs(run) for run in (0, 1)])
    if trained.task == "regression":
        np.testing.assert_allclose(table["prediction"].to_numpy(), own.mean(0), rtol=1e-5)
        np.testing.assert_allclose(table["deviation"].to_numpy(), own.std(0, ddof=1), rtol=1e-3)
        return
    mean, limits = own.mean(0), np.stack([trained.limits(run) for run in (0, 1)])
    np.testing.assert_allclose(probabilities_in(table), mean, atol=1e-6)
    said = mean > limits.mean(0)
    named = [[NAMES[i] for i in np.flatnonzero(row)] for row in said]
    assert table["prediction"].to_pylist() == named
    agreed = ((own > limits[:, None]) == said).all(2).mean(0)
    np.testing.assert_array_equal(table["agreement"].to_numpy(), agreed)


def test_what_is_of_classes_is_refused(trained: Trained, tmp_path: Path, run_cli: RunCli) -> None:
    out = f"output={tmp_path / 'out.csv'}"
    done = asked(trained, run_cli, out, "top_k=2")
    assert f"exclude each other, and the run has task={trained.task}" in done.error
    if trained.task == "regression":
        assert (
            "probabilities=true is of" in asked(trained, run_cli, out, "probabilities=true").error
        )
    assert not list(tmp_path.iterdir())


def loaded(trained: Trained) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(str(trained.runs[0].folder / "model"))


def require_answers(answers: Any, trained: Trained) -> None:
    if trained.task == "regression":
        np.testing.assert_allclose(answers["prediction"], trained.outputs(), rtol=1e-5)
        return
    np.testing.assert_allclose(probabilities_in(answers), trained.outputs(), atol=1e-5)
    assert [list(row) for row in answers["prediction"]] == trained.labels()


def test_the_mlflow_model_gives_the_runs_answers_and_its_signature_says_which(
    trained: Trained,
) -> None:
    model, rows = loaded(trained), trained.rows()
    answers = model.predict(rows)
    require_answers(answers, trained)
    assert [one.name for one in model.metadata.signature.inputs] == list(rows.columns)
    assert list(model.input_example.columns) == list(rows.columns)
    said = {one.name: str(one.type) for one in model.metadata.signature.outputs}
    assert list(said) == list(answers.columns)
    number = trained.task == "regression"
    assert said.pop("prediction") == ("DataType.double" if number else "Array(string)")
    assert set(said.values()) <= {"DataType.double"}
    assert list(model.predict(rows.iloc[:0]).columns) == list(answers.columns)


def test_mlflows_scoring_server_answers(trained: Trained) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    from mlflow.pyfunc.scoring_server import init

    client = testclient.TestClient(init(loaded(trained)), raise_server_exceptions=False)
    body = trained.rows().to_json(orient="split") if trained.content != "images" else None
    if body is None:
        import base64

        images = [[base64.b64encode(one).decode()] for one in trained.rows()["image"]]
        body = json.dumps({"columns": ["image"], "data": images})
    told = {"content-type": "application/json"}
    content = f'{{"dataframe_split": {body}}}'
    response = client.post("/invocations", content=content, headers=told)
    assert response.status_code == 200, response.text
    require_answers(pd.DataFrame(response.json()["predictions"]), trained)


def test_a_run_that_has_none_gets_its_model_later(trained: Trained, run_cli: RunCli) -> None:
    told = (f"run={trained.runs[1].run_id}", "to=mlflow", "hardware=cpu", "overwrite=true")
    done = run_cli(*told, program=cli.export, root=trained.root)
    assert done.code == 0, done
    assert f"runs:/{trained.runs[1].run_id}/model" in done.out
