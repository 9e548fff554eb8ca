"""A linear model on what the base gives its head: what there is without any fine-tuning of it."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapterlab.adapters.strategy import hash_weights
from adapterlab.config.parsing import to_container
from adapterlab.config.schema import BASES, Config
from adapterlab.config.tasks import main_metric
from adapterlab.data.batches import AnyBatches, SplitName
from adapterlab.evidence.floor import feature_floor
from adapterlab.models.protocol import adaptable
from adapterlab.runs.assembly import Assembly, take_padding
from adapterlab.runs.base_weights import load_into
from adapterlab.runs.results.floor import ALIKE, Floor, begin_fit, fitted_rows, linear_model, share
from adapterlab.runs.sketch import make_model
from adapterlab.training.hardware import Device, weights_dtype

_FORMAT = 1


def begin_feature_floor(
    config: Config, assembly: Assembly, device: Device, test_hash: str
) -> Floor:
    """Return the floor of a run on the features of its base, which is computed for it once more.

    One pass of the base over the training rows and the test rows is made here; the fit is beside.

    Args:
        config: of the run.
        assembly: of the run.
        device: where the base is computed.
        test_hash: of the examples that it is tested on.
    """
    if config.study == BASES:
        return Floor()
    if assembly.adapted.by_length:
        why = "texts of each length are computed apart"
        return Floor(why=why, metric=main_metric(config.task))
    options = {key: to_container(config)[key] for key in ("model", "dataset", "limit")}
    written = json.dumps(options, sort_keys=True, default=str)
    said = f"features {assembly.adapted.base_hash} {written} {test_hash}"
    return assembly.read.once(said, lambda: _begun(config, assembly, device, test_hash, written))


def _begun(
    config: Config, assembly: Assembly, device: Device, test_hash: str, written: str
) -> Floor:
    data = assembly.data
    base = _base(config, assembly)
    weights = hash_weights(base, without=adaptable(base).head_modules)
    key = [_FORMAT, weights, assembly.read.hash, test_hash, written, device.torch.type, config.task]
    train, test = data.splits["train"].labels, data.splits["test"].labels
    rows = fitted_rows(train)
    if rows is None:
        return Floor(why=ALIKE, metric=main_metric(config.task))
    how = f"{linear_model(config.task)} on what the base gives its head{share(rows, train)}"

    def fit() -> Any:
        some, others = (_features(base, data, split, device) for split in ("train", "test"))
        arrays = (some[rows], train[rows], others, test)
        return partial(feature_floor, *(tensor.numpy() for tensor in arrays))

    return begin_fit(config, key, how, fit)


def _base(config: Config, assembly: Assembly) -> nn.Module:
    """Return the base as it is before a strategy, with a head that counts for nothing."""
    model = make_model(
        config, assembly.base.shape or assembly.read.shape, len(assembly.data.classes)
    )
    take_padding(model, assembly.inputs)
    load_into(model, assembly.base, assembly.data.classes, "new")
    return model.to(weights_dtype(config.hardware.precision)).requires_grad_(False).eval()


@torch.inference_mode()
def _features(base: nn.Module, data: AnyBatches, split: SplitName, device: Device) -> Tensor:
    """Return what the head takes of each row of a split, float32 [N, d], in the split's order."""
    seen: list[Tensor] = []

    def note(head: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(cast(Tensor, arguments[0]))

    first = base.get_submodule(adaptable(base).head_modules[0])
    hook = first.register_forward_pre_hook(note)
    found = []
    try:
        base.to(device.torch)
        for batch in data.batches(split, device.torch):
            seen.clear()
            base(batch.inputs)
            found.append(_of_rows(seen[0], batch.inputs).float().cpu())
    finally:
        hook.remove()
    return torch.cat(found)[data.order(split).argsort()]


def _of_rows(features: Tensor, inputs: Any) -> Tensor:
    """Return one vector a row: the mean over tokens that are no padding, or over places."""
    if features.ndim == 3 and isinstance(inputs, Mapping) and "attention_mask" in inputs:
        mask = inputs["attention_mask"][..., None].to(features)
        mean: Tensor = (features * mask).sum(1) / mask.sum(1)
        return mean
    if features.ndim == 3:
        return features.mean(1)
    return features.flatten(2).mean(2) if features.ndim > 3 else features
