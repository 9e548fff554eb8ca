"""First values that come from data: made by the method once, and kept for runs that share them."""

import inspect
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapterlab.adapters.hashes import hash_tensors
from adapterlab.adapters.strategy import AdaptedModel
from adapterlab.base.cache import Entry, stored
from adapterlab.base.files import file_hash
from adapterlab.base.seeding import stream
from adapterlab.config.schema import Config
from adapterlab.data.batches import AnyBatches
from adapterlab.training.hardware import Device, autocast

_STREAM = "first values"


def set_first_values(config: Config, model: AdaptedModel, data: AnyBatches, device: Device) -> None:
    """Give a model the first values that its method takes from data, if it takes any.

    Args:
        config: of the run.
        model: that is not trained yet; it is moved to the device.
        data: of the run, in any order.
        device: where to compute.
    """
    strategy = model.strategy
    if not strategy.first_batches:
        return
    model.to(device.of_whole)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(config.order_seed, _STREAM))  # of the batches' augmentation
        drawn = data.in_order(config.order_seed).training_batches(0, device.of_whole)
        batches = list(islice(drawn, strategy.first_batches))
    seed = stream(config.init_seed, _STREAM)

    def build() -> Entry:
        values = _made(model, batches, seed, device)
        return Entry({name: tensor.detach().cpu() for name, tensor in values.items()}, {})

    name = f"first-values-{type(strategy).__name__}"
    entry = stored(config.mlruns / "cache", name, _key(model, batches, seed, device), build)
    _take(model, entry.tensors)


def _made(
    model: AdaptedModel, batches: list[Any], seed: int, device: Device
) -> Mapping[str, Tensor]:
    """Ask the method, and leave the model as it was."""
    training, before = model.training, {n: t.clone() for n, t in model.state().items()}
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), autocast(device.of_whole, device.precision):
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            return dict(model.strategy.first_values(model, batches, generator))
    finally:
        model.zero_grad()
        model.train(training)
        _take(model, before)


@torch.no_grad()
def _take(model: AdaptedModel, values: Mapping[str, Tensor]) -> None:
    own = model.state()
    for name, tensor in values.items():
        if name not in own or own[name].shape != tensor.shape:
            kind = type(model.strategy).__name__
            raise ValueError(
                f"{kind}.first_values returned {name} {list(tensor.shape)}, which is no tensor "
                "that training can change"
            )
        own[name].copy_(tensor)


def _key(model: AdaptedModel, batches: list[Any], seed: int, device: Device) -> list[object]:
    """Return all that first values are made from."""
    strategy = model.strategy
    own = Path(inspect.getfile(type(strategy)))
    files = sorted({own, *Path(inspect.getfile(AdaptedModel)).parent.rglob("*.py")})
    source = [file_hash(path) for path in files]
    options = sorted((name, repr(value)) for name, value in strategy.flat_options().items())
    seen: dict[str, Tensor] = {}
    others: list[str] = []
    for path, value in _flat({"batches": [[one.inputs, one.labels] for one in batches]}):
        if isinstance(value, Tensor):
            seen[path] = value
        else:
            others.append(f"{path}={value!r}")
    return [
        *(
            type(strategy).__qualname__,
            source,
            options,
            seed,
            device.of_whole.type,
            device.precision,
        ),
        *(model.base_hash, hash_tensors(model.state()), hash_tensors(seen), others),
        hash_tensors(model.frozen_state(saved=False)),
    ]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is in nested mappings and sequences, with its place."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _flat(item, f"{path}.{number}")
    else:
        yield path, value
