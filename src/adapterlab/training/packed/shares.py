"""What each lane of a pack of several methods has of its time: measured on a few batches."""

import time
from collections.abc import Sequence
from itertools import islice

import torch

from adapterlab.adapters import AdaptedModel
from adapterlab.data.batches import AnyBatches
from adapterlab.packing import PackedModel, signature
from adapterlab.packing.groups import runs_of
from adapterlab.packing.signatures import Signature
from adapterlab.training.hardware import Device, autocast
from adapterlab.training.outcome import now

_BATCHES = 4
"""That are measured, after one to warm up; the quickest counts."""


def shares(
    models: Sequence[AdaptedModel],
    data: AnyBatches,
    device: Device,
    measured: dict[object, float] | None = None,
    signatures: Sequence[Signature] | None = None,
) -> list[float]:
    """Return what each lane has of the time of a pack; in all 1.

    Lanes that are adapted alike have equal shares. Where several methods are in a pack, which
    computes them together, each is given what its lanes alone take for a few steps, without the
    optimizer's, of the sum over methods: processor time on a CPU, and else seconds.

    Args:
        models: of the lanes, with those side by side that are adapted alike; left as they are.
        data: of any of them.
        device: where it computes.
        measured: seconds of a lane by its signature, of packs before; filled in.
        signatures: of the models, where they are known.
    """
    kinds = signatures or [signature(model) for model in models]
    runs = list(runs_of(kinds))
    if len(runs) == 1:
        return [1 / len(models)] * len(models)
    taken, known = list[float](), {} if measured is None else measured
    for run in runs:
        kind, count = kinds[run.start], run.stop - run.start
        if kind not in known:
            known[kind] = _step(models[run], kinds[run], data, device) / count
        taken += [known[kind]] * count
    if not sum(taken):  # a clock that ticks seldom has not moved
        return [1 / len(taken)] * len(taken)
    return [seconds / sum(taken) for seconds in taken]


def _step(
    models: Sequence[AdaptedModel], kinds: Sequence[Signature], data: AnyBatches, device: Device
) -> float:
    pack = PackedModel(models, [0] * len(models), kinds).to(device.torch).train()
    pack.reseed([0] * len(models), [0] * len(models))
    on_cpu, taken = device.accelerator == "cpu", list[float]()
    for batch in islice(data.training_batches(0, device.torch), 1 + _BATCHES):
        start = time.process_time() if on_cpu else now(device.torch)
        with autocast(device.torch, device.precision):
            logits = pack(batch.inputs, len(batch.labels))
        torch.autograd.backward(logits.square().sum())
        taken.append((time.process_time() if on_cpu else now(device.torch)) - start)
        for parameter in pack.parameters():
            parameter.grad = None
    return min(taken[1:] or taken)
