"""A classifier of texts as MLflow loads it, by torch and transformers alone."""

import sys
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
        labels = self.model.config.id2label
        self.classes = [labels[label] for label in range(len(labels))]

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Classify texts; longer ones are cut where they were cut in training."""
        texts = [str(text) for text in model_input["text"]]
        longest_first = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        rows: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        for start in range(0, len(texts), BATCH):
            some = longest_first[start : start + BATCH]
            found = self._probabilities([texts[row] for row in some])
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

    @torch.inference_mode()
    def _probabilities(self, texts: list[str]) -> torch.Tensor:
        tokens = self.tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
        inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        return torch.softmax(self.model(**inputs).logits.double(), dim=1)


set_model(TextClassifier())
