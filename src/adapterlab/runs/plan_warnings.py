"""What of a plan is allowed and yet seldom meant: sentences, before anything is trained."""

from adapterlab.adapters import Plan
from adapterlab.config.schema import BASES, Config, PeftBase, PretrainedBase
from adapterlab.training.hardware import cpu_has_bf16, resolve_accelerator

OWN_WEIGHTS_LR = 1e-4
"""The most that is usual for a pretrained transformer's own weights (BERT's paper: 5e-5)."""

_SMALL_REACH = 0.5
"""Share of a body's weights below which `all-linear` is not what its name says."""


def high_rate(config: Config, plan: Plan) -> str | None:
    """Say it where a pretrained model's own weights would be trained at an adapter's rate.

    Not of norms alone, whose few numbers take the rates of adapters.
    """
    own = any(
        layer.adapter and layer.method == "in full" and len(layer.shape) > 1
        for layer in plan.layers
    )
    where, rate = "base.optimizer" if config.study == BASES else "optimizer", config.optimizer.lr
    of_role = config.optimizer.roles.get("adapter")
    if of_role is not None and of_role.lr is not None:
        where, rate = f"{where}.roles.adapter", of_role.lr
    if isinstance(config.base, PretrainedBase | PeftBase) and own and rate > OWN_WEIGHTS_LR:
        return (
            f"{where}.lr={rate:g} is high for a pretrained model's own weights, "
            "where 2e-5 to 5e-5 is usual"
        )
    return None


def quicker_precision(config: Config) -> str | None:
    """Name bfloat16 where a transformer trains on a CPU that has it, and precision is left open."""
    hardware = config.hardware
    if hardware.precision != "auto" or config.dataset.kind != "text":
        return None
    if resolve_accelerator(hardware.accelerator) != "cpu" or not cpu_has_bf16():
        return None
    return (
        "hardware.precision=auto is 32-true on a CPU; this one has bfloat16 as well: "
        "hardware.precision=bf16-mixed takes less time, and rounds more"
    )


def small_reach(config: Config, plan: Plan) -> str | None:
    """Say it where `all-linear` reaches the smaller part of a body, which has other layers."""
    nodes = [config.adapter, *config.adapter.get("parts", {}).values()]
    targets = [node.get("targets") for node in nodes]
    meant = any(t == "all-linear" or (isinstance(t, list) and "all-linear" in t) for t in targets)
    everywhere = all(node.get("layers", "all") == "all" for node in nodes)
    if plan.reached is None or plan.reached >= _SMALL_REACH or not (meant and everywhere):
        return None
    others = [kind for kind in plan.beside if kind in ("Conv1d", "Conv2d")]
    instead = "; adapter.targets=[all-linear,all-conv] reaches these as well" if others else ""
    return (
        f"adapter.targets=all-linear reaches {plan.reached:.1%} of the weights of "
        f"model={config.model['name']}'s layers, the others are {', '.join(plan.beside)}{instead}"
    )
