"""What a run trains and on what: data, base weights, model and strategy, put together."""

import copy
import logging
import warnings
from dataclasses import dataclass

from torch import nn

from adapterlab.adapters import AdaptedModel, plan
from adapterlab.adapters.strategy import replace_module
from adapterlab.base.errors import CheckpointError
from adapterlab.base.seeding import stream
from adapterlab.config.schema import BASES, Config
from adapterlab.data.batches import AnyBatches
from adapterlab.data.scrutiny import Scrutiny, require_different
from adapterlab.data.splits import ImageSplit, TextSplit
from adapterlab.data.targets import Scale
from adapterlab.data.text import TextBatches
from adapterlab.models.by_length import ByLength
from adapterlab.models.protocol import adaptable
from adapterlab.runs.base_weights import BaseWeights, Train, load_base, load_into
from adapterlab.runs.check import check_with
from adapterlab.runs.data import RunData, load_data
from adapterlab.runs.own_unit import in_own_unit, standardised
from adapterlab.runs.plan_warnings import high_rate, small_reach
from adapterlab.runs.preprocessing import (
    ImageInputs,
    Inputs,
    TextInputs,
    make_inputs,
    vocabulary_is_made,
    within_limit,
)
from adapterlab.runs.scrutiny import scrutinised
from adapterlab.runs.sketch import make_model, make_strategy
from adapterlab.training.few_texts import why_by_length
from adapterlab.training.hardware import weights_dtype

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assembly:
    """Everything a training needs.

    Attributes:
        read: the data sets as they were read.
        inputs: how examples of either task reach the model.
        data: the target task's batches.
        examples: the test split as it was read.
        base: what the weights started from.
        adapted: the model under its strategy.
        head_kept: whether the head is the base's, rather than newly drawn.
        notes: what a reader of the figures should know about the data and the base.
        scrutiny: what about the data makes figures on them worth less.
    """

    read: RunData
    inputs: Inputs
    data: AnyBatches
    examples: ImageSplit | TextSplit
    base: BaseWeights
    adapted: AdaptedModel
    head_kept: bool
    notes: tuple[str, ...]
    scrutiny: Scrutiny


def assemble(
    config: Config,
    train: Train,
    read: RunData | None = None,
    like: Assembly | None = None,
    *,
    trained: bool = False,
    scale: Scale | None = None,
) -> Assembly:
    """Load the data and the base, and put the strategy on the model.

    Args:
        config: of the run.
        train: carries out the run that trains the base, where there is one to train.
        read: the run's data, if it has been read before.
        like: of a run that differs in its strategy, its optimizer and its seeds only; data and
            base are taken from there.
        trained: what the run has trained is put on the model afterwards: weights that are drawn
            are seen by nobody, and what may go wrong in a training is no longer said.
        scale: in which the run has learnt numbers; None for that of its training rows.

    Raises:
        AdapterLabError: data or weights are missing, damaged or do not fit.
    """
    if like is not None:
        read, base = like.read, like.base
    else:
        read = read or load_data(config, trained=trained)
        check_with(config, read)
        require_different(read.target, read.alike(config.mlruns / "cache"))
        base = load_base(config, read, train)
    shape = base.shape or read.shape
    model = make_model(config, shape, len(read.target.classes))
    inputs = make_inputs(config, read, shape, model) if like is None else like.inputs
    if like is None:
        _require_same_vocabulary(config, base, inputs)
        data = inputs.batches(config, config.dataset, read.target)
        data.scale = scale or data.scale
    else:
        data = like.data.in_order(config.order_seed)
    take_padding(model, inputs)
    if like is None and not trained and (drawn := getattr(model, "drawn", ())):
        log.info("model=%s: not in its weights, drawn: %s", config.model["name"], ", ".join(drawn))
    model.to(weights_dtype(config.hardware.precision))
    head_kept = load_into(model, base, data.classes, getattr(config.base, "head", "new"))
    if head_kept:
        _rescale(model, base, data)
    if base.pretrained and not head_kept and config.adapter.get("head") != "train":
        keep = "base.head=keep keeps the base's" if base.weights else "adapter.head=train trains it"
        warnings.warn(
            f"the head is new, and adapter.head={config.adapter.get('head')} leaves its random "
            f"weights as they are; {keep}",
            stacklevel=2,
        )
    adapted = make_strategy(config).apply(model, seed=stream(config.init_seed, "adapter"))
    adapted.train()  # what a model leaves in evaluation mode depends on what is trained
    if like is None:
        used = {name: split.labels for name, split in data.splits.items()}
        scrutiny = scrutinised(config, read, used)
    else:
        scrutiny = like.scrutiny
    notes = _notes(config, read, inputs, data, base) + scrutiny.notes
    if (padding := _padding(config, adapted, data, like)) is not None:
        notes = (*notes, padding)
    planned = plan(adapted)
    for said in () if trained else (high_rate(config, planned), small_reach(config, planned)):
        if said is not None:
            warnings.warn(said, stacklevel=2)
            notes = (*notes, said)
    examples = like.examples if like is not None else within_limit(config, read.target.test, "test")
    return Assembly(read, inputs, data, examples, base, adapted, head_kept, notes, scrutiny)


def take_padding(model: nn.Module, inputs: Inputs) -> None:
    """Let a model of texts know the tokenizer's padding token, where it asks for one."""
    known = adaptable(model).pad_with
    if known is not None and isinstance(inputs, TextInputs):
        known(inputs.tokenizer.pad_token_id)


def _padding(
    config: Config, adapted: AdaptedModel, data: AnyBatches, like: Assembly | None
) -> str | None:
    """Try out whether padding is lost on a model of texts; say it if it is not, and mend it.

    Raises:
        ConfigError: it cannot be mended.
    """
    if not isinstance(data, TextBatches):
        return None
    if like is not None:
        adapted.by_length = like.adapted.by_length
        return next((note for note in like.notes if note.startswith("model=")), None)
    why = why_by_length(adapted, data, config.model["name"])
    adapted.by_length = why is not None
    if why is not None:
        warnings.warn(why, stacklevel=3)
    return why


def _require_same_vocabulary(config: Config, base: BaseWeights, inputs: Inputs) -> None:
    """Refuse weights that were trained with another tokenizer, as far as that is known.

    Raises:
        CheckpointError: they were, or a vocabulary made of these texts cannot be theirs.
    """
    if inputs.vocabulary is None or not base.weights or base.vocabulary == inputs.vocabulary:
        return
    if base.vocabulary is not None or vocabulary_is_made(config):
        raise CheckpointError(
            f"base weights ({base.origin}) were trained with another vocabulary than these texts "
            f"give model={config.model['name']}; base=trained keeps the base's"
        )


def _notes(
    config: Config,
    read: RunData,
    inputs: Inputs,
    data: AnyBatches,
    base: BaseWeights,
) -> tuple[str, ...]:
    """Return what a reader of the figures should know, each thing once."""
    notes = [*read.target.notes, *(f"{config.dataset.name} {note}" for note in data.notes())]
    if read.shape != inputs.shape:
        notes.append(f"images are brought from {read.shape} to the base's {inputs.shape}")
    if isinstance(inputs, ImageInputs) and (pixels := inputs.pixels) is not None:
        height, width = pixels.shape(inputs.shape)[1:]
        if (height, width) != inputs.shape[1:]:
            notes.append(f"images are resized to the model's {height}x{width} pixels")
    if isinstance(config.limit, dict):
        sizes = ", ".join(f"{size} of {split}" for split, size in config.limit.items())
        notes.append(f"limited to examples: {sizes}")
    elif config.limit is not None:
        notes.append(f"limited to {config.limit} examples of each split")
    if data.scale != Scale():
        notes.append(
            f"{data.classes[0]} is learnt in standard deviations ({data.scale.deviation:.4g}) from "
            f"the mean ({data.scale.mean:.4g}) of the training rows; metrics are in its own unit"
        )
    if not base.pretrained and config.study != BASES:
        notes.append("the base model has random weights: nothing was pretrained")
    return tuple(dict.fromkeys((*notes, *base.notes)))


def base_model(config: Config, assembly: Assembly, num_classes: int) -> nn.Module:
    """Return the base as it was before the strategy, with its own head for `num_classes`."""
    model = make_model(config, assembly.inputs.shape, num_classes)
    take_padding(model, assembly.inputs)
    base = assembly.base
    weights = base.weights if base.as_it_is is None else base.as_it_is
    model.to(next(assembly.adapted.parameters()).dtype).load_state_dict(weights)
    if assembly.head_kept:
        _rescale(model, base, assembly.data)
    return model


def _rescale(model: nn.Module, base: BaseWeights, data: AnyBatches) -> None:
    """Let a head that was kept say numbers in the scale that they are learnt in here.

    Raises:
        AdapterLabError: its last layer cannot hold the mean.
    """
    if base.scale != data.scale:
        in_own_unit(model, base.scale)
        standardised(model, data.scale)


def source_model(config: Config, assembly: Assembly) -> nn.Module:
    """Return the adapted model as a classifier of the source task.

    If the base's head was kept there is one head, and the model is as it is. If a new head was
    drawn, the base's own is put back on the adapted body: what is measured is how far the
    features still serve the old task. Nothing is merged: not every adapter can be.
    """
    if assembly.head_kept:
        return assembly.adapted
    classes = assembly.base.classes
    assert classes is not None
    body = copy.deepcopy(assembly.adapted.model)
    original = base_model(config, assembly, len(classes))
    for name in adaptable(original).head_modules:
        replace_module(body, name, original.get_submodule(name))
    body.requires_grad_(False)
    return (ByLength(body) if assembly.adapted.by_length else body).eval()


def source_data(config: Config, assembly: Assembly) -> AnyBatches:
    """Return the source task's data as the model takes it."""
    dataset, splits = assembly.base.dataset, assembly.read.source
    assert dataset is not None
    assert splits is not None
    return assembly.inputs.batches(config, dataset, splits)
