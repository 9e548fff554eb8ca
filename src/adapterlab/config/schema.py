"""The typed schema of conf/: every option of a run, its type and its domain.

It loads no torch, so that a mistake is found in a moment. What a user can swap by `_target_`
(model, strategy, loader, optimizer) is checked against the target's own signature, by `targets`.
"""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from adapterlab.config.bookkeeping import FileName, Target, Told, TrialPruner, Tuning
from adapterlab.config.class_names import complaint
from adapterlab.config.domains import Count, NotNegative, Share
from adapterlab.config.hardware import Hardware
from adapterlab.config.losses import Loss
from adapterlab.config.optimizers import Optimizer
from adapterlab.config.ranks import Pruned, Ranks
from adapterlab.config.tasks import ClassF1, SelectOn, Task
from adapterlab.config.trust import namespace
from adapterlab.config.validation import STRICT

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, Field(min_length=1)]


def _of_three(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("[channels, height, width], such as [3,32,32]")
    return value


Shape = Annotated[list[Count], BeforeValidator(_of_three)]
Namespace = Annotated[str, AfterValidator(namespace)]


def _told_apart(names: list[str]) -> list[str]:
    if why := complaint(names):
        raise ValueError(f"they should have names that can be told apart; {why}")
    return names


def _in_quotes(value: Any) -> Any:
    """Refuse names that the command line takes for numbers, and may have changed."""
    if isinstance(value, list) and any(isinstance(name, int | float) for name in value):
        raise ValueError(
            "texts; what looks like a number or a truth value is one in quotes, such as "
            "\"dataset.classes=['0','1']\""
        )
    return value


ClassNames = Annotated[
    list[str], Field(min_length=2), AfterValidator(_told_apart), BeforeValidator(_in_quotes)
]
SplitName = Literal["train", "validation", "test"]

Recipe = Literal["trivial", "randaugment", "color", "resized_crop"]
"""What torchvision does to training images, see `data.recipes`."""

Limits = Annotated[dict[SplitName, Count | None], Field(min_length=1)]


def _of_examples(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(  # noqa: TRY004 (pydantic reports no other)
            "a number of examples of every split, such as 100, or {train: 100}"
        )
    return value


def _of_parameters(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError(  # noqa: TRY004 (pydantic reports no other)
            "a number of parameters, such as 10000, or a share of the base, such as 1%"
        )
    return value


Budget = Annotated[
    Annotated[int, Field(ge=1, lt=2**63)] | str | None, BeforeValidator(_of_parameters)
]
Limit = Annotated[
    Annotated[Count, BeforeValidator(_of_examples), Tag("every")] | Annotated[Limits, Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, dict) else "every"),
]
"""At most so many examples: of every split, or of each that is named; None leaves one whole."""

BASES = "bases"
"""The study that runs which train a base model belong to."""

RESERVED_STUDIES = (BASES, "single")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DatasetBase:
    """What all data sets share.

    Attributes:
        name: as in tables and tags.
        source: the data set that the base is trained on unless `base.source` says otherwise.
        source_epochs: epochs of that training, unless `base.epochs` says otherwise.
        loader: `_target_` of a function that returns the splits, and its arguments.
        classes: class names in label order; None takes them from the files.
        validation: share of the training split held out, where there is no such split.
        validation_seed: seed of that cut, the same in every run.
    """

    name: FileName
    source: str | None
    source_epochs: Count
    loader: Target
    classes: ClassNames | None
    validation: Annotated[float, Field(gt=0, lt=1)]
    validation_seed: Seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageDataset(DatasetBase):
    """Images, and how they reach the model.

    Attributes:
        shape: (channels, height, width); None takes it from the files.
        mean, std: normalisation in units of [0, 1] pixels, one value or one a channel.
        crop: pixels of zero padding before a random crop back to size; 0 for none.
        flip: mirror half of the training images.
        augment: transforms of torchvision on the training images, one after the other.
    """

    kind: Literal["image"]
    shape: Shape | None
    mean: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)]
    std: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]
    crop: Annotated[int, Field(ge=0)]
    flip: bool
    augment: list[Recipe] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextDataset(DatasetBase):
    """Texts, and how they reach the model.

    Attributes:
        max_length: the most tokens of a text; what is longer is cut off, counted and said.
        length_bucketing: put texts of like length into a batch, so that little of it is padding.
        pad_to_max: pad every text to `max_length`; slower, and the same logits.
    """

    kind: Literal["text"]
    max_length: Count
    length_bucketing: bool
    pad_to_max: bool


Dataset = Annotated[ImageDataset | TextDataset, Field(discriminator="kind")]


HeadInit = Literal["auto", "keep", "new"]
"""Keep the base's classifier, draw a new one, or keep it when the classes are the same."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainedBase:
    """A base model trained here on a source data set, once for all runs that ask for it.

    Attributes:
        source: name of the source data set in conf/dataset.
        dataset: its configuration, looked up by that name.
        seed: of the base's own training; the runs of a study share one base.
    """

    kind: Literal["trained"]
    head: HeadInit
    source: str | None
    dataset: Dataset | None
    epochs: Count
    batch_size: Count
    optimizer: Optimizer
    seed: Seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CheckpointBase:
    """Base weights from a file: safetensors, or a state dict saved by torch.

    Attributes:
        path: the file; its names and shapes must be the model's.
        shape: the input shape that the weights were trained with; None takes the data set's.
        classes: class names of its head; None if they are not known.
    """

    kind: Literal["checkpoint"]
    head: HeadInit
    path: Text
    shape: Shape | None
    classes: list[str] | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainedBase:
    """The weights that the model itself comes with, as those of the hub do.

    Attributes:
        head: `new`, or `keep`: the checkpoint's own, whose classes are the data set's by name.
    """

    kind: Literal["pretrained"]
    head: Literal["new", "keep"] = "new"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PeftBase:
    """A PEFT adapter's folder, merged into the weights that the model comes with."""

    kind: Literal["peft"]
    head: HeadInit
    path: Text
    classes: list[str] | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScratchBase:
    """No pretrained weights: the model as it was drawn from the init seed."""

    kind: Literal["scratch"]


Base = Annotated[
    TrainedBase | CheckpointBase | PretrainedBase | PeftBase | ScratchBase, Discriminator("kind")
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tracking:
    """Where a run is logged.

    Attributes:
        enabled: False logs to the run folder only.
        uri: MLflow tracking URI; None is the store under `root`/mlruns.
        experiment: MLflow experiment.
        artifacts: folder or URI for the files of a new experiment's runs; None is the server's, or
            one under `root`/mlruns.
        share_gib: the largest cache file, of decoded images, tokens or features of frozen layers,
            that goes to the store at `uri` for machines without this disk; 0 for none.
    """

    enabled: bool
    uri: Text | None
    experiment: Text
    artifacts: Text | None = None
    share_gib: NotNegative = 0.25


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """One run. See conf/train.yaml for what each option means."""

    dataset: Dataset
    model: Target
    adapter: Target
    base: Base
    optimizer: Optimizer
    hardware: Hardware
    tracking: Tracking
    epochs: Count
    batch_size: Count
    label_smoothing: Share
    select_on: ClassF1 | SelectOn
    early_stopping: Count | None
    seed: Seed
    init_seed: Seed
    order_seed: Seed
    limit: Limit | None
    fast_dev_run: bool
    study: FileName | None
    resume: bool
    plan: bool
    report: bool = True  # saved configurations of runs from before have none
    mlflow_model: bool = False
    figures: Literal["always", "report", "never"] = "always"
    pack: Literal["auto", "always", "never"]
    root: Text
    data_dir: Text | None
    budget: Budget = None
    margin: Annotated[float, Field(gt=0, lt=100)] = 0.5
    baseline: Literal["auto", "features", "never"] = "auto"
    loss: Loss = field(default_factory=Loss)
    sampling: Literal["natural", "balanced"] = "natural"
    tuning: Tuning | None = None
    told: Told | None = None
    allow_targets: list[Namespace] = field(default_factory=list)
    accumulate: Count = 1
    task: Task = "single_label"
    ranks: Ranks = field(default_factory=Ranks)
    pruned: Pruned | None = None
    trial_pruner: TrialPruner | None = None

    def limit_of(self, split: SplitName) -> int | None:
        """Return the most examples of a split that are used; None for all of them."""
        return self.limit.get(split) if isinstance(self.limit, dict) else self.limit

    @property
    def source(self) -> ImageDataset | TextDataset | None:
        """The data set that the base is trained on here; None if it is not trained here."""
        return self.base.dataset if isinstance(self.base, TrainedBase) else None

    @property
    def data_path(self) -> Path | None:
        """The folder with local copies of data sets."""
        return None if self.data_dir is None else Path(self.data_dir)

    @property
    def mlruns(self) -> Path:
        """The folder that everything is written under."""
        return Path(self.root) / "mlruns"
