"""Runs as MLflow models: loaded where AdapterLab is not, registered, and served."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image
from scipy.special import softmax

from adapterlab.app import cli
from adapterlab.runs.data import load_data
from adapterlab.runs.export import mlflow_model
from adapterlab.runs.export.folder import ExportError
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.folders.integrity import damage
from adapterlab.runs.identity import config_hash
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.single import run
from adapterlab.tracking.stores.uris import default_uri
from lab import TINY, Outcome, mlflow_process, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

RunCli = Callable[..., Outcome]
WORDS = {"good, really": "sunny day", "größer": "tall tower"}
TRACKED = [option for option in TINY if option != "tracking=none"]


@dataclass(frozen=True)
class Trained:
    """A finished run with its MLflow model, and rows of its test split as others have them."""

    root: Path
    result: RunResult
    rows: list[dict[str, Any]]

    @property
    def folder(self) -> Path:
        return self.result.folder / "model"

    def probabilities(self) -> Any:
        table = pq.read_table(self.result.folder / "predictions.parquet")
        logits = np.array(table["logits"].to_pylist(), dtype=np.float64)
        return softmax(logits, axis=1)[: len(self.rows)]


@pytest.fixture(scope="module", params=["texts", "images"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of each kind, with `mlflow_model=true`."""
    root = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        patch.setattr(sys, "dont_write_bytecode", False)  # whatever the environment says
        trained = (_texts if request.param == "texts" else _images)(root)
    # Bytecode names the folder that it was compiled in; whoever loads the model makes their own.
    assert not list(trained.folder.rglob("__pycache__"))
    return trained


def _texts(root: Path) -> Trained:
    folder = root / "own"
    folder.mkdir()
    for name, ends in (("train", " and"), ("test", " more")):
        lines = [
            json.dumps(
                {"text": f"{word} number {i} " + "and more " * (i % 7) + ends, "label": label}
            )
            for i in range(24)
            for label, word in WORDS.items()
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    config = tiny(
        root,
        *("dataset=text_files", f"dataset.loader.path={folder}", "dataset.max_length=12"),
        *("model=bert_tiny", "model.hidden_size=32", "model.vocab_size=300", "base=scratch"),
        *("adapter=lora", "epochs=4", "batch_size=8", "optimizer.lr=0.003", "mlflow_model=true"),
    )
    lines = (folder / "test.jsonl").read_text().splitlines()
    return Trained(root, run(config), [{"text": json.loads(line)["text"]} for line in lines[:20]])


def _images(root: Path) -> Trained:
    """Images over a base of another shape and other channels: they are brought to both."""
    config = tiny(root, "dataset.shape=[3,9,9]", "mlflow_model=true", "limit=null", "epochs=1")
    rows = []
    for image in load_data(config).target.test.images[:20]:
        buffer = BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, format="PNG")
        rows.append({"image": buffer.getvalue()})
    return Trained(root, run(config), rows)


ALONE = """
import importlib.metadata as metadata, importlib.machinery, json, re, sys
folder, rows = sys.argv[1:]
stated = open(folder + "/requirements.txt").read().split()
allowed, wanted = set(), [re.split("[=<>!~; (\\\\[]", line)[0] for line in stated]
while wanted:
    name = re.sub("[-_.]+", "-", wanted.pop()).lower()
    if name in allowed:
        continue
    allowed.add(name)
    try:
        needed = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        continue
    wanted += [re.split("[=<>!~; (\\\\[]", one)[0] for one in needed if "extra ==" not in one]
installed = metadata.packages_distributions()
kept = {re.sub("[-_.]+", "-", d).lower() in allowed and m or None
        for m, ds in installed.items() for d in ds}
others = set(installed) - kept | {"adapterlab"}

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in others:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(f) if hasattr(f, "find_spec") else f for f in sys.meta_path]
assert "adapterlab" in others and "torch" not in others
import base64, mlflow.pyfunc, pandas
rows = [{k: base64.b64decode(v) if k == "image" else v for k, v in row.items()}
        for row in json.loads(rows)]
model = mlflow.pyfunc.load_model(folder)
answers = model.predict(pandas.DataFrame(rows), params={"probabilities": True})
print(json.dumps(answers.to_dict("list")))
"""


def in_json(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}
        for row in rows
    ]


def require_answers(answers: Any, trained: Trained) -> None:
    wanted, classes = trained.probabilities(), trained.result.classes
    assert [answers["prediction"][i] for i in range(len(wanted))] == [
        classes[i] for i in wanted.argmax(1)
    ]
    np.testing.assert_allclose(answers["probability"], wanted.max(1), atol=1e-5)
    for label, name in enumerate(classes):
        if f"probability/{name}" in answers:
            found = answers[f"probability/{name}"]
            np.testing.assert_allclose(found, wanted[:, label], atol=1e-5)


def test_a_process_with_the_stated_requirements_alone_gets_the_runs_answers(
    trained: Trained, tmp_path: Path
) -> None:
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(trained.folder), json.dumps(in_json(trained.rows))],
        capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False,
        env=plain | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == 2 + len(trained.result.classes)
    require_answers(answers, trained)


def test_mlflows_server_answers_real_requests(trained: Trained, tmp_path: Path) -> None:
    if "text" in trained.rows[0]:
        pytest.skip("a server takes five seconds to start, and images are the harder case")
    pytest.importorskip("uvicorn", reason="MLflow's scoring server is not installed")
    told = ("models", "serve", "--env-manager", "local", "--model-uri", str(trained.folder))
    with mlflow_process(trained.root, *told, cwd=tmp_path) as address:
        body = json.dumps({"dataframe_records": in_json(trained.rows)}).encode()
        request = urllib.request.Request(
            f"{address}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answers = json.load(response)["predictions"]
    table = {name: [row[name] for row in answers] for name in ("prediction", "probability")}
    require_answers(table, trained)


def test_what_is_written_names_no_place_of_this_machine(trained: Trained) -> None:
    description = yaml.safe_load((trained.folder / "MLmodel").read_text())
    assert description["signature"]["params"]
    assert description["saved_input_example_info"]
    for path in trained.folder.rglob("*"):
        if path.is_file() and path.suffix not in (".safetensors", ".pt2", ".pyc"):
            assert str(trained.root) not in path.read_text(), path
            assert "adapterlab." not in path.read_text().replace("adapterlab.run:", ""), path


def test_the_model_is_one_of_the_runs_files(trained: Trained) -> None:
    folder = RunFolder(trained.result.folder)
    assert damage(folder) == []
    weights = next((trained.folder / "artifacts").rglob("*.*"))
    before = weights.read_bytes()
    weights.write_bytes(b"cut short")
    assert damage(folder) == [weights.relative_to(folder.path).as_posix()]
    weights.write_bytes(before)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[RunResult]]]:
    """A pack of two lanes, one of which keeps its model."""
    root = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        common = (*TRACKED, "tracking=mlflow", "study=models")
        configs = [
            tiny(root, *common, "seed=0"),
            tiny(root, *common, "seed=1", "mlflow_model=true"),
        ]
        results = run_pack(configs)
        yield root, [result for result in results if isinstance(result, RunResult)]


def test_a_run_in_a_pack_keeps_its_model_and_one_that_has_none_gets_it_later(
    tracked: tuple[Path, list[RunResult]], run_cli: RunCli
) -> None:
    root, (without, having) = tracked
    client = MlflowClient(default_uri(root / "mlruns"))
    assert not client.list_artifacts(without.run_id, "model")
    assert client.list_artifacts(having.run_id, "model")
    told = ("to=mlflow", "hardware=cpu", "registered_model_name=digits")
    for number, one in enumerate((without, having), start=1):
        options = (*told, "overwrite=true") if one is having else told
        done = run_cli(f"run={one.run_id}", *options, program=cli.export, root=root)
        assert done.code == 0, done
        assert f"kept as:         runs:/{one.run_id}/model, models:/digits/{number}" in done.out
    again = run_cli(f"run={having.folder}", *told, program=cli.export, root=root)
    assert "has an MLflow model already" in again.error
    import mlflow

    uri = default_uri(root / "mlruns")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        loaded = mlflow.pyfunc.load_model("models:/digits/1")
        assert loaded.metadata.run_id == without.run_id
        (column,) = loaded.metadata.signature.inputs.inputs
        assert (column.name, column.type.name) == ("image", "binary")
        example = loaded.input_example
        answers = loaded.predict(example)
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    assert set(answers["prediction"]) <= set(without.classes)


def test_what_goes_with_something_else_is_one_line(
    trained: Trained, run_cli: RunCli, tmp_path: Path
) -> None:
    wrong = run_cli(
        f"run={trained.result.folder}", f"to={tmp_path / 'out'}", "registered_model_name=a",
        program=cli.export, root=trained.root,
    )  # fmt: skip
    assert wrong.error == "registered_model_name=a goes with to=mlflow"
    if trained.result.run_id is None:
        never = run_cli(
            f"run={trained.result.folder}", "to=mlflow", program=cli.export, root=trained.root
        )
        assert "was not tracked" in never.error


def test_it_is_no_part_of_what_a_run_computes(tmp_path: Path) -> None:
    assert config_hash(tiny(tmp_path)) == config_hash(tiny(tmp_path, "mlflow_model=true"))


def test_a_model_that_answers_otherwise_is_not_kept_and_the_run_says_so(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(*arguments: Any) -> float:
        raise ExportError("no MLflow model was written: its probabilities differ")

    monkeypatch.setattr(mlflow_model, "_compared", wrong)
    result = run(tiny(lab_root, "mlflow_model=true", "study=wrong", "adapter=head"))
    assert result.missing["mlflow_model"].startswith("no MLflow model was written")
    assert not (result.folder / "model").exists()
    assert not list(result.folder.glob(".model*"))
    assert "probabilities differ" in caplog.text
