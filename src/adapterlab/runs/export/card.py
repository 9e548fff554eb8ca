"""The README.md beside an exported model: what it is, as far as the run knows it."""

import html
import json
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapterlab.config.schema import TextDataset
from adapterlab.config.tasks import main_metric
from adapterlab.runs.export.images import is_of_transformers
from adapterlab.runs.saved import Rebuilt
from adapterlab.training.task_predictions import THRESHOLD

LISTED = 50
"""Classes that are named on the card; config.json has all of them."""


def model_card(rebuilt: Rebuilt, *, usage: str, agreement: str) -> str:
    """Return the text of the card, in Markdown.

    Args:
        rebuilt: the run; only what it logged is said of its quality.
        usage: Python that loads the model.
        agreement: how closely the written model agrees with the adapted one, in a sentence.
    """
    config, result = rebuilt.config, rebuilt.result
    kind, outputs = _KINDS[config.task]
    text, main = isinstance(config.dataset, TextDataset), main_metric(config.task)
    of_transformers = text or is_of_transformers(rebuilt.assembly.adapted.model)
    packages = (
        "adapterlab",
        "torch",
        *(("transformers",) if of_transformers else ()),
        "safetensors",
    )
    facts = {
        "base model": f"{config.model['name']}, {_origin(rebuilt)}",
        "strategy": f"{config.adapter['name']} ({_options(config.adapter)})",
        "data set": config.dataset.name,
        outputs: _classes(result.classes),
        f"{main} on the test split": f"{result.metrics[f'test/{main}']:.4f}, as the run logged",
        **_thresholds(rebuilt),
        "run": result.name + (f", MLflow run {result.run_id}" if result.run_id else ""),
        "written with": ", ".join(f"{package} {version(package)}" for package in packages),
    }
    task = "text" if text else "image"
    head = f"---\nlibrary_name: transformers\npipeline_tag: {task}-classification\n---\n"
    taken = (
        f"Texts of more than {config.dataset.max_length} tokens are cut off, as in training."
        if isinstance(config.dataset, TextDataset)
        else "Images are resized and normalised as in training."
        if of_transformers
        else "It takes images in [0, 1] of the `input_shape` in config.json, less `mean`, over "
        "`std`."
    )
    paragraphs = [
        f"# {_line(result.name)}",
        f"A fine-tuned {kind}, merged: an ordinary model without adapter layers.",
        _bullets(
            f"{name}: {fact if name == outputs else _line(fact)}" for name, fact in facts.items()
        ),
        agreement,
        f"```python\n{usage}\n```",
        taken,
    ]
    if result.notes:
        paragraphs += ["What to know about the data:", _bullets(map(_line, result.notes))]
    return (head if of_transformers else "") + "\n\n".join(paragraphs) + "\n"


_KINDS = {
    "single_label": ("classifier", "classes"),
    "multi_label": ("classifier of several labels", "labels"),
    "regression": ("regression model", "answers with"),
}
"""By task: what a model is, and what its outputs are."""


def _thresholds(rebuilt: Rebuilt) -> dict[str, str]:
    """Return the probabilities above which labels are answered, of several labels."""
    limits = {
        name.removeprefix(f"test/{THRESHOLD}"): value
        for name, value in rebuilt.result.metrics.items()
        if name.startswith(f"test/{THRESHOLD}")
    }
    said = ", ".join(f"{name} {value:.4f}" for name, value in limits.items())
    return {"answered above these probabilities": said} if limits else {}


def _origin(rebuilt: Rebuilt) -> str:
    """Say where the base's weights come from; of a folder only its name, the path is private."""
    origin, path = rebuilt.assembly.base.origin, rebuilt.config.model.get("name_or_path")
    if path is not None and Path(path).is_absolute():
        origin = origin.replace(path, Path(path).name)
    return origin


def _options(node: dict[str, Any]) -> str:
    options = {key: node[key] for key in node if key not in ("name", "label", "_target_")}
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in options.items()
    )


def _classes(classes: tuple[str, ...]) -> str:
    named = ", ".join(map(_code, classes[:LISTED]))
    more = len(classes) - LISTED
    return named + (f" and {more} more, see config.json" if more > 0 else "")


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _line(text: str) -> str:
    """Return a text as one line that stands for itself: names in it may be anybody's."""
    return html.escape(" ".join(text.split()), quote=False).replace("](", "]\\(")


def _code(name: str) -> str:
    """Return a name as code, in more backticks than it has itself."""
    name = " ".join(name.split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    return f"{ticks} {name} {ticks}" if "`" in name else f"`{name}`"
