"""Folds of one data set: one run that is tested on every example once."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterlab.app import cli
from adapterlab.evidence.metrics import classification_metrics
from adapterlab.reporting.reading.folds import PARTS, pooled
from adapterlab.reporting.reading.logged import PREDICTIONS, read_answers
from adapterlab.reporting.reading.runs import NAMING, Replicate, Run, Status
from adapterlab.reporting.reading.study import TEST_EXAMPLES, arms_of
from adapterlab.runs.packs.pack import run_pack
from adapterlab.tracking.note_tags import notes_in
from lab import TINY, Outcome, compose

CLASSES = ("no", "yes")


def fold_of(
    folder: Path, fold: int, *, seed: int = 0, adapter: str = "lora", folds: int = 3
) -> Run:
    """Return a run of one fold: rows whose number divided by `folds` leaves it."""
    rows = np.arange(fold, 12, folds)
    draw = np.random.default_rng([fold, seed, len(adapter)])
    logits, labels = draw.normal(size=(len(rows), 2)), rows % 2
    place = folder / f"{adapter}-{fold}-{seed}"
    path = place / PREDICTIONS
    path.parent.mkdir(parents=True)
    table = pa.table({"row": rows, "label": labels, "logits": logits.tolist()})
    pq.write_table(table.replace_schema_metadata({"classes": "\n".join(CLASSES)}), path)
    tags = {
        "dataset": "small", "strategy": adapter, "test_hash": f"of{fold}", "data_hash": f"d{fold}",
        NAMING: f"adapter={adapter} dataset.loader.fold={fold}",
        "data_notes": f"cut by class; part {fold} of 3",
    }  # fmt: skip
    params = {
        "adapter.name": adapter, "dataset.loader.folds": str(folds), "init_seed": str(seed),
        "dataset.loader.fold": str(fold), "order_seed": str(seed),
    }  # fmt: skip
    return Run(
        run_id=f"{adapter}{fold}{seed}", arm=f"{adapter}{fold}", tags=tags, params=params,
        metrics={"test/accuracy": 0.1, "best/val_accuracy": fold / 2, TEST_EXAMPLES: len(rows)},
        artifacts=str(place), replicate=Replicate(seed, seed), started=10 + fold,
    )  # fmt: skip


def test_the_folds_of_a_seed_are_one_run_over_all_rows(tmp_path: Path) -> None:
    runs = [
        fold_of(tmp_path, fold, seed=seed, adapter=adapter)
        for adapter in ("lora", "head") for seed in (0, 1) for fold in (2, 0, 1)
    ]  # fmt: skip
    together, (note,) = pooled(runs, tmp_path / "cache")
    assert note.startswith("small: all 3 folds are one test")
    arms = arms_of(together)
    assert {arm.name: len(arm.runs) for arm in arms} == {"lora": 2, "head": 2}
    assert len({run.test_hash for run in together}) == 1
    first = together[0]
    assert (first.replicate, first.started, first.tags[PARTS]) == (Replicate(0, 0), 10, "0,1,2")
    assert notes_in(first.tags) == ["cut by class"]
    table = pq.read_table(f"{first.artifacts}/{PREDICTIONS}")
    assert table["row"].to_pylist() == list(range(12))
    by_fold = [pq.read_table(f"{run.artifacts}/{PREDICTIONS}") for run in runs[:3]]
    for part in by_fold:
        for row, logits in zip(part["row"].to_pylist(), part["logits"].to_pylist(), strict=True):
            assert table["logits"][row].as_py() == logits
    logits = np.array(table["logits"].to_pylist())
    expected = classification_metrics(logits, np.arange(12) % 2, CLASSES)
    assert {
        f"test/{name}": value for name, value in expected.items()
    }.items() <= first.metrics.items()
    assert first.metrics["best/val_accuracy"] == pytest.approx(0.5)
    assert first.metrics[TEST_EXAMPLES] == 12
    answers, why = read_answers(arms[0].runs)
    assert answers is not None, why
    assert answers.predicted.shape == (2, 12)


def test_a_set_that_lacks_a_fold_counts_as_a_run_that_failed(tmp_path: Path) -> None:
    runs = [fold_of(tmp_path, fold) for fold in range(3)]
    runs += [fold_of(tmp_path, fold, seed=1) for fold in (0, 2)]
    died = fold_of(tmp_path, 1, seed=2)
    runs += [replace(died, status=Status.DIVERGED, reason="nan"), fold_of(tmp_path, 0, seed=2),
             fold_of(tmp_path, 2, seed=2)]  # fmt: skip
    (arm,) = arms_of(pooled(runs, tmp_path / "cache")[0])
    assert [run.replicate.init for run in arm.runs] == [0]
    assert [(run.replicate.init, run.status, run.reason) for run in arm.lost] == [
        (1, Status.FAILED, "fold 1 was not run"), (2, Status.DIVERGED, "fold 1: nan"),
    ]  # fmt: skip


def test_runs_of_two_precisions_are_no_set(tmp_path: Path) -> None:
    """The later ones took the places of the others."""
    runs = [fold_of(tmp_path, fold) for fold in range(3)]
    exact = [
        replace(run, run_id=f"{run.run_id}64", tags={**run.tags, "precision": "64-true"})
        for run in runs
    ]
    together, _ = pooled([*runs, *exact], tmp_path / "cache")
    assert len({run.arm for run in together}) == len(together) == 2


def test_what_is_no_set_of_folds_stays_as_it_is(tmp_path: Path) -> None:
    whole = fold_of(tmp_path, 0, adapter="full")
    whole = replace(whole, params={**whole.params, "dataset.loader.folds": "None"})
    one = [fold_of(tmp_path, 1, seed=seed) for seed in (0, 1)]
    assert pooled([whole, *one], tmp_path / "cache") == ([whole, *one], [])
    some, (note,) = pooled([*one, fold_of(tmp_path, 0, seed=0)], tmp_path / "cache")
    assert "2 of 3 folds are one test" in note
    assert [run.status for run in some] == [Status.FINISHED, Status.FAILED]


def test_predictions_that_do_not_fit_together_are_said_and_left(tmp_path: Path) -> None:
    runs = [fold_of(tmp_path, fold) for fold in (0, 1)]
    path = Path(runs[1].artifacts) / PREDICTIONS
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "row", pa.array([0, 1, 2, 3])), path)
    kept, (note,) = pooled(runs, tmp_path / "cache")
    assert kept == runs
    assert note == "small: folds are not put together: a row was tested in two folds"
    path.unlink()
    _, (note,) = pooled(runs, tmp_path / "cache")
    assert note.endswith("the run of seed 0 kept no predictions")


@pytest.mark.usefixtures("no_pictures")
def test_a_report_of_real_folds_counts_every_row_once(tmp_path: Path, run_cli: object) -> None:
    lines = [{"text": f"{'ab'[i % 2]} c{i}", "label": CLASSES[i % 2]} for i in range(24)]
    (tmp_path / "small.jsonl").write_text("\n".join(map(json.dumps, lines)))
    kept = [o for o in TINY if o not in ("tracking=none", "limit=96", "base.epochs=2")]
    options = [
        *kept, "tracking=mlflow", "study=folds", "dataset=text_files", "adapter=head", "epochs=1",
        f"dataset.loader.path={tmp_path / 'small.jsonl'}", "dataset.loader.folds=2", "batch_size=8",
        "model=bert_tiny", "base=scratch", "model.hidden_size=16", "model.vocab_size=60",
    ]  # fmt: skip
    for fold in (0, 1):
        run_pack([compose(tmp_path, *options, f"dataset.loader.fold={fold}")])
    done: Outcome = run_cli("study=folds", program=cli.report, root=tmp_path)  # type: ignore[operator]
    assert done.code == 0, done
    page = next((tmp_path / "mlruns" / "reports").rglob("report.md"))
    assert "all 2 folds are one test" in page.read_text()
    (row,) = csv.DictReader(page.with_name("runs.csv").open(encoding="utf-8-sig"))
    assert row["data/test_examples"] in ("24", "24.0")
    assert "dataset.loader.fold" not in row
