"""Writing the merged model of a finished run to a folder, once it is shown to be the same model."""

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import nn

from adapterlab.adapters import AdaptedModel, Strategy, merge
from adapterlab.adapters.formats.peft import METHODS
from adapterlab.base.errors import AdapterLabError
from adapterlab.base.files import flush, write_text
from adapterlab.config.domains import Count, NotNegative
from adapterlab.config.parsing import absolute
from adapterlab.config.schema import CheckpointBase, Config, PeftBase, Text
from adapterlab.config.validation import STRICT, checked
from adapterlab.data.batches import AnyBatches
from adapterlab.data.targets import Scale
from adapterlab.data.text import TextBatches
from adapterlab.models.by_length import ByLength
from adapterlab.runs.export.card import model_card
from adapterlab.runs.export.folder import CONFIG, WEIGHTS, ExportError, model_folder
from adapterlab.runs.own_unit import in_own_unit
from adapterlab.runs.saved import SavedRun, rebuild
from adapterlab.runs.sketch import make_strategy
from adapterlab.training.few_texts import alone_and_padded
from adapterlab.training.hardware import choose_device
from adapterlab.training.predicting import predict

_SINGLE = 16
"""Texts that are given to an exported model one at a time."""


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Request(SavedRun):
    """Which run to export, and where to; see conf/export.yaml.

    Attributes:
        to: folder of the merged model.
        overwrite: replace the exported model that is there.
        examples: rows of the validation split to compare logits on; all, if there are fewer.
        tolerance: the most that a logit may differ, as a share of the largest one. Merging only
            rounds differently, in float32 by 1e-6 of the largest logit, by 4e-6 after 24 layers;
            a layer or a factor that is merged wrongly changes whole percents. The default of 1e-4
            is well above the one and below the other.
        registered_model_name: of MLflow's registry; only where `to` is ``mlflow``.
    """

    to: str
    overwrite: bool
    examples: Count
    tolerance: NotNegative
    registered_model_name: Text | None = None


@dataclass(frozen=True)
class Agreement:
    """How closely the model on disk agrees with the adapted one.

    Attributes:
        difference: the largest between two logits, NaN if one of them is.
        largest: absolute logit of the adapted model.
        examples: how many were compared.
    """

    difference: float
    largest: float
    examples: int

    def __str__(self) -> str:
        return (
            f"Read back from disk, its logits differ by at most {self.difference:.3g} from those "
            f"of the adapted model, over the first {self.examples} examples of the validation "
            f"split; the largest logit is {self.largest:.3g}."
        )


@dataclass(frozen=True, kw_only=True)
class Export:
    """A merged model on disk.

    Attributes:
        name: of the run.
        folder: where it is.
        files: their names.
        size: of all files, in bytes.
        parameters: of the model.
        agreement: with the adapted model.
        usage: one line of Python that loads it.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    size: int
    parameters: int
    agreement: Agreement
    usage: str


def parse_request(values: Any) -> Request:
    """Check the options of an export.

    Raises:
        ConfigError: one line that names the first wrong option, its value and what is allowed.
    """
    return checked(TypeAdapter(Request), values)


def export_saved(request: Request) -> Export:
    """Rebuild a saved run's model, merge it, and write it where it was asked for.

    The folder appears whole, and only after what is in it has been read back and found to compute
    the logits of the adapted model.

    Raises:
        AdapterLabError: there is something at `to`, there is no such finished run, its strategy
            cannot be merged, or its data or weights are missing.
        ExportError: what was written computes something else.
    """
    to = Path(absolute(request.to))
    _require_free(to, overwrite=request.overwrite)
    rebuilt = rebuild(request, require_mergeable)
    _require_not_needed(to, rebuilt.config)
    kept = model_folder(rebuilt)
    adapted, data = rebuilt.assembly.adapted, rebuilt.assembly.data
    merged = merge(adapted)
    in_own_unit(merged, data.scale)
    parameters = sum(parameter.numel() for parameter in merged.parameters())
    rows = min(request.examples, len(data.splits["validation"]))
    to.parent.mkdir(parents=True, exist_ok=True)
    # Beside `to`, so that what has been checked gets there by being renamed.
    with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        kept.write(merged, folder)
        kept.check_inputs(folder, rows)
        device = choose_device(rebuilt.config.hardware).torch
        written, first = kept.read(folder), kept.first(rows)
        shown = ByLength(written) if adapted.by_length else written
        agreement = compare(adapted, shown, first, device)
        _require_same(agreement, request)
        said = str(agreement)
        if isinstance(first, TextBatches):
            said = f"{said} {_one_at_a_time(adapted, written.to(device), first, request)}"
        card = model_card(rebuilt, usage=kept.usage(to.name), agreement=said)
        readme = folder / "README.md"
        write_text(readme, card)
        # safetensors keeps its files from everyone else, who may be meant to serve the model.
        (folder / WEIGHTS).chmod(readme.stat().st_mode)
        files = sorted(folder.iterdir())
        size = sum(file.stat().st_size for file in files)
        _require_free(to, overwrite=request.overwrite)  # it has taken a while
        flush(folder)
        _put(folder, to, Path(scratch) / "replaced")
    return Export(
        name=rebuilt.result.name,
        folder=to,
        files=tuple(file.name for file in files),
        size=size,
        parameters=parameters,
        agreement=agreement,
        usage=kept.usage(str(to)),
    )


def compare(
    adapted: nn.Module, written: nn.Module, data: AnyBatches, device: torch.device
) -> Agreement:
    """Compare the logits of two models on a validation split, in evaluation mode."""
    wanted = predict(adapted, data, "validation", device).logits
    told = copy.copy(data)
    told.scale = Scale()  # numbers in their own unit, as what is written says them
    found = predict(written, told, "validation", device).logits
    return Agreement(float(np.abs(wanted - found).max()), float(np.abs(wanted).max()), len(wanted))


def _one_at_a_time(
    adapted: AdaptedModel, written: nn.Module, data: TextBatches, request: Request
) -> str:
    """Compare what was written on single texts with the adapted model on a batch of them.

    Returns:
        A sentence for the card.

    Raises:
        ExportError: they differ.
    """
    alone, _ = alone_and_padded(written.eval(), data, _SINGLE)
    _, learnt = alone_and_padded(adapted.eval(), data, _SINGLE)
    wanted = data.scale.told(learnt)
    largest = float(wanted.abs().max())
    agreement = Agreement(float((alone - wanted).abs().max()), largest, len(alone))
    _require_same(agreement, request)
    if adapted.by_length:
        return (
            "Give it texts one at a time, or of one length: padding is not lost on this "
            "architecture."
        )
    return f"So do those of the first {len(alone)} texts, given one at a time."


def _require_same(agreement: Agreement, request: Request) -> None:
    bound = request.tolerance * agreement.largest
    if not agreement.difference <= bound:  # NaN is not
        raise ExportError(
            f"nothing was written to {request.to}: the merged model's logits differ by up to "
            f"{agreement.difference:.3g} from the adapted model's, over {agreement.examples} "
            f"examples; allowed: {bound:.3g} (tolerance={request.tolerance:g} of the largest "
            f"logit, {agreement.largest:.3g})"
        )


def require_mergeable(config: Config) -> None:
    """Refuse a run of which there is no merged model, before anything is loaded for it."""
    strategy = make_strategy(config)
    if not strategy.mergeable:
        raise AdapterLabError(
            f"a run with adapter={config.adapter['name']} cannot be exported: its adapter cannot "
            f"be merged into the base, so no ordinary model computes the same{_of_peft(strategy)}"
        )


def _of_peft(strategy: Strategy) -> str:
    """Say whether a model of PEFT's computes what no merged one does; nothing if it has no such."""
    if (method := METHODS.get(type(strategy))) is None:
        return ""
    if (lacking := method.lacking(strategy)) is not None:
        return f"; nor does one of PEFT's: {lacking}"
    return "; one of PEFT's does: where it has the base, the adapter is in the run's folder peft/"


def _require_free(to: Path, *, overwrite: bool) -> None:
    """Refuse a place that holds anything, unless it is an exported model to be replaced."""
    if not to.exists():
        return
    if not to.is_dir():
        raise AdapterLabError(f"to={to} is a file; name a folder that is new or empty")
    inside = sorted(to.iterdir())
    if not inside:
        return
    if not overwrite:
        raise AdapterLabError(
            f"to={to} is not empty ({inside[0].name}); name another folder, or overwrite=true"
        )
    names = {path.name for path in inside}
    folders = [path.name for path in inside if path.is_dir()]
    if folders or not {WEIGHTS, CONFIG} <= names:
        odd = f"it has a folder {folders[0]}" if folders else f"it lacks {WEIGHTS} or {CONFIG}"
        raise AdapterLabError(
            f"to={to}: overwrite=true replaces nothing but exported models, and {odd}"
        )


def _require_not_needed(to: Path, config: Config) -> None:
    """Refuse to replace what the run itself starts from."""
    sources = {"model.name_or_path": config.model.get("name_or_path")}
    if isinstance(config.base, CheckpointBase | PeftBase):
        sources["base.path"] = config.base.path
    for option, source in sources.items():
        if source is not None and Path(source).resolve().is_relative_to(to):
            raise AdapterLabError(
                f"to={to} holds the run's own base ({option}={source}); name another folder"
            )


def _put(folder: Path, to: Path, replaced: Path) -> None:
    """Move a folder to its place, and what was there aside; back again if that fails."""
    try:
        if to.exists():
            to.rename(replaced)
        folder.rename(to)
    finally:
        if replaced.exists() and not to.exists():
            replaced.rename(to)
