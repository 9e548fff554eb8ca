"""The folder of a merged model: what is written for texts and for images, and how it is read."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import nn

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.files import write_json, write_tensors
from adapterlab.config.schema import Config, ImageDataset, ScratchBase, TextDataset
from adapterlab.config.targets import RESERVED
from adapterlab.config.tasks import Task
from adapterlab.data.batches import AnyBatches
from adapterlab.data.images import ImageBatches
from adapterlab.data.pairs import joins
from adapterlab.data.splits import ImageSplit, TextSplits
from adapterlab.data.tokens import TokenizedSplit
from adapterlab.models.pooling import PooledClassifier
from adapterlab.models.safe_loading import PLAIN, TENSORS
from adapterlab.models.transformer import TransformerClassifier
from adapterlab.runs.data import AnySplits, Shape
from adapterlab.runs.preprocessing import Inputs, TextInputs, run_splits
from adapterlab.runs.saved import Rebuilt
from adapterlab.runs.sketch import comes_with_weights, make_model
from adapterlab.training.hardware import weights_dtype

WEIGHTS, CONFIG = "model.safetensors", "config.json"
TYPES = "token_type_ids"


class ExportError(AdapterLabError):
    """What was written is not the model that the run trained; nothing of it is kept."""

    exit_code = 1  # the request was all right


@dataclass(frozen=True)
class ModelFolder(ABC):
    """How the merged model of a run is kept.

    Attributes:
        config: of the run.
        target: its data set as it was read.
        data: the same as batches.
    """

    config: Config
    target: AnySplits
    data: AnyBatches

    @abstractmethod
    def write(self, merged: nn.Module, folder: Path) -> None:
        """Write the model, and what its inputs need, into an empty folder."""

    @abstractmethod
    def read(self, folder: Path) -> nn.Module:
        """Return the model as it is on disk, from the batches' inputs to logits."""

    @abstractmethod
    def check_inputs(self, folder: Path, rows: int) -> None:
        """Compare what the folder makes of the first validation examples with what the run made.

        Raises:
            ExportError: it is something else.
        """

    @abstractmethod
    def first(self, rows: int) -> AnyBatches:
        """Return the batches with no more than the first rows of the validation split."""

    @abstractmethod
    def usage(self, folder: str) -> str:
        """Return one line of Python that loads the model from a folder."""


def model_folder(rebuilt: Rebuilt) -> ModelFolder:
    """Return how a run's merged model is kept.

    Raises:
        AdapterLabError: it is a model of texts that is none of transformers'.
    """
    config, assembly = rebuilt.config, rebuilt.assembly
    inputs: Inputs = assembly.inputs
    if not isinstance(inputs, TextInputs):
        from adapterlab.runs.export.images import TransformersImageFolder, is_of_transformers

        of_transformers = is_of_transformers(assembly.adapted.model)
        kind = TransformersImageFolder if of_transformers else ImageModelFolder
        return kind(config, assembly.read.target, assembly.data, inputs.shape)
    if not isinstance(assembly.adapted.model, TransformerClassifier):
        raise AdapterLabError(
            f"model={config.model['name']} cannot be exported: of the models that take texts, "
            "those of transformers can"
        )
    if isinstance(assembly.adapted.model, PooledClassifier):
        raise AdapterLabError(
            f"model.pooling={config.model['pooling']} cannot be exported: no classifier of "
            "transformers reads that of this architecture; allowed: auto"
        )
    return TextModelFolder(config, assembly.read.target, assembly.data, inputs)


def name_classes(config: Any, classes: Sequence[str], task: Task) -> None:
    """Tell a configuration of transformers what its model's outputs are."""
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: i for i, name in enumerate(classes)}
    # A base of another task may have a kind that pipelines would turn into other scores.
    config.problem_type = _PROBLEMS[task]


_PROBLEMS: dict[Task, str] = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}
"""Tasks as transformers calls them."""


@dataclass(frozen=True)
class TextModelFolder(ModelFolder):
    """What `save_pretrained` writes, for `transformers` alone to read: model and tokenizer.

    Weights keep the run's precision, float32 or float64.
    """

    inputs: TextInputs

    @property
    def of_pairs(self) -> bool:
        """Whether an example is a pair of texts."""
        return bool(cast(TextSplits, self.target).test.pairs)

    @property
    def joined(self) -> bool:
        """Whether the tokenizer is given a pair as two texts, rather than a line for each."""
        return self.of_pairs and joins(self.inputs.tokenizer)

    @property
    def typed(self) -> bool:
        """Whether the model is told which text of a pair a token is of."""
        return self.data.splits["validation"].types is not None

    def write(self, merged: nn.Module, folder: Path) -> None:
        """Write model and tokenizer, which cuts where the run did if it is told to truncate."""
        from adapterlab.models.loading import quiet  # loads transformers: not for images

        model = cast(TransformerClassifier, merged).model
        name_classes(model.config, self.data.classes, self.data.task)
        tokenizer = copy.deepcopy(self.inputs.tokenizer)
        tokenizer.model_max_length = cast(TextDataset, self.config.dataset).max_length
        tokenizer.padding_side = "right"  # as the batches here are
        # What the last call left behind, which depends on what had been in the cache.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        if self.of_pairs and not self.typed:  # a pipeline would give them to the model
            names = [name for name in tokenizer.model_input_names if name != TYPES]
            tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names
        with quiet():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    def read(self, folder: Path) -> nn.Module:
        """Load with `transformers` alone."""
        from adapterlab.models.loading import quiet

        # isort: split

        from transformers import AutoModelForSequenceClassification

        with quiet():
            model = AutoModelForSequenceClassification.from_pretrained(folder, **TENSORS)
            return TransformerClassifier(model)

    def check_inputs(self, folder: Path, rows: int) -> None:
        """Compare the tokens, cut to the length that the folder's tokenizer knows."""
        from transformers import AutoTokenizer

        splits = cast(TextSplits, self.target)
        _, validation, _ = run_splits(self.config, self.config.dataset, splits)
        texts = validation.texts[:rows]
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, **PLAIN)
        parts: Sequence[Sequence[str]] = [texts]
        if self.joined:
            parts = list(zip(*validation.pairs[:rows], strict=True))
        found = tokenizer(*map(list, parts), truncation=True)
        split: TokenizedSplit = self.data.splits["validation"]
        wrong = [
            text
            for row, text in enumerate(texts)
            if not _same_tokens(split, row, found, types=self.of_pairs)
        ]
        if wrong:
            raise ExportError(
                f"the tokenizer gives other tokens when read back, for {len(wrong)} of "
                f"{len(texts)} texts, such as {wrong[0][:40]!r}"
            )

    def first(self, rows: int) -> AnyBatches:
        """Cut the tokens off after the last row."""
        return _with_validation(self.data, self.data.splits["validation"].head(rows))

    def usage(self, folder: str) -> str:
        """Load a pipeline, which takes texts; longer ones are cut as they were in training."""
        called = ""
        if self.joined:
            called = "; classify({'text': ..., 'text_pair': ...})"
        elif self.of_pairs:
            called = "; classify(FIRST + '\\n' + SECOND)"
        return (
            "from transformers import pipeline; "
            f"classify = pipeline('text-classification', model={folder!r}, truncation=True){called}"
        )


def _same_tokens(split: TokenizedSplit, row: int, found: Any, *, types: bool) -> bool:
    """Say whether a tokenizer's answer is what the run had for a row, and of the same types."""
    of_row = slice(*split.offsets[row : row + 2].tolist())
    same: bool = found["input_ids"][row] == split.tokens[of_row].tolist()
    if not types:
        return same
    if split.types is None:
        return same and TYPES not in found
    return same and found[TYPES][row] == split.types[of_row].tolist()


@dataclass(frozen=True)
class ImageModelFolder(ModelFolder):
    """The plain state dict, and in `config.json` what the model and its inputs are.

    Attributes:
        shape: (channels, height, width) of the model's inputs.
    """

    shape: Shape

    def write(self, merged: nn.Module, folder: Path) -> None:
        """Write weights and configuration."""
        # Cloned, for safetensors refuses tensors that share memory.
        weights = {k: t.detach().cpu().clone() for k, t in merged.state_dict().items()}
        write_tensors(folder / WEIGHTS, {name: t.contiguous() for name, t in weights.items()})
        data = cast(ImageBatches, self.data)
        dataset = cast(ImageDataset, self.config.dataset)
        mean, std, shape = dataset.mean, dataset.std, self.shape
        if data.pixels.mean is not None:  # of its own, whatever the data set says
            mean, std = list(data.normalize.mean), list(data.normalize.std)
        if data.pixels.size is not None:
            shape = data.pixels.shape(shape)
        values = {
            "model": {"_target_": self.config.model["_target_"], **self._options()},
            "dtype": str(self._dtype()).removeprefix("torch."),
            "input_shape": list(shape),
            "classes": list(self.data.classes),
            "mean": mean,
            "std": std,
        }
        write_json(folder / CONFIG, values, ensure_ascii=False)

    def read(self, folder: Path) -> nn.Module:
        """Load the weights into a new model, without an adapter."""
        config = replace(self.config, base=ScratchBase(kind="scratch"))
        model = make_model(config, self.shape, len(self.data.classes)).to(self._dtype())
        model.load_state_dict(load_file(folder / WEIGHTS))
        return model

    def check_inputs(self, folder: Path, rows: int) -> None:
        """Do nothing: how images are normalised is a handful of numbers in `config.json`."""

    def first(self, rows: int) -> AnyBatches:
        """Take the first images."""
        split: ImageSplit = self.data.splits["validation"]
        return _with_validation(self.data, split.select(torch.arange(rows)))

    def usage(self, folder: str) -> str:
        """Build the model and load its weights; it takes normalised images."""
        module, _, name = self.config.model["_target_"].rpartition(".")
        options = "".join(f", {key}={value!r}" for key, value in self._options().items())
        double = ".double()" if self._dtype() == torch.float64 else ""
        return (
            f"from {module} import {name}; from safetensors.torch import load_file; "
            f"model = {name}({self.shape}, {len(self.data.classes)}{options}){double}.eval(); "
            f"model.load_state_dict(load_file({f'{folder}/{WEIGHTS}'!r}))"
        )

    def _options(self) -> dict[str, Any]:
        options = {key: value for key, value in self.config.model.items() if key not in RESERVED}
        # What it would come with is not wanted: it gets other weights.
        return {**options, "weights": "random"} if comes_with_weights(self.config) else options

    def _dtype(self) -> torch.dtype:
        return weights_dtype(self.config.hardware.precision)


def _with_validation(data: AnyBatches, split: Any) -> AnyBatches:
    """Return the same batches over another validation split, and over no other."""
    changed = copy.copy(data)
    changed.splits = {"validation": split}
    return changed
