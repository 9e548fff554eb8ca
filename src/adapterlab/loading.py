"""Reading the data sets of a run, and telling whether they are still the same."""

import hashlib
from dataclasses import replace

from adapterlab.config import Config, Dataset, TrainedBase
from adapterlab.data.sources import LoadContext
from adapterlab.data.splits import ImageSplits
from adapterlab.data.transforms import splits_to_shape
from adapterlab.errors import ConfigError
from adapterlab.instantiate import prepared

Shape = tuple[int, int, int]


def load_splits(config: Config, dataset: Dataset, shape: Shape | None) -> ImageSplits:
    """Read a data set in the shape that the model takes.

    Args:
        config: says where files are and may be written.
        dataset: what to read.
        shape: (channels, height, width); None leaves the images as they are.

    Raises:
        DataError: files are missing or damaged.
        ConfigError: the data set's `classes` are not as many as the files have.
    """
    downloads = config.mlruns / "data"
    search = [config.data_path, downloads] if config.data_path else [downloads]
    context = LoadContext(tuple(search), downloads, config.mlruns / "cache", shape)
    load = prepared(dataset.loader, "dataset.loader", supplied=("context",))
    splits: ImageSplits = load(context)
    if dataset.classes is not None:
        if len(dataset.classes) != len(splits.classes):
            raise ConfigError(
                f"dataset.classes names {len(dataset.classes)} classes, the files of "
                f"{dataset.name} have {len(splits.classes)}: {', '.join(splits.classes)}"
            )
        splits = replace(splits, classes=tuple(dataset.classes))
    return splits_to_shape(splits, shape)


def data_hash(config: Config) -> str:
    """Return 12 hex digits for the data that a run reads, source and target, as they are now.

    A configuration says where data are, not what is in the files; a run or a base that was
    trained on other data is no replicate of this one.

    Raises:
        AdapterLabError: as `load_splits`.
    """
    datasets = [config.dataset]
    if isinstance(config.base, TrainedBase) and config.base.dataset is not None:
        datasets.append(config.base.dataset)
    digest = hashlib.sha256()
    for dataset in datasets:
        shape = None
        if dataset.shape is not None:
            channels, height, width = dataset.shape
            shape = channels, height, width
        splits = load_splits(config, dataset, shape)
        digest.update("\n".join(splits.classes).encode())
        for name, split in splits.named().items():
            digest.update(f"{name} {tuple(split.images.shape)}".encode())
            digest.update(split.images.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
    return digest.hexdigest()[:12]
