"""What a finished run on pairs of texts is good for: predicting, MLflow's model, transformers'."""

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
import torch
import yaml
from scipy.special import softmax

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizerFast,
    DistilBertConfig,
    GPT2Config,
    PreTrainedTokenizerFast,
    pipeline,
)

from adapterlab.app import cli
from adapterlab.app.predict_command import predict
from adapterlab.data.pairs import joins
from adapterlab.data.tokenizer import train_wordpiece
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.predicting import file
from lab import Outcome, compose

pytestmark = pytest.mark.usefixtures("no_pictures")

RunCli = Callable[..., Outcome]
WORDS = "abcdefgh"
MODELS = ("bert", "distilbert", "gpt2")
"""Told which text a token is of; not told, though the tokenizer would; not even a separator."""


@dataclass(frozen=True)
class Trained:
    """Two runs on pairs, and their test file."""

    root: Path
    name: str
    runs: tuple[RunResult, ...]
    test: Path

    def probabilities(self) -> Any:
        table = pq.read_table(self.runs[0].folder / "predictions.parquet")
        return softmax(np.array(table["logits"].to_pylist(), dtype=np.float64), axis=1)

    def rows(self) -> list[dict[str, str]]:
        with self.test.open(newline="") as opened:
            return list(csv.DictReader(opened, delimiter="\t"))


def tokenizer_of(name: str, folder: Path) -> PreTrainedTokenizerFast:
    if name == "gpt2":
        tokenizer = train_wordpiece([f"{a} {b}" for a in WORDS for b in WORDS], 60)
        tokenizer.backend_tokenizer.post_processor = None
        return tokenizer
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    return BertTokenizerFast(vocab=str(vocabulary))


def model_of(name: str) -> Any:
    small = {"vocab_size": 60, "num_labels": 2}
    config: Any
    if name == "bert":
        config = BertConfig(
            **small, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=32,
        )  # fmt: skip
    elif name == "distilbert":
        config = DistilBertConfig(
            **small, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=32
        )
    else:
        config = GPT2Config(**small, n_embd=16, n_layer=2, n_head=2, n_positions=32, pad_token_id=0)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    for parameter in model.parameters():
        parameter.data.mul_(4)  # so that order and types tell
    return model


@pytest.fixture(scope="module", params=MODELS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp(request.param)
    own, model = root / "alike", root / "model"
    own.mkdir()
    for split, count in (("train", 48), ("test", 20)):
        lines = ["n\tpremise\thypothesis\tlabel"]
        for i in range(count):
            first = " ".join(WORDS[(i * k) % 8] for k in range(1, 2 + i % 9))
            second = " ".join(WORDS[(i + k) % 8] for k in range(1 + i % 3))
            lines.append(f"{i}\t{first}\t{second}\t{'yes' if i % 2 else 'no'}")
        (own / f"{split}.tsv").write_text("\n".join(lines))
    model_of(request.param).save_pretrained(model)
    tokenizer_of(request.param, root).save_pretrained(model)
    options = (
        *("dataset=text_files", f"dataset.loader.path={own}", "dataset.max_length=12"),
        *("dataset.loader.text_column=[premise,hypothesis]", "dataset.loader.label_column=label"),
        *("model=hf", f"model.name_or_path={model}", "adapter=lora", "epochs=2", "batch_size=8"),
        *("optimizer.lr=0.003", "hardware=cpu", "hardware.threads=1", "tracking=none"),
        *("baseline=never", "mlflow_model=true"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        sweep = [compose(root, *options, f"init_seed={seed}") for seed in (0, 1)]
        runs = tuple(run_pack(sweep))
    assert all(isinstance(one, RunResult) for one in runs), runs
    return Trained(root, request.param, runs, own / "test.tsv")


def asked(trained: Trained, run_cli: RunCli, *options: object) -> Outcome:
    told = [str(option) for option in options]
    if not any(option.startswith("run=") for option in told):
        told.append(f"run={trained.runs[0].folder}")
    return run_cli(*told, "hardware=cpu", program=predict, root=trained.root)


def test_the_test_file_gets_the_runs_own_predictions(
    trained: Trained, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "ROWS", 7)
    out = tmp_path / "out.jsonl"
    done = asked(trained, run_cli, f"input={trained.test}", f"output={out}", "probabilities=true")
    assert done.code == 0, done
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [list(row)[:4] for row in rows] == [["n", "premise", "hypothesis", "label"]] * 20
    found = np.array([[row["probability/no"], row["probability/yes"]] for row in rows])
    np.testing.assert_allclose(found, trained.probabilities(), atol=1e-6)
    cut = "have more than 12 tokens, and are cut off as in training" in done.out
    assert cut == (trained.name != "gpt2")  # whose pairs have no tokens of their own
    renamed = tmp_path / "in.tsv"
    renamed.write_text(trained.test.read_text().replace("premise\thypothesis", "b\ta", 1))
    options = (f"input={renamed}", f"output={tmp_path / 'named.csv'}")
    refused = asked(trained, run_cli, *options).err
    assert "has no column premise; it has: " in refused
    assert "was trained on it; set column=[...,...] where it is called otherwise" in refused
    runs = f"run=[{','.join(str(one.folder) for one in trained.runs)}]"
    done = asked(trained, run_cli, *options, "column=[b,a]", runs, "probabilities=true")
    assert done.code == 0, done
    with (tmp_path / "named.csv").open() as opened:
        assert [row["b"] for row in csv.DictReader(opened)] == [row["premise"] for row in rows]


def test_one_column_and_an_empty_part_are_one_line(
    trained: Trained, tmp_path: Path, run_cli: RunCli
) -> None:
    if trained.name != MODELS[0]:
        pytest.skip("a file's columns are no matter of the model")
    out = f"output={tmp_path / 'out.csv'}"
    name = trained.runs[0].name
    for told, says in (
        ("premise", f"{name} takes pairs of texts; allowed: [FIRST,SECOND], two columns"),
        ("[premise,premise]", "should be one column, or two of pairs"),
    ):
        done = asked(trained, run_cli, f"input={trained.test}", out, f"column={told}")
        assert done.err.splitlines()[-1].startswith(f"error: column={told}")
        assert says in done.err
    source = tmp_path / "in.csv"
    source.write_text("premise,hypothesis\na b,c\na b, \n")
    empty = asked(trained, run_cli, f"input={source}", out)
    assert "has an empty hypothesis in line 3; fill or remove it" in empty.err


def loaded(trained: Trained) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(str(trained.runs[0].folder / "model"))


def test_the_mlflow_model_takes_two_texts_and_gives_the_runs_answers(trained: Trained) -> None:
    model = loaded(trained)
    assert [column.name for column in model.metadata.signature.inputs] == ["text", "text_pair"]
    assert list(model.input_example.columns) == ["text", "text_pair"]
    pairs = [(row["premise"], row["hypothesis"]) for row in trained.rows()]
    table = pd.DataFrame(pairs, columns=["text", "text_pair"])
    answers = model.predict(table, params={"probabilities": True})
    found = answers[["probability/no", "probability/yes"]].to_numpy()
    np.testing.assert_allclose(found, trained.probabilities(), atol=1e-5)
    turned = model.predict(table.rename(columns={"text": "text_pair", "text_pair": "text"}))
    assert not np.allclose(turned["probability"], answers["probability"], atol=1e-3)
    assert model.predict(table.iloc[:0]).empty
    inputs = yaml.safe_load(
        next((trained.runs[0].folder / "model").rglob("inputs.json")).read_text()
    )
    assert (inputs["joined"], inputs["typed"]) == {
        "bert": (True, True), "distilbert": (True, False), "gpt2": (False, False)
    }[trained.name]  # fmt: skip


def test_mlflows_scoring_server_answers_and_refuses_half_a_pair(trained: Trained) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    from mlflow.pyfunc.scoring_server import init

    client = testclient.TestClient(init(loaded(trained)), raise_server_exceptions=False)
    records = [{"text": row["premise"], "text_pair": row["hypothesis"]} for row in trained.rows()]
    response = client.post("/invocations", json={"dataframe_records": records})
    assert response.status_code == 200, response.text
    found = [row["probability"] for row in response.json()["predictions"]]
    np.testing.assert_allclose(found, trained.probabilities().max(1), atol=1e-5)
    for half in ({"text": "a"}, {"text": "a", "text_pair": None}):
        response = client.post("/invocations", json={"dataframe_records": [records[0], half]})
        assert response.status_code == 400, response.text
        assert "text_pair" in response.text


def test_transformers_pipeline_reads_what_was_exported(
    trained: Trained, tmp_path: Path, run_cli: RunCli
) -> None:
    to = tmp_path / "out"
    done = run_cli(f"run={trained.runs[0].folder}", f"to={to}", root=tmp_path, program=cli.export)
    assert done.code == 0, done
    classify = pipeline("text-classification", model=str(to), truncation=True, top_k=None)
    joined = joins(classify.tokenizer)
    assert ("token_type_ids" in classify.tokenizer.model_input_names) == (trained.name == "bert")
    assert joined == (trained.name != "gpt2")
    usage = "classify({'text': ..., 'text_pair': ...})" if joined else "classify(FIRST + '\\n'"
    assert usage in (to / "README.md").read_text()
    assert usage in done.out
    for row, wanted in zip(trained.rows()[:6], trained.probabilities(), strict=False):
        pair: Any = {"text": row["premise"], "text_pair": row["hypothesis"]}
        answer = classify(pair if joined else "\n".join(pair.values()))
        found = {one["label"]: one["score"] for one in (answer if joined else answer[0])}
        assert [found["no"], found["yes"]] == pytest.approx(wanted.tolist(), abs=1e-5)
