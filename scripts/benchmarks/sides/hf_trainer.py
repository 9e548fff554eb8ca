"""LoRA on texts as an ordinary script: Hugging Face's Trainer and PEFT.

    python scripts/benchmarks/sides/hf_trainer.py FOLDER [--bf16]

What their documents show: `load_dataset`, a tokenizer over it, `DataCollatorWithPadding` (batches
padded to their longest text), `get_peft_model`, the model in training mode with its dropout,
evaluation and a checkpoint after each epoch, the best one loaded at the end, then the test split.
Rates, batch, epochs, warm-up and clipping are AdapterLab's.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import taken

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers and PEFT

# isort: split

import numpy as np
import torch
from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


class Timed(Trainer):
    """The Trainer, whose training is timed."""

    def train(self, *arguments: Any, **options: Any) -> Any:
        """Train."""
        with taken.training():
            return super().train(*arguments, **options)


def accuracy(evaluated: Any) -> dict[str, float]:
    """Return the accuracy."""
    return {"accuracy": float((np.argmax(evaluated.predictions, 1) == evaluated.label_ids).mean())}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bf16", action="store_true")
    given = parser.parse_args()
    taken.begin()
    torch.manual_seed(0)
    folder = given.folder
    task = json.loads((folder / "task.json").read_text())
    files = {name: str(folder / f"{name}.parquet") for name in ("train", "validation", "test")}
    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    rows = load_dataset("parquet", data_files=files, cache_dir=str(folder / "cache")).map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=task["max_length"]),
        batched=True,
    )
    base = AutoModelForSequenceClassification.from_pretrained(
        task["model"], num_labels=task["classes"]
    )
    lora = LoraConfig(
        task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"], lora_dropout=0.0
    )
    model = get_peft_model(base, lora)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=task["batch_size"],
        per_device_eval_batch_size=64,
        num_train_epochs=task["epochs"],
        learning_rate=task["lr"],
        weight_decay=task["weight_decay"],
        warmup_steps=task["warmup"],
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        bf16=given.bf16,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Timed(
        model=model,
        args=arguments,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
    )
    trainer.train()
    print(trainer.predict(rows["test"]).metrics)


if __name__ == "__main__":
    main()
