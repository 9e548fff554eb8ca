"""What a model is fed: images of one shape, or tokens of one tokenizer.

Source and target task come to the model through the same inputs: the source's images are of the
shape that the model takes, its texts go through the tokenizer that the base was trained with.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch import nn

from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config, Dataset, ImageDataset, SplitName, TextDataset
from adapterlab.config.targets import prepared, takes
from adapterlab.data.batches import EVALUATED, AnyBatches
from adapterlab.data.images import ImageBatches
from adapterlab.data.origin import RowNames
from adapterlab.data.pixels import EVALUATED_ROWS, Pixels
from adapterlab.data.splits import (
    ImageSplits,
    S,
    Splits,
    TextSplits,
    hold_out,
    kept_cut,
    limited,
    sampled,
)
from adapterlab.data.text import TextBatches
from adapterlab.data.tokens import tokenize, tokenizer_hash
from adapterlab.data.transforms import splits_to_shape
from adapterlab.models.protocol import adaptable
from adapterlab.runs.data import AnySplits, RunData, Shape
from adapterlab.training.hardware import resolve_accelerator, weights_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class ImageInputs:
    """Images of one shape, (channels, height, width), or of the size that a model asks for.

    Attributes:
        shape: of the target's images.
        pixels: what the model says of them, if anything.
    """

    shape: Shape
    pixels: Pixels | None = None
    vocabulary: None = None

    def batches(self, config: Config, dataset: Dataset, splits: AnySplits) -> AnyBatches:
        """Make batches of a data set's images, brought to the shape, or to the model's size."""
        assert isinstance(dataset, ImageDataset)
        assert isinstance(splits, ImageSplits)
        shape = self.shape
        if self.pixels is not None and self.pixels.size is not None:
            # Brought to that size batch by batch, from their own.
            shape = (self.pixels.channels, *splits.train.shape[1:])
        train, validation, test = run_splits(config, dataset, splits_to_shape(splits, shape))
        return ImageBatches(
            train=train,
            validation=validation,
            test=test,
            classes=splits.classes,
            mean=dataset.mean,
            std=dataset.std,
            batch_size=config.batch_size,
            order_seed=config.order_seed,
            balanced=config.sampling == "balanced",
            standardize=config.loss.standardize,
            crop=dataset.crop,
            flip=dataset.flip,
            recipes=dataset.augment,
            pixels=self.pixels,
            eval_batch_size=EVALUATED["image"] if self.pixels is None else EVALUATED_ROWS,
            workers=config.hardware.workers,
            pin_memory=resolve_accelerator(config.hardware.accelerator) == "gpu",
            dtype=weights_dtype(config.hardware.precision),
        )


@dataclass(frozen=True)
class TextInputs:
    """Texts as a tokenizer cuts them.

    Attributes:
        tokenizer: the base's.
        cache: folder for what has been tokenised.
        token_types: whether the model is told which text of a pair a token is of.
    """

    tokenizer: "PreTrainedTokenizerFast"
    cache: Path
    token_types: bool = False
    shape: None = None

    @cached_property
    def vocabulary(self) -> str:
        """A hash of the tokenizer, without which the model's weights mean nothing."""
        return tokenizer_hash(self.tokenizer)

    def batches(self, config: Config, dataset: Dataset, splits: AnySplits) -> AnyBatches:
        """Tokenise a data set and make batches of it."""
        assert isinstance(dataset, TextDataset)
        assert isinstance(splits, TextSplits)
        train, validation, test = (
            tokenize(
                split,
                self.tokenizer,
                dataset.max_length,
                cache=self.cache,
                name=name,
                types=self.token_types,
            )
            for name, split in zip(
                (f"{dataset.name}-{split}" for split in ("train", "validation", "test")),
                run_splits(config, dataset, splits),
                strict=True,
            )
        )
        return TextBatches(
            train=train,
            validation=validation,
            test=test,
            classes=splits.classes,
            batch_size=config.batch_size,
            order_seed=config.order_seed,
            balanced=config.sampling == "balanced",
            standardize=config.loss.standardize,
            pad_token_id=self.tokenizer.pad_token_id,
            length_bucketing=dataset.length_bucketing,
            pad_to_max=dataset.pad_to_max,
            workers=config.hardware.workers,
            pin_memory=resolve_accelerator(config.hardware.accelerator) == "gpu",
        )


Inputs = ImageInputs | TextInputs


def make_inputs(config: Config, data: RunData, shape: Shape | None, model: nn.Module) -> Inputs:
    """Return what a model is fed.

    A tokenizer that is made of texts is made of those that the base is trained on: the source's
    training rows where there is a source, the target's otherwise.

    Args:
        config: of the run.
        data: of the run.
        shape: of the images that the model takes; None for texts.
        model: says how many tokens it knows, and how many it takes at a time.

    Raises:
        ConfigError: the tokenizer cannot be had, or is not the model's.
    """
    if shape is not None:
        pixels = adaptable(model).pixels
        if pixels is None:
            return ImageInputs(shape)
        # Where the model says a size, images come there from their own, whatever the base's was.
        given = shape if pixels.size is None else data.shape or shape
        return ImageInputs((pixels.channels, *given[1:]), pixels)
    from adapterlab.data.tokenizer import check_tokenizer  # loads transformers: not for images

    node, where = config.model["tokenizer"], "model.tokenizer"
    make = prepared(node, where, perhaps=("texts",), allow=config.allow_targets)
    if vocabulary_is_made(config):
        texts = cast(TextSplits, data.source or data.target)
        train, _, _ = run_splits(config, config.source or config.dataset, texts)
        make = partial(make, texts=train.texts)
    tokenizer = make()
    said = adaptable(model)
    if said.vocab_size is None:
        raise ConfigError(f"model={config.model['name']} takes no texts: it says no vocab_size")
    check_tokenizer(
        tokenizer,
        model=config.model["name"],
        embeddings=said.vocab_size,
        max_length=cast(TextDataset, config.dataset).max_length,
        positions=said.max_tokens,
    )
    return TextInputs(tokenizer, config.mlruns / "cache", said.token_types)


def vocabulary_is_made(config: Config) -> bool:
    """Say whether the tokenizer is made of a data set's texts, rather than found."""
    node = config.model["tokenizer"]
    return "texts" in takes(node, "model.tokenizer", config.allow_targets)


def within_limit(config: Config, split: S, name: SplitName) -> S:
    """Return a sample of a split where the run is limited, else the split as it is."""
    limit = config.limit_of(name)
    return split if limit is None else limited(split, limit, seed=0)


def rows_called(config: Config, splits: AnySplits, name: SplitName) -> RowNames:
    """Return what the files call the rows of a split that is tested on, in the order of a run.

    Args:
        config: of the run, which may be limited.
        splits: the data set as it was read.
        name: of a split that is there.
    """
    size, limit = len(splits.named()[name]), config.limit_of(name)
    rows = sampled(size, size if limit is None else limit, seed=0)
    return splits.called(name, rows.tolist())


def run_splits(config: Config, dataset: Dataset, splits: Splits[S]) -> tuple[S, S, S]:
    """Return training, validation and test split, each limited where that was asked for."""
    cut = partial(kept_cut, config.mlruns / "cache")
    train, validation = hold_out(splits, dataset.validation, dataset.validation_seed, cut)
    return (
        within_limit(config, train, "train"),
        within_limit(config, validation, "validation"),
        within_limit(config, splits.test, "test"),
    )
