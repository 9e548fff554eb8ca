"""What is read back of runs' predictions: answers, and contributions of any metric."""

from pathlib import Path

import numpy as np
import pytest

from adapterlab.base.errors import ConfigError
from adapterlab.evidence.contributions import METRICS
from adapterlab.reporting.reading.logged import read_answers
from adapterlab.reporting.reading.study import Replicate, Run
from adapterlab.training.predictions import Predictions

ANIMALS = ("cat", "dog", "frog")
LABELS = np.arange(30) % 3


def predictions(seed: int, labels: np.ndarray = LABELS) -> Predictions:
    logits = np.random.default_rng(seed).normal(size=(len(labels), 3)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 1
    return Predictions(logits, labels, ANIMALS)


def kept(
    folder: Path, seed: int, test: Predictions, source: Predictions | None = None, **tags: str
) -> Run:
    """Write a run's files as MLflow keeps them."""
    where = folder / str(seed) / "predictions"
    where.mkdir(parents=True)
    test.write(where / "predictions.parquet")
    if source is not None:
        source.write(where / "source_predictions.parquet", logits=False)
    return Run(
        run_id=str(seed),
        arm="a",
        tags=tags,
        params={},
        metrics={},
        artifacts=str(folder / str(seed)),
        replicate=Replicate(seed, seed),
    )


@pytest.mark.parametrize(
    "metric", [*(name for name in METRICS if name != "source_accuracy"), "recall/frog"]
)
def test_contributions_of_every_metric_average_to_what_the_runs_logged(
    metric: str, tmp_path: Path
) -> None:
    made = [predictions(seed) for seed in (0, 1)]
    runs = [kept(tmp_path, seed, test) for seed, test in enumerate(made)]
    answers, why = read_answers(runs, metric)
    assert answers is not None
    assert why == ""
    read = answers.values(metric)
    assert read.values.shape == (2, 30)
    assert read.values.mean(axis=1) == pytest.approx([one.metrics()[metric] for one in made])
    assert np.array_equal(read.labels, LABELS)
    assert np.array_equal(answers.values("accuracy").values, answers.correct)


def test_what_was_not_asked_for_was_not_read(tmp_path: Path) -> None:
    answers, _ = read_answers([kept(tmp_path, 0, predictions(0))])
    assert answers is not None
    with pytest.raises(KeyError):
        answers.values("nll")


def test_the_source_tasks_answers_are_read_with_its_own_labels(tmp_path: Path) -> None:
    sources = [predictions(seed, labels=np.arange(12) % 2) for seed in (5, 6)]
    runs = [kept(tmp_path, seed, predictions(seed), sources[seed]) for seed in (0, 1)]
    answers, why = read_answers(runs, "source_accuracy")
    assert answers is not None
    assert why == ""
    read = answers.values("source_accuracy")
    assert read.values.mean(axis=1).tolist() == [one.metrics()["accuracy"] for one in sources]
    assert np.array_equal(read.labels, np.arange(12) % 2)
    assert answers.correct.shape == (2, 30)


def test_runs_that_kept_nothing_of_their_source_say_why(tmp_path: Path) -> None:
    source = predictions(5)
    first = kept(tmp_path, 0, predictions(0), source)
    older = kept(tmp_path, 1, predictions(1))
    scratch = kept(
        tmp_path, 2, predictions(2), **{"missing.source/accuracy_after": "trained from scratch"}
    )
    other = kept(tmp_path, 3, predictions(3), predictions(5, labels=LABELS[::-1]))
    for runs, reason in (
        ([first, older], "the run of seed 1 kept no answers to its source task"),
        ([first, scratch], "trained from scratch"),
        ([first, other], "its runs were tested on different examples of the source task"),
    ):
        answers, why = read_answers(runs, "source_accuracy")
        assert answers is not None
        assert answers.read == {}
        assert why == reason


def test_an_unknown_metric_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    run = kept(tmp_path, 0, predictions(0))
    message = r"^compare_on=f1 is no metric; allowed: accuracy, .*, recall/frog, .*, f1/frog$"
    with pytest.raises(ConfigError, match=message):
        read_answers([run], "f1")


def test_a_class_of_one_example_leaves_answers_without_its_recall(tmp_path: Path) -> None:
    labels = np.array([0, 0, 1, 2, 2])
    answers, why = read_answers([kept(tmp_path, 0, predictions(0, labels))], "recall/dog")
    assert answers is not None
    assert answers.read == {}
    assert why == "recall/dog of 1 example has no standard error; a class needs 2 or more"


def test_runs_of_other_examples_or_without_predictions_have_no_answers(tmp_path: Path) -> None:
    one, other = kept(tmp_path, 0, predictions(0)), kept(tmp_path, 1, predictions(1, LABELS[1:]))
    assert read_answers([one, other]) == (None, "its runs were tested on different examples")
    gone = kept(tmp_path, 2, predictions(2))
    (tmp_path / "2" / "predictions" / "predictions.parquet").unlink()
    assert read_answers([one, gone]) == (None, "the run of seed 2 kept no predictions")
