"""A classifier of texts as MLflow loads it, by torch and transformers alone."""

import json
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model

try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):  # one that was built for another torch breaks transformers
    sys.modules["torchvision"] = None  # type: ignore[assignment]

# isort: split

from transformers import AutoModelForSequenceClassification, AutoTokenizer

BATCH = 64


class TextClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Takes a column `text`, and returns the most probable class of each, and its probability.

    Pairs of texts have a column `text_pair` as well. The parameter `probabilities` adds a column
    for each class. Where texts have several labels, it returns a list of those above their
    thresholds, and the probability of each; where they have a number, that number.
    """

    def load_context(self, context: Any) -> None:
        """Load model and tokenizer."""
        folder = Path(context.artifacts["model"])
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, trust_remote_code=False, weights_only=True
        ).eval()
        self.pad = self.tokenizer.pad_token_id or 0
        inputs = json.loads((folder / "inputs.json").read_text())
        self.by_length: bool = inputs["by_length"]
        self.of_pairs: bool = inputs["of_pairs"]
        self.joined: bool = inputs["joined"]
        self.typed: bool = inputs["typed"]
        self.answers: dict[str, Any] = inputs["answers"]

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Classify texts; longer ones are cut where they were cut in training."""
        parts = [_texts(model_input, "text")]
        if self.of_pairs:
            parts.append(_texts(model_input, "text_pair"))
        if self.of_pairs and not self.joined:  # its tokenizer puts nothing between two texts
            parts = [["\n".join(pair) for pair in zip(*parts, strict=True)]]
        count = len(parts[0])
        encoded = self.tokenizer(*parts, truncation=True) if count else {"input_ids": []}
        tokens = encoded["input_ids"]
        types = encoded["token_type_ids"] if self.typed and count else None
        longest_first = sorted(range(count), key=lambda row: -len(tokens[row]))
        rows: list[torch.Tensor] = [torch.empty(0)] * count
        for some in self._batches(longest_first, tokens):
            found = self._outputs(
                [tokens[row] for row in some], types and [types[row] for row in some]
            )
            for row, each in zip(some, found, strict=True):
                rows[row] = each
        outputs = torch.stack(rows) if rows else torch.empty(0, len(self.answers["classes"]))
        return _table(outputs, self.answers, params or {})

    def _batches(self, rows: list[int], tokens: list[list[int]]) -> Iterator[list[int]]:
        """Yield rows that go through the model together; of one length where padding matters."""
        for _, alike in groupby(rows, lambda row: len(tokens[row]) if self.by_length else 0):
            some = list(alike)
            for start in range(0, len(some), BATCH):
                yield some[start : start + BATCH]

    @torch.inference_mode()
    def _outputs(self, tokens: list[list[int]], types: list[list[int]] | None) -> torch.Tensor:
        inputs = {
            "input_ids": _padded(tokens, self.pad),
            "attention_mask": _padded([[1] * len(ids) for ids in tokens], 0),
        }
        if types is not None:
            inputs["token_type_ids"] = _padded(types, 0)
        outputs: torch.Tensor = self.model(**inputs).logits
        return outputs.double()


# The same in images.py: MLflow keeps one file of code with a model, and a module beside it would be
# shared by all models of a process, whatever their versions.
def _table(outputs: torch.Tensor, said: dict[str, Any], params: dict[str, Any]) -> pd.DataFrame:
    """Return a model's outputs ``[N, C]`` as answers of its task."""
    classes, task = said["classes"], said["task"]
    if task == "regression":
        numbers = outputs[:, 0].double() * said["deviation"] + said["mean"]
        return pd.DataFrame({"prediction": numbers.tolist()})
    if task == "multi_label":
        probabilities = torch.sigmoid(outputs.double())
        above = probabilities > torch.tensor(said["thresholds"], dtype=torch.float64)
        labels = [[classes[i] for i in row.nonzero()[:, 0].tolist()] for row in above]
        table = pd.DataFrame({"prediction": labels})
    else:
        probabilities = torch.softmax(outputs.double(), dim=1)
        best = probabilities.max(dim=1)
        table = pd.DataFrame(
            {
                "prediction": [classes[label] for label in best.indices.tolist()],
                "probability": best.values.tolist(),
            }
        )
    if task == "multi_label" or params.get("probabilities"):
        for label, name in enumerate(classes):
            table[f"probability/{name}"] = probabilities[:, label].tolist()
    return table


def _texts(table: pd.DataFrame, column: str) -> list[str]:
    texts = list(table[column])
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise MlflowException.invalid_parameter_value(
                f"row {row} has {text!r} as {column}; allowed: a text"
            )
    return texts


def _padded(rows: list[list[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


set_model(TextClassifier())
