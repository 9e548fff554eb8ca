"""The options of hardware/: where a run computes, and how exactly."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from adapterlab.config.domains import Count, Positive
from adapterlab.config.validation import STRICT

Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["auto", "32-true", "64-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Hardware:
    """Where a run computes.

    Attributes:
        accelerator: `auto` takes a GPU when there is one.
        device: index of the GPU; of the first, where there are several.
        precision: `auto` takes bfloat16 autocast where the GPU has it, else float32.
        workers: processes that cut batches; 0 is fastest for images in memory.
        threads: torch's threads on the CPU; None leaves torch's choice.
        compile: run the model through torch.compile; pays off on long trainings only.
        frozen_prefix: compute the outputs of frozen first layers once where that is exact
            (`auto`), or in every step (`never`).
        recompute: activation checkpointing: compute each block again for its gradients, which takes
            less memory and more time, and gives the same.
        prefix_gib: the most disk that these outputs may take, of all runs together.
        trainer: what drives a run alone: Lightning's Trainer, a loop of our own (`plain`), or the
            latter wherever nothing asks for the former (`auto`); the results are the same.
        devices: that train a run alone together: GPUs, or processes on a CPU. Each takes its share
            of every batch, so that results are those of one, to rounding.
        strategy: how they do; `ddp`, each has the whole model, which `auto` is; `fsdp`, each has a
            part of it, for a base that has no room on one.
    """

    accelerator: Accelerator
    device: Annotated[int, Field(ge=0, lt=1024)]
    precision: Precision
    workers: Annotated[int, Field(ge=0)]
    threads: Count | None
    compile: bool
    frozen_prefix: Literal["auto", "never"]
    prefix_gib: Positive
    recompute: bool = False
    trainer: Literal["auto", "plain", "lightning"] = "auto"
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
