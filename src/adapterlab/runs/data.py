"""Reading the data sets of a run, once, and telling whether they are still the same."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import Tensor

from adapterlab.base.errors import ConfigError
from adapterlab.config.class_names import listed, quoted
from adapterlab.config.own_data import is_own
from adapterlab.config.schema import CheckpointBase, Config, Dataset, ImageDataset
from adapterlab.config.targets import prepared
from adapterlab.config.tasks import Task
from adapterlab.data.duplicates import alike
from adapterlab.data.labels import require_learnable
from adapterlab.data.sources import LoadContext
from adapterlab.data.splits import ImageSplit, ImageSplits, TextSplit, TextSplits
from adapterlab.data.transforms import splits_to_shape
from adapterlab.models.protocol import adaptable

Shape = tuple[int, int, int]
AnySplits = ImageSplits | TextSplits
T = TypeVar("T")


@dataclass(frozen=True)
class RunData:
    """The official splits of the target task, and of the source task where there is one."""

    target: AnySplits
    source: AnySplits | None = None
    _test_hashes: dict[int, str] = field(default_factory=dict, repr=False, compare=False)
    _known: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _alike: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @property
    def shape(self) -> Shape | None:
        """(channels, height, width) of the target's images; None for texts."""
        return self.target.train.shape if isinstance(self.target, ImageSplits) else None

    @cached_property
    def hash(self) -> str:
        """12 hex digits for what is in the files now.

        A configuration says where data are, not what they are; a run or a base that was trained
        on other data is no replicate of this one.
        """
        digest = hashlib.sha256()
        for splits in (self.target, self.source):
            if splits is not None:
                splits.update(digest)
        return digest.hexdigest()[:12]

    @cached_property
    def of_source(self) -> "RunData | None":
        """The data of the run that trains the base; None without a source."""
        return None if self.source is None else RunData(self.source)

    def once(self, key: str, find_out: Callable[[], T]) -> T:
        """Return what was found out before for runs on these data, or else find it out."""
        if key not in self._known:
            self._known[key] = find_out()
        return cast(T, self._known[key])

    def alike(self, cache: Path) -> dict[str, Tensor]:
        """Number examples so that equal ones have one number, once for all runs on these data.

        Args:
            cache: folder where the numbers are kept.

        Returns:
            For each split of the target int64 ``[N]``, and for ``source`` those of the source's
            training examples where they can be compared with the target's.
        """
        if not self._alike:
            splits: dict[str, Any] = self.target.named()
            source = self.source
            if isinstance(source, TextSplits) == isinstance(self.target, TextSplits) and (
                source is not None
            ):
                comparable = isinstance(source, TextSplits) or source.train.shape == self.shape
                splits |= {"source": source.train} if comparable else {}
            self._alike.update(alike(splits, self.hash, cache))
        return self._alike

    def test_hash(self, examples: ImageSplit | TextSplit) -> str:
        """Return 12 hex digits for test examples: inputs, labels, their order, and the classes.

        Runs whose hashes are equal were tested on the same examples.

        Args:
            examples: of the target's test split, all of them or so many as `limit` leaves; they
                are hashed once for every such number.
        """
        count = len(examples)
        if count not in self._test_hashes:
            digest = hashlib.sha256("\n".join(self.target.classes).encode())
            examples.update(digest)
            self._test_hashes[count] = digest.hexdigest()[:12]
        return self._test_hashes[count]


def load_data(config: Config, *, trained: bool = False) -> RunData:
    """Read what a run needs: the target first, so that what is missing is found at once.

    Args:
        config: of the run.
        trained: the run has been trained already, see `LoadContext`.

    Raises:
        DataError: files are missing or damaged.
        ConfigError: the data set's `classes` are not as many as the files have.
    """
    source = config.source
    target = load_splits(config, config.dataset, shape_taken(config), trained=trained)
    if source is None:
        return RunData(target)
    return RunData(target, load_splits(config, source, trained=trained))


def shape_taken(config: Config) -> Shape | None:
    """Return the shape of images that a run's base or model takes, as far as either says it."""
    if config.source is not None:
        return shape_of(config.source)
    if isinstance(config.base, CheckpointBase) and config.base.shape is not None:
        return as_shape(config.base.shape)
    own = isinstance(config.dataset, ImageDataset) and is_own(config.dataset.loader)
    if not own or "image_size" not in config.model:
        return None
    from adapterlab.runs.sketch import bare  # which reads data by this module

    pixels = adaptable(bare(config, (3, 32, 32), 2)).pixels
    return None if pixels is None or pixels.size is None else pixels.shape(())


def load_splits(
    config: Config, dataset: Dataset, of_model: Shape | None = None, *, trained: bool = False
) -> AnySplits:
    """Read a data set; images come in the shape that its options name.

    Args:
        config: says where files are and may be written.
        dataset: what to read.
        of_model: the shape for images of several sizes where no option names one.
        trained: the run has been trained already, see `LoadContext`.

    Raises:
        DataError: files are missing or damaged.
        ConfigError: the data set's `classes` are not as many as the files have.
    """
    downloads = config.mlruns / "data"
    search = [config.data_path, downloads] if config.data_path else [downloads]
    shape = shape_of(dataset)
    task, cache = task_read(config, dataset), config.mlruns / "cache"
    context = LoadContext(tuple(search), downloads, cache, shape, of_model, task, trained)
    load = prepared_loader(dataset, "dataset", config.allow_targets)
    splits = load(context)
    if dataset.classes is not None:
        splits = _called(splits, dataset.classes, dataset.name)
    if splits.task != task:
        raise ConfigError(
            f"task={config.task}: the files of {dataset.name} are labelled for task={splits.task}"
        )
    require_learnable(splits, dataset.validation)
    return splits_to_shape(splits, shape) if isinstance(splits, ImageSplits) else splits


def _called(splits: AnySplits, names: Sequence[str], dataset: str) -> AnySplits:
    """Call classes as the options do, by their order.

    Raises:
        ConfigError: names are not as many as the files have, or one is another class's there.
    """
    there = splits.classes
    if len(names) != len(there):
        raise ConfigError(
            f"dataset.classes names {len(names)} classes, the files of {dataset} have "
            f"{len(there)}: {listed(there)}"
        )
    if any(name in there and there.index(name) != at for at, name in enumerate(names)):
        raise ConfigError(
            f"dataset.classes=[{listed(names)}] is in another order than in the files of "
            f"{dataset}: {listed(there)}"
        )
    others = [
        f"{quoted(old)} is {quoted(new)}"
        for old, new in zip(there, names, strict=True)
        if old != new and not old.isdecimal()
    ]
    if others:
        said = ", ".join(others[:5]) + (f", ... ({len(others)} in all)" if others[5:] else "")
        splits = splits.with_notes(
            f"dataset.classes calls classes otherwise than the files: {said}"
        )
    return replace(splits, classes=tuple(names))


def task_read(config: Config, dataset: Dataset) -> Task:
    """Return what a data set's labels are for; a base is trained to tell classes apart."""
    return config.task if dataset is config.dataset else "single_label"


def prepared_loader(
    dataset: Dataset, where: str, allow: Sequence[str]
) -> Callable[[LoadContext], AnySplits]:
    """Return a data set's loader with its options checked and bound.

    Raises:
        ConfigError: there is no such loader, it may not be named, or an option is wrong.
    """
    where = f"{where}.loader"
    if dataset.kind == "image":
        return prepared(dataset.loader, where, supplied=("context",), allow=allow)
    load = prepared(dataset.loader, where, supplied=("context", "classes"), allow=allow)
    return partial(load, classes=dataset.classes)  # files of texts seldom say what 0 stands for


def shape_of(dataset: Dataset) -> Shape | None:
    """Return the (channels, height, width) that a data set declares; None if it declares none."""
    return as_shape(dataset.shape) if isinstance(dataset, ImageDataset) else None


def as_shape(values: list[int] | None) -> Shape | None:
    """Return three sizes of a configuration as a tuple."""
    if values is None:
        return None
    channels, height, width = values
    return channels, height, width
