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

    The parameter `probabilities` adds a column for each class.
    """

    def load_context(self, context: Any) -> None:
        """Load model and tokenizer."""
        folder = Path(context.artifacts["model"])
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, trust_remote_code=False, weights_only=True
        ).eval()
        self.pad = self.tokenizer.pad_token_id or 0
        self.by_length: bool = json.loads((folder / "inputs.json").read_text())["by_length"]
        labels = self.model.config.id2label
        self.classes = [labels[label] for label in range(len(labels))]

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Classify texts; longer ones are cut where they were cut in training."""
        texts = [str(text) for text in model_input["text"]]
        tokens = self.tokenizer(texts, truncation=True)["input_ids"] if texts else []
        longest_first = sorted(range(len(texts)), key=lambda row: -len(tokens[row]))
        rows: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        for some in self._batches(longest_first, tokens):
            found = self._probabilities([tokens[row] for row in some])
            for row, each in zip(some, found, strict=True):
                rows[row] = each
        probabilities = torch.stack(rows) if rows else torch.empty(0, len(self.classes))
        best = probabilities.max(dim=1)
        table = pd.DataFrame(
            {
                "prediction": [self.classes[label] for label in best.indices.tolist()],
                "probability": best.values.tolist(),
            }
        )
        if params and params.get("probabilities"):
            for label, name in enumerate(self.classes):
                table[f"probability/{name}"] = probabilities[:, label].tolist()
        return table

    def _batches(self, rows: list[int], tokens: list[list[int]]) -> Iterator[list[int]]:
        """Yield rows that go through the model together; of one length where padding matters."""
        for _, alike in groupby(rows, lambda row: len(tokens[row]) if self.by_length else 0):
            some = list(alike)
            for start in range(0, len(some), BATCH):
                yield some[start : start + BATCH]

    @torch.inference_mode()
    def _probabilities(self, tokens: list[list[int]]) -> torch.Tensor:
        longest = max(map(len, tokens))
        padded = [ids + [self.pad] * (longest - len(ids)) for ids in tokens]
        real = [[1] * len(ids) + [0] * (longest - len(ids)) for ids in tokens]
        logits = self.model(
            input_ids=torch.tensor(padded), attention_mask=torch.tensor(real)
        ).logits
        return torch.softmax(logits.double(), dim=1)


set_model(TextClassifier())
