"""What runs answered to each test example, and what they reported by epoch, as MLflow keeps it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from adapterlab.base.errors import ConfigError
from adapterlab.base.reading import parse_mapping, read_text
from adapterlab.evidence.arrays import Booleans, Floats, Integers
from adapterlab.evidence.contributions import SOURCE, contributions, known
from adapterlab.evidence.ensembles import Pool, log_probabilities
from adapterlab.evidence.metrics import confusion_matrix
from adapterlab.reporting.reading.study import Run
from adapterlab.tracking.servers.errors import StoreAwayError, Trouble, briefly, trouble

PREDICTIONS, RESULT = "predictions/predictions.parquet", "result.json"
SOURCE_PREDICTIONS = "predictions/source_predictions.parquet"
"""Where a run's artifacts have them."""

_CALLED = ("file", "id", "row")
"""Columns of predictions by which a user finds an example, the plainest first."""


@dataclass(frozen=True, eq=False)
class Values:
    """A metric of an arm's S runs, as contributions of N test examples.

    Attributes:
        metric: its name, as in `adapterlab.evidence.contributions`.
        values: ``[S, N]``; their mean over examples is each run's score.
        labels: ``[N]``, the true classes of the examples: those of the target's test split, or of
            the source task's for ``source_accuracy``.
    """

    metric: str
    values: npt.NDArray[np.float64]
    labels: Integers


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of an arm's S runs to the N examples of the test split.

    Attributes:
        labels: ``[N]``, the true classes.
        predicted: ``[S, N]``, the classes that the runs said, in the order of the arm's seeds.
        confidence: ``[S, N]``, the probabilities of these, by the softmax of the logits.
        classes: the class names.
        log_of_label: ``[S, N]``, logarithms of the probabilities of the true classes; None where
            they were not read.
        ensemble: ``[N, C]``, logarithms of the mean of the runs' probabilities, in float32: of
            all S x N x C probabilities this is what is kept; None where they were not read.
        read: metrics whose contributions were asked for, by name.
        called: what a user finds each example by, a column of the first run's file: its ``file``,
            ``id`` or ``row`` in the user's file, and which of them it is; None of older runs.
    """

    labels: Integers
    predicted: Integers
    confidence: Floats
    classes: tuple[str, ...]
    log_of_label: Floats | None = None
    ensemble: Floats | None = None
    read: Mapping[str, Values] = field(default_factory=dict)
    called: tuple[str, pa.ChunkedArray] | None = None

    @property
    def correct(self) -> Booleans:
        """Whether each answer is right, ``[S, N]``."""
        right: Booleans = self.predicted == self.labels
        return right

    def values(self, metric: str) -> Values:
        """Return a metric as contributions of the examples: accuracy, or one that was read.

        Raises:
            KeyError: it was not asked for when the answers were read, or a run did not keep it.
        """
        if metric == "accuracy":
            return Values(metric, self.correct.astype(np.float64), self.labels)
        return self.read[metric]

    def name_of(self, example: int) -> str:
        """Return what a user finds an example by; its place in the test split if that is all."""
        if self.called is None:
            return str(example)
        kind, column = self.called
        said = str(column[example].as_py())
        return said if kind == "file" else f"{kind} {said}"

    def confusion(self) -> npt.NDArray[np.int64]:
        """Return counts ``[C, C]`` over all runs, true class by predicted class."""
        labels = np.tile(self.labels, len(self.predicted))
        return confusion_matrix(labels, self.predicted.ravel(), len(self.classes))

    def wrong_by_class(self) -> Floats:
        """Return the share of each class's examples that is wrong, ``[C]``; nan without any."""
        counts = self.confusion()
        examples = counts.sum(axis=1)
        with np.errstate(invalid="ignore"):
            shares: Floats = 1 - np.diag(counts) / examples
        return shares


History = Mapping[int, Mapping[str, float]]
"""Metrics by epoch."""


def read_answers(runs: Sequence[Run], metric: str = "accuracy") -> tuple[Answers | None, str]:
    """Read the predictions of an arm's runs, and what a metric is made of.

    Logits are read run by run and not kept.

    Args:
        runs: of one arm.
        metric: one of `adapterlab.evidence.contributions`, whose contributions `Answers.values`
            then has.

    Returns:
        The answers, and an empty text. Where the metric cannot be had of every run, why, with the
        answers without it; or with None, where there are no answers either.

    Raises:
        ConfigError: there is no such metric of these classes.
    """
    read: list[_OneRun] = []
    pool = Pool()
    for run in runs:
        path = artifact(run, PREDICTIONS)
        if path is None:
            return None, why_none(run)
        one, log_p = _read(path, metric)
        if read and not np.array_equal(one.labels, read[0].labels):
            return None, "its runs were tested on different examples"
        read.append(one)
        pool.add(log_p)
    answers = Answers(
        labels=read[0].labels,
        predicted=np.stack([one.predicted for one in read]),
        confidence=np.stack([one.confidence for one in read]),
        classes=read[0].classes,
        log_of_label=np.stack([one.log_of_label for one in read]),
        ensemble=pool.mean().astype(np.float32),
        called=read[0].called,
    )
    if metric == SOURCE:
        values, why = read_source(runs)
    else:
        why = next((one.why for one in read if one.values is None), "")
        rows = [one.values for one in read if one.values is not None]
        values = None if why else Values(metric, np.stack(rows), read[0].labels)
    return answers if values is None else replace(answers, read={metric: values}), why


_HISTORY = TypeAdapter(History)


def read_history(run: Run) -> History:
    """Read what a run reported by epoch; nothing if it kept no result."""
    path = artifact(run, RESULT)
    if path is None:
        return {}
    try:
        history = parse_mapping(read_text(path)).get("history", {})
        return _HISTORY.validate_json(json.dumps(history))
    except (OSError, ValueError):  # pydantic's is one
        return {}


def artifact(run: Run, name: str) -> Path | None:
    """Return where a run's file is, downloaded if it is far away; None if there is none.

    Raises:
        StoreAwayError: its server does not answer.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        uri = f"{run.artifacts}/{name}"
        path = Path(download_artifacts(artifact_uri=uri, tracking_uri=run.store))
    except (MlflowException, OSError) as error:
        # What a server that is away has is not missing.
        if urlsplit(run.artifacts).scheme not in ("", "file") and trouble(error) is Trouble.AWAY:
            raise StoreAwayError(f"{run.artifacts} cannot be read: {briefly(error)}") from None
        return None
    return path if path.is_file() else None


def why_none(run: Run) -> str:
    """Say why a run has no predictions: it kept none, or its folder is not (any more) there."""
    place = urlsplit(run.artifacts)
    folder = Path(unquote(place.path))
    if run.artifacts and place.scheme in ("", "file") and not folder.is_dir():
        return f"the run of {run.replicate} has no files in {folder}"
    return f"the run of {run.replicate} kept no predictions"


@dataclass(frozen=True, eq=False)
class _OneRun:
    """What a run's file of predictions says; no values, and why, where a metric has none."""

    labels: Integers
    predicted: Integers
    confidence: Floats
    log_of_label: Floats
    classes: tuple[str, ...]
    values: npt.NDArray[np.float64] | None
    called: tuple[str, pa.ChunkedArray] | None
    why: str = ""


def _read(path: Path, metric: str) -> tuple[_OneRun, npt.NDArray[np.float64]]:
    """Read what is kept of a run, and its log-probabilities ``[N, C]``, which are not."""
    table = pq.read_table(path)
    labels = table["label"].to_numpy()
    column = table["logits"].combine_chunks()
    logits = column.flatten().to_numpy(zero_copy_only=False).reshape(len(labels), -1)
    metadata = table.schema.metadata or {}
    classes = tuple(metadata.get(b"classes", b"").decode().split("\n"))
    try:
        known(metric, classes)
    except ValueError as error:
        raise ConfigError(f"compare_on={error}") from None
    values, why = None, ""
    if metric != SOURCE:
        try:
            values = contributions(metric, logits, labels, classes)
        except ValueError as error:  # a class has too few examples
            why = str(error)
    log_p = log_probabilities(logits)
    kept = _OneRun(
        labels=labels,
        predicted=logits.argmax(axis=1).astype(np.int32),
        confidence=np.exp(log_p.max(axis=1)),
        log_of_label=log_p[np.arange(len(labels)), labels],
        classes=classes,
        values=values,
        called=next(((name, table[name]) for name in _CALLED if name in table.column_names), None),
        why=why,
    )
    return kept, log_p


def read_source(runs: Sequence[Run]) -> tuple[Values | None, str]:
    """Read what the runs still know of the source task."""
    labels, correct = [], []
    for run in runs:
        path = artifact(run, SOURCE_PREDICTIONS)
        if path is None:
            missing = run.tags.get("missing.source/accuracy_after")
            return None, missing or f"the run of {run.replicate} kept no answers to its source task"
        table = pq.read_table(path)
        labels.append(table["label"].to_numpy())
        correct.append(labels[-1] == table["prediction"].to_numpy())
    if any(not np.array_equal(one, labels[0]) for one in labels):
        return None, "its runs were tested on different examples of the source task"
    return Values(SOURCE, np.stack(correct).astype(np.float64), labels[0]), ""
