"""Checks of `plan=true` on data and weights that are on this disk: what a run would refuse, too."""

import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from adapterlab.adapters import Plan, plan
from adapterlab.config.schema import CheckpointBase, Config
from adapterlab.data.scrutiny import require_different
from adapterlab.runs.base_weights import from_file, load_into
from adapterlab.runs.check import check_with
from adapterlab.runs.data import RunData, load_data, load_splits, shape_of, shape_taken
from adapterlab.runs.preprocessing import make_inputs
from adapterlab.runs.provenance import tokenizer_folder
from adapterlab.runs.sketch import bare, model_shape, sketch

_last: dict[str, RunData] = {}
"""The data of the plan before: those of a multirun mostly share them."""


def plan_on_data(config: Config) -> tuple[Plan, RunData]:
    """Return what a run would train, and its data, of which the source's are read only if need be.

    Raises:
        AdapterLabError: a run would refuse the data, the weights of `base=checkpoint`, or a
            tokenizer that is here.
    """
    read = _data(config)
    check_with(config, read)
    if isinstance(config.base, CheckpointBase):
        require_weights(config, read)
    _require_data(config, read)
    return plan(sketch(config, read)), read


def require_all_data(configs: Iterable[Config], read: Callable[[Config], RunData | None]) -> None:
    """Refuse data and tokenizers of the runs of a sweep that each of them would refuse.

    Args:
        configs: of the runs.
        read: returns the data of a run, where they have been read.

    Raises:
        AdapterLabError: a run would refuse its data, or a tokenizer that is here.
    """
    seen = set()
    for config in configs:
        if (data := read(config)) is None:
            continue
        check_with(config, data)
        alike = id(data), repr(config.model)
        if alike not in seen:
            _require_data(config, data)
        seen.add(alike)


def _require_data(config: Config, read: RunData) -> None:
    require_different(read.target, read.alike(config.mlruns / "cache"))
    if tokenizer_folder(config) is not None:
        # Which refuses what does not fit the model.
        make_inputs(config, read, None, sketch(config, read).model)


def require_all_weights(
    configs: Iterable[Config], read: Callable[[Config], RunData | None]
) -> None:
    """Refuse weights of `base=checkpoint` that are not the model's, before any run of a sweep.

    Args:
        configs: of the runs; those that differ in what is no matter of base and model once.
        read: returns the data of a run, where they have been read.

    Raises:
        AdapterLabError: a file is damaged, or holds weights of another model.
    """
    seen = set()
    for config in configs:
        if not isinstance(config.base, CheckpointBase):
            continue
        alike = repr((config.base, config.model, config.dataset))
        if alike not in seen:
            require_weights(config, read(config))
        seen.add(alike)


def require_weights(config: Config, read: RunData | None) -> None:
    """Refuse weights of `base=checkpoint` that are not the model's.

    Args:
        config: of the run.
        read: its data; None where options say the classes and the shape of the images.

    Raises:
        AdapterLabError: the file is damaged, or holds weights of another model.
    """
    assert isinstance(config.base, CheckpointBase)
    classes = tuple(config.dataset.classes or (read.target.classes if read else ()))
    base = from_file(config.base, classes)
    model = bare(config, model_shape(config, read), len(classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a model without memory takes no values
        load_into(model, base, classes, config.base.head)


def _data(config: Config) -> RunData:
    source = config.source
    if source is not None and source.kind == "image" and shape_of(source) is None:
        return load_data(config)
    taken = shape_taken(config)
    key = json.dumps([str(config.dataset), config.task, taken, str(config.mlruns)]) + _state(config)
    place = Path(str(config.dataset.loader.get("path", "")))
    if key not in _last or not place.is_absolute():
        _last.clear()
        _last[key] = RunData(load_splits(config, config.dataset, taken))
    return _last[key]


def _state(config: Config) -> str:
    """Return what changes when a file of the user's own data does."""
    place = Path(str(config.dataset.loader.get("path", ""))).expanduser()
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    stats = ((file, file.stat()) for file in files if file.exists())
    return json.dumps([(str(file), stat.st_mtime_ns, stat.st_size) for file, stat in stats])
