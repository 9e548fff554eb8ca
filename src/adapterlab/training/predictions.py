"""What a model says of a split where an example has one label, and the file that keeps it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from adapterlab.base.files import writing
from adapterlab.config.tasks import Task
from adapterlab.data.origin import RowNames
from adapterlab.evidence.metrics import classification_metrics, confusion_matrix
from adapterlab.training.outcome import TrainingDivergedError


@dataclass(frozen=True)
class Predictions:
    """Logits [N, C] and labels [N] of a split, in the split's order.

    Of tasks other than one label there are kinds of their own, see `task_predictions`.
    """

    logits: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[Any]
    classes: tuple[str, ...]

    @property
    def task(self) -> Task:
        """What the examples are labelled for."""
        return "single_label"

    def metrics(self) -> dict[str, float]:
        """Return what `classification_metrics` does: accuracy, macro_f1, recall/CLASS and so on.

        And ``classes_answered``, of how many classes the model answers one at all.

        Raises:
            TrainingDivergedError: a logit is no number. The loss of the last epoch may still be
                one, where the source task or the test split has larger activations.
        """
        self.require_finite()
        metrics = classification_metrics(self.logits, self.labels, self.classes)
        return metrics | {"classes_answered": float(self.answered())}

    def require_finite(self) -> None:
        """Refuse logits that are no numbers.

        Raises:
            TrainingDivergedError: there are such.
        """
        broken = int((~np.isfinite(self.logits)).any(axis=1).sum())
        if broken:
            raise TrainingDivergedError(
                f"{broken} of {len(self.logits)} examples have logits that are not finite after "
                "training; try a lower optimizer.lr, or optimizer.clip_norm"
            )

    def answered(self) -> int:
        """Return how many of the classes the model answers at all."""
        return len(np.unique(self.logits.argmax(1)))

    def confusion(self) -> npt.NDArray[np.int64]:
        """Return counts [C, C], true class by predicted class."""
        return confusion_matrix(self.labels, self.logits.argmax(1), len(self.classes))

    def answers(self) -> dict[str, Any]:
        """Return the columns ``label`` and ``prediction`` of the file."""
        return {"label": self.labels, "prediction": self.logits.argmax(1)}

    def facts(self) -> dict[str, str]:
        """Return what the file says of all rows, besides the classes."""
        return {}

    def write(self, path: Path, *, rows: RowNames | None = None, logits: bool = True) -> None:
        """Write one row an example: row, maybe id and file, label, prediction, logits.

        `row` is the example's own in the file that it is from, so that the same example has the
        same row in every run, also where a run was limited to a sample.

        Args:
            path: of the file, in the Parquet format.
            rows: what the file calls the examples; None counts them.
            logits: write them too; with ten classes they are nine tenths of the file.
        """
        called = rows or RowNames(range(len(self.labels)))
        columns: dict[str, Any] = {**called.columns(), **self.answers()}
        if logits and self.task != "regression":
            count, width = self.logits.shape
            ends = np.arange(0, (count + 1) * width, width, dtype=np.int32)
            columns["logits"] = pa.ListArray.from_arrays(ends, self.logits.ravel())
        table = pa.table(columns)
        table = table.replace_schema_metadata({"classes": "\n".join(self.classes), **self.facts()})
        with writing(path) as file:
            pq.write_table(table, file)


def read_predictions(path: Path) -> Predictions:
    """Return what `Predictions.write` has written, with logits.

    Raises:
        OSError: the file is not there.
        pyarrow.ArrowException, KeyError: it is no such file.
    """
    table = pq.read_table(path, columns=["label", "logits"])
    classes = tuple(table.schema.metadata[b"classes"].decode().split("\n"))
    logits = table["logits"].combine_chunks().flatten().to_numpy()
    labels = table["label"].to_numpy()
    return Predictions(logits.reshape(len(labels), len(classes)), labels, classes)
