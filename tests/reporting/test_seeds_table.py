from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from adapterlab.data.origin import RowNames
from adapterlab.reporting.reading.logged import Answers, read_answers
from adapterlab.reporting.reading.study import Run
from adapterlab.reporting.tables.seeds import flips_table, seeds_table
from adapterlab.training.predictions import Predictions

CLASSES = ("cat", "dog", "frog")
LABELS = np.arange(60) % 3
LOGITS = np.random.default_rng(0).normal(size=(3, 60, 3)).astype(np.float32)
LOGITS[:, np.arange(60), LABELS] += 1.5


@dataclass(frozen=True)
class AnArm:
    name: str
    answers: Answers | None


def read(tmp_path: Path, logits: np.ndarray = LOGITS, names: RowNames | None = None) -> Answers:
    runs = []
    for seed, one in enumerate(logits):
        folder = tmp_path / str(seed)
        (folder / "predictions").mkdir(parents=True)
        predictions = Predictions(one, LABELS, CLASSES)
        predictions.write(folder / "predictions" / "predictions.parquet", rows=names)
        runs.append(Run(str(seed), "arm", {}, {}, {}, str(folder)))
    answers, why = read_answers(runs)
    assert answers is not None, why
    return answers


def test_answers_keep_the_ensemble_and_what_it_is_compared_with(tmp_path: Path) -> None:
    answers = read(tmp_path)
    p = special.softmax(LOGITS.astype(np.float64), axis=2)
    assert answers.ensemble is not None
    assert answers.log_of_label is not None
    assert answers.ensemble.dtype == np.float32
    assert np.allclose(np.exp(answers.ensemble), p.mean(axis=0), atol=1e-6)
    assert np.allclose(np.exp(answers.log_of_label), p[:, np.arange(60), LABELS])
    assert np.allclose(answers.confidence, p.max(axis=2))
    assert np.array_equal(answers.predicted, LOGITS.argmax(axis=2))


def test_a_row_has_what_the_runs_get_and_what_all_get_together(tmp_path: Path) -> None:
    answers = read(tmp_path)
    table = seeds_table([AnArm("lora", answers), AnArm("head", None)])
    assert table is not None
    (row,) = table.rows
    cells = dict(zip(table.header, row, strict=True))
    p = special.softmax(LOGITS.astype(np.float64), axis=2)
    of_all = (p.mean(axis=0).argmax(axis=1) == LABELS).mean()
    of_a_run = (LOGITS.argmax(axis=2) == LABELS).mean()
    assert (cells["arm"], cells["seeds"]) == ("lora", "3")
    assert (cells["accuracy"], cells["ensemble's"]) == (f"{of_a_run:.2%}", f"{of_all:.2%}")
    assert cells["gain (95% over examples)"].startswith(f"{100 * (of_all - of_a_run):+.2f} (")
    nll = -np.log(p.mean(axis=0)[np.arange(60), LABELS]).mean()
    assert cells["ensemble's NLL"] == f"{nll:.3f}"
    assert float(cells["NLL"]) > nll
    said = LOGITS.argmax(axis=2)
    pairs = [(said[i] != said[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert cells["churn between two seeds"] == f"{np.mean(pairs):.2%}"
    assert cells["not the same for all seeds"] == f"{(said != said[0]).any(axis=0).mean():.2%}"


def test_answers_without_probabilities_have_churn_only(tmp_path: Path) -> None:
    bare = replace(read(tmp_path), ensemble=None, log_of_label=None)
    table = seeds_table([AnArm("lora", bare)])
    assert table is not None
    assert table.rows[0][3:9] == ("",) * 6
    assert table.rows[0][9].endswith("%")


def test_one_seed_gives_nothing_for_nothing(tmp_path: Path) -> None:
    arm = AnArm("lora", read(tmp_path, LOGITS[:1]))
    assert seeds_table([arm, AnArm("head", None)]) is None
    assert flips_table(arm) is None
    assert flips_table(AnArm("head", None)) is None


def test_examples_that_flip_say_what_the_seeds_say(tmp_path: Path) -> None:
    logits = np.full((3, 60, 3), -4.0, dtype=np.float32)
    logits[:, np.arange(60), LABELS] = 4
    logits[0, 7] = [9, 0, 0]  # a dog
    table = flips_table(AnArm("lora", read(tmp_path, logits)))
    assert table is not None
    assert table.title.endswith("lora")
    assert table.rows == (("row 7", "dog", "dog (2) and cat (1)", "66.67%"),)
    # By what the user finds them: a row of a cut file is no place in the test split.
    numbers, ids = range(100, 160), [f"u{n}" for n in range(60)]
    for names, called in (
        (RowNames(numbers), "row 107"),
        (RowNames(numbers, ids), "id u7"),
        (RowNames(numbers, ids, [f"cat/{n}.png" for n in numbers]), "cat/107.png"),
    ):
        named = flips_table(AnArm("lora", read(tmp_path / called, logits, names)))
        assert named is not None
        assert named.rows[0][0] == called
    alike = read(tmp_path / "alike", np.repeat(logits[1:2], 3, axis=0))
    assert flips_table(AnArm("lora", alike)) is None


def test_runs_of_other_examples_are_not_pooled(tmp_path: Path) -> None:
    runs = []
    for seed, n in enumerate((60, 30)):
        folder = tmp_path / str(seed) / "predictions"
        folder.mkdir(parents=True)
        Predictions(LOGITS[0, :n], LABELS[:n], CLASSES).write(folder / "predictions.parquet")
        runs.append(Run(str(seed), "arm", {}, {}, {}, str(folder.parent)))
    answers, why = read_answers(runs)
    assert answers is None
    assert why == "its runs were tested on different examples"


@pytest.mark.parametrize("top", [1, 5])
def test_no_more_examples_than_asked_for(tmp_path: Path, top: int) -> None:
    table = flips_table(AnArm("lora", read(tmp_path)), top)
    assert table is not None
    assert len(table.rows) == top
