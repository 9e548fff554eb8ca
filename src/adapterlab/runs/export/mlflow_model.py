"""A finished run as an MLflow model, which needs no AdapterLab to load or to serve.

The code that loads it is a file of `served`, of which MLflow keeps a copy in the model.
"""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from torch import nn

from adapterlab.adapters import merge
from adapterlab.base.errors import first_line
from adapterlab.base.files import flush, write_json
from adapterlab.config.schema import TextDataset
from adapterlab.data.images import ImageBatches
from adapterlab.data.sources.decode import background_of
from adapterlab.data.splits import ImageSplits, TextSplits
from adapterlab.runs.export.folder import (
    ExportError,
    ImageModelFolder,
    ModelFolder,
    TextModelFolder,
    model_folder,
)
from adapterlab.runs.export.output_columns import ALL, answers_of, difference, signature_of
from adapterlab.runs.preprocessing import run_splits
from adapterlab.runs.saved import Rebuilt
from adapterlab.tracking.client import quieten
from adapterlab.training.hardware import choose_device
from adapterlab.training.predicting import predict
from adapterlab.training.predictions import Predictions

NAME = "model"
"""What the model is called among the files of an MLflow run."""

CHECKED = 64
"""Rows of the validation split that the written model is asked about."""

_EXAMPLES = 2
_SERVED = Path(__file__).parent / "served"


@dataclass(frozen=True)
class Served:
    """An MLflow model on disk.

    Attributes:
        difference: the largest between a probability of it and of the adapted model, or a number.
        examples: how many rows were compared.
        requirements: what it needs, as pip takes it.
    """

    difference: float
    examples: int
    requirements: tuple[str, ...]


def write_mlflow_model(rebuilt: Rebuilt, folder: Path) -> Served:
    """Write a run's merged model as MLflow's, once it is shown to answer as the run does.

    It is read back by `mlflow.pyfunc.load_model`, and asked about the first rows of the validation
    split as they are outside of AdapterLab: texts, encoded images. The first two are its example.

    Args:
        rebuilt: the run.
        folder: where the model goes; it must not be there.

    Raises:
        ConfigError: the strategy cannot be merged.
        ExportError: what was written answers otherwise, or torch cannot export the model.
    """
    quieten()
    import mlflow

    kept = model_folder(rebuilt)
    adapted = rebuilt.assembly.adapted
    merged = merge(adapted)
    said = answers_of(rebuilt, kept.data)
    rows = min(CHECKED, len(kept.data.splits["validation"]))
    examples, script, packages = _outside(kept, rebuilt, rows)
    requirements = [f"{name}=={version(name).partition('+')[0]}" for name in packages]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        weights, made = Path(scratch) / "weights", Path(scratch) / "made"
        weights.mkdir()
        if isinstance(kept, ImageModelFolder):
            _write_program(merged, kept, rebuilt, weights, said)
        else:
            kept.write(merged, weights)
            texts = cast(TextModelFolder, kept)
            inputs = {"of_pairs": texts.of_pairs, "joined": texts.joined, "typed": texts.typed}
            inputs |= {"by_length": adapted.by_length}
            write_json(weights / "inputs.json", {**inputs, "answers": said}, ensure_ascii=False)
        device = choose_device(rebuilt.config.hardware).torch
        wanted = predict(adapted, kept.first(rows), "validation", device)
        with _silent():
            mlflow.pyfunc.save_model(
                made,
                python_model=str(_SERVED / script),
                artifacts={"model": str(weights)},
                pip_requirements=requirements,
                signature=signature_of(examples, said),
                input_example=examples.iloc[:_EXAMPLES],
                mlflow_model=mlflow.models.Model(run_id=rebuilt.result.run_id),
                metadata={"adapterlab.run": rebuilt.result.name},
            )
            _forget_this_machine(made / "MLmodel", script)
            apart = _compared(made, examples, wanted, said)
        for bytecode in list(made.rglob("__pycache__")):  # of loading it; it names this machine
            shutil.rmtree(bytecode)
        flush(made)
        made.rename(folder)
    stated = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    return Served(apart, rows, tuple(stated))


@contextmanager
def _silent() -> Iterator[None]:
    """Keep off the terminal what MLflow and torch tell of writing and loading."""
    from adapterlab.models.loading import (
        quiet,  # loads transformers, which MLflow's own code does too
    )

    loggers = [logging.getLogger(name) for name in ("mlflow", "torch")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _forget_this_machine(path: Path, script: str) -> None:
    """Take the places out of a model's description where its parts were made."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    flavor = values["flavors"]["python_function"]
    flavor["model_code_path"] = script
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _compared(made: Path, examples: Any, wanted: Predictions, said: dict[str, Any]) -> float:
    """Ask a model that was written, and return how far its answers are from those of the run.

    Raises:
        ExportError: it is more than rounding.
    """
    import mlflow

    params = {ALL: True} if said["task"] == "single_label" else None
    answers = mlflow.pyfunc.load_model(str(made)).predict(examples, params=params)
    return difference(answers, wanted, said)


def _outside(kept: ModelFolder, rebuilt: Rebuilt, rows: int) -> tuple[Any, str, tuple[str, ...]]:
    """Return validation rows as others have them, the code that takes these, and its packages."""
    import pandas as pd

    config = rebuilt.config
    if isinstance(config.dataset, TextDataset):
        target = cast(TextSplits, kept.target)
        _, validation, _ = run_splits(config, config.dataset, target)
        table = pd.DataFrame({"text": list(validation.texts[:rows])})
        if validation.pairs:
            table = pd.DataFrame(validation.pairs[:rows], columns=["text", "text_pair"])
        return table, "texts.py", ("torch", "transformers", "numpy", "pandas")
    images = cast(ImageSplits, kept.target)
    _, held_out, _ = run_splits(config, config.dataset, images)
    encoded = [_png(image) for image in held_out.images[:rows]]
    packages = ("torch", "numpy", "pandas", "pillow")
    return pd.DataFrame({"image": encoded}), "images.py", packages


def _png(image: torch.Tensor) -> bytes:
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    buffer = BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, format="PNG")
    return buffer.getvalue()


def _write_program(
    merged: nn.Module,
    kept: ImageModelFolder,
    rebuilt: Rebuilt,
    folder: Path,
    said: dict[str, Any],
) -> None:
    """Write a network of images as a program of torch, which needs none of its classes.

    Raises:
        ExportError: torch cannot follow its forward pass.
    """
    data = cast(ImageBatches, kept.data)
    taken = data.splits["validation"].shape
    size = list(data.pixels.size or taken[1:])
    example = torch.zeros(2, taken[0], *size, dtype=data.dtype)
    try:
        with _silent():
            program = torch.export.export(
                merged.cpu(),
                (example,),
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                strict=False,
            )
            torch.export.save(program, folder / "program.pt2")
    except Exception as error:  # torch raises nearly anything here
        raise ExportError(
            f"model={rebuilt.config.model['name']} cannot be an MLflow model: torch.export does "
            f"not follow it ({first_line(error)}); to=FOLDER writes its weights"
        ) from None
    write_json(
        folder / "inputs.json",
        {
            "answers": said,
            "decoded_shape": list(rebuilt.assembly.read.shape or kept.shape),
            "kept_shape": list(taken),
            "size": size,
            "interpolation": data.pixels.interpolation,
            "background": background_of(rebuilt.config.dataset.loader.get("background")),
            "mean": list(data.normalize.mean),
            "std": list(data.normalize.std),
            "dtype": str(data.dtype).removeprefix("torch."),
        },
        ensure_ascii=False,
    )
