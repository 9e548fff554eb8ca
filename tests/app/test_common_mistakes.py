"""Mistakes that many make: the line says what to write instead."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lab import Outcome

RunCli = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("adapter.ranks=3", "head (did you mean rank?)"),
        ("lr=1e-3", "lr is not an option: it is optimizer.lr, or base.optimizer.lr"),
        ("optimizer.learning_rate=1", "optimizer.learning_rate is not an option: it is opt"),
        ("rank=4", "rank is not an option: it is adapter.rank"),
        ("dataset.shape=[32,32]", "dataset.shape=[32, 32] should be [channels, height, width], su"),
        ("limit=train:100", "limit='train:100' should be a number of examples of every split, su"),
        ("limit=train=100", "or of each: 'limit={train: 4000, test: 800}'"),
        ("limit.train=100", "limit.train is not an option: limit is a number of examples of every"),
        ("budget=0.05", "budget=0.05 should be a number of parameters, such as 10000, or a share"),
        ("dataset.classes=[0,1]", "quotes, such as \"dataset.classes=['0','1']\""),
        ("study=R&D, 2024", "the first a letter, digit or '_'; such as R-D-2024"),
        ("study='R&D, 2024'", "the first a letter, digit or '_'; such as R-D-2024"),
        ("tracking.experiment=R&D's", "is written \"tracking.experiment='R&D\\'s'\""),
        ("compare_on=mcc", "is said to the report, as scripts/report.py study=NAME compare_on=..."),
        ("dataset=/x/y.csv", "data of your own are dataset=text_files dataset.loader.path=/x/y.c"),
    ],
)  # fmt: skip
def test_the_line_says_what_to_write(option: str, line: str, run_cli: RunCli) -> None:
    assert line in run_cli(option).error


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("hydra.launcher.processes=2", "is an option of hydra/launcher=packed only"),
        ("hydra.sweeper.lanes=3", "is an option of hydra/sweeper=tuned only"),
        ("hydra.sweeper.nosuch=3", "is not an option; allowed: max_batch_size, params"),
    ],
)
def test_an_option_of_a_plugin_names_the_plugin(option: str, line: str, run_cli: RunCli) -> None:
    assert run_cli("-m", "adapter=lora,head", option).error.endswith(line)


def test_a_data_set_that_is_a_place_is_told_by_what_is_there(
    tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reviews.csv").write_text("text,label\n")
    (tmp_path / "birds" / "train" / "owl").mkdir(parents=True)
    (tmp_path / "birds" / "train" / "owl" / "0.jpg").touch()
    monkeypatch.chdir(tmp_path)
    for place, kind in (("reviews.csv", "text_files"), ("birds", "image_folder")):
        error = run_cli(f"dataset={place}").error
        assert error.endswith(f"data of your own are dataset={kind} dataset.loader.path={place}")


def test_an_adapter_is_no_model(tmp_path: Path, run_cli: RunCli) -> None:
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "films/bert", "peft_type": "LORA"})
    )
    error = run_cli("dataset=emotion", "model=hf", f"model.name_or_path={tmp_path}").error
    assert f"{tmp_path} is an adapter of films/bert, not a model" in error
    assert f"; set model.name_or_path=films/bert base=peft base.path={tmp_path}, or" in error
    told = ["dataset=emotion", "model=bert_tiny", "base=checkpoint", f"base.path={tmp_path}"]
    error = run_cli(*told).error
    assert error.endswith(
        f"is a folder; allowed: a file of weights; an adapter is base=peft base.path={tmp_path}"
    )


def test_a_run_is_no_model_either(tmp_path: Path, run_cli: RunCli) -> None:
    (tmp_path / "provenance.json").write_text("{}")
    model = ["dataset=emotion", "model=hf", f"model.name_or_path={tmp_path}"]
    assert (
        f"is a run, not a model; export it (scripts/export.py run={tmp_path}"
        in run_cli(*model).error
    )
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft" / "adapter_config.json").write_text("{}")
    assert run_cli(*model).error.endswith(f", or set base=peft base.path={tmp_path}/peft")
    told = ["dataset=emotion", "model=minilm", "base=peft"]
    error = run_cli(*told, f"base.path={tmp_path}").error
    assert error.endswith(f"is a run; its adapter is base.path={tmp_path}/peft")
    file = tmp_path / "provenance.json"
    assert (
        "weights of a whole model in a file are base=checkpoint"
        in run_cli(*told, f"base.path={file}").error
    )


def test_many_labels_are_a_short_line(tmp_path: Path, run_cli: RunCli) -> None:
    rows = "".join(f"word {i},this is label number {i}\n" * 2 for i in range(700))
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("text,label\n" + rows)
    error = run_cli(
        "dataset=text_files", f"dataset.loader.path={tmp_path}", "model=bert_tiny", "base=scratch",
        "dataset.classes=[a,b]",
    ).error  # fmt: skip
    assert len(error) < 600
    (tmp_path / "test.csv").write_text("text,label\nx,other\n")
    error = run_cli(
        "dataset=text_files", f"dataset.loader.path={tmp_path}", "model=bert_tiny", "base=scratch"
    ).error
    assert "has label 'other' in line 2; allowed: this is label number 0, " in error
    assert error.endswith("... (700 in all)")
    assert len(error) < 600


class TestAPlanRefusesWhatTheRunDoes:
    def own(self, folder: Path, rows: str) -> list[str]:
        for split in ("train", "test"):
            (folder / f"{split}.csv").write_text(f"phrase;label\n{rows}")
        own = ["dataset=text_files", f"dataset.loader.path={folder}", "base=scratch"]
        return [*own, "model=bert_tiny", "dataset.classes=[neg,pos]"]

    def test_of_own_data_and_says_how_they_are_read(self, tmp_path: Path, run_cli: RunCli) -> None:
        told = self.own(tmp_path, "good;pos\nbad;neg\n" * 10)
        outcome = run_cli(*told, "plan=true")
        assert outcome.code == 0, outcome.err
        said = " ".join(outcome.out.split())
        assert "note: train.csv, test.csv: columns are between semicolons" in said
        assert "note: train.csv, test.csv: the text is in 'phrase', by the names of the" in said
        told = self.own(tmp_path, "good;pos\nfine;pos\n" * 10)
        errors = {run_cli(*told, *plan).error for plan in ([], ["plan=true"])}
        (error,) = errors
        assert "has the label 'pos' in all of its 20 rows: nothing can be learnt" in error
        told = self.own(tmp_path, "good;pos\ngood;neg\n" * 10)
        sweep = ["-m", "hydra/launcher=packed", "hydra.launcher.processes=1", "seed=0,1"]
        told.append("hardware.precision=32-true")
        ways = ([], ["plan=true"], [*sweep, "plan=true"])
        errors = {run_cli(*told, *way).error for way in ways}
        (error,) = errors
        assert "all 20 training texts are the same as" in error

    def test_of_weights(self, tmp_path: Path, run_cli: RunCli) -> None:
        save_file({"body.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
        told = ["base=checkpoint", f"base.path={tmp_path}/other.safetensors", "dataset=digits"]
        sweep = ["-m", "hydra/launcher=packed", "hydra.launcher.processes=1", "seed=0,1"]
        ways = ([], ["plan=true"], sweep, [*sweep, "plan=true"])
        errors = {run_cli(*told, *way).error for way in ways}
        (error,) = errors
        assert "base weights (other.safetensors) are not this model's" in error
