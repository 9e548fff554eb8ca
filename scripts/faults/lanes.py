"""Studies of random lanes, some of which fail, trained one by one and as the plan packs them.

A lane must leave what its run leaves alone: in float64 the same figures and weights to 1e-10. One
that fails must fail with the same words, and leave the others of its pack alone. A pack must be
carried out as it was planned.
"""

import math
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import hydra
import torch
from safetensors.torch import load_file

from adapterlab.base.errors import ConfigError
from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.optimizers import Optimizer
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config
from adapterlab.drawing import pictures
from adapterlab.runs import lifecycle, single
from adapterlab.runs.folders.folder import RunFolder, RunResult
from adapterlab.runs.packs.lanes import Outcome
from adapterlab.runs.packs.pack import outcome_of, run_pack
from adapterlab.studies.planning.packing import plan_packs
from adapterlab.training.packed import trainer
from adapterlab.training.plain import loop
from faults.trying import TINY, Setting, Trial

COUNT = 100

STRATEGIES = ("head", "last_layers", "bitfit", "lora", "lora", "dora", "dora", "full")
OPTIMIZERS = ("sgd", "adam", "adamw")
PRECISIONS = ("64-true", "64-true", "64-true", "32-true", "bf16-mixed")
BOUND = 1e-10
"""How far figures and weights may be apart in float64."""

BOUND_32 = 1e-3
"""How far the losses of the first epoch may be apart in float32; rounding grows from there. With
bfloat16 products nothing is compared but that everybody finishes."""

Change = Callable[[Config, random.Random], Config]


@dataclass(frozen=True)
class Fault:
    """What is wrong with one lane of a study.

    Attributes:
        words: for the table.
        change: of its configuration.
        patches: what is made to raise for it alone; owner and name.
        precision: None for any.
        survives: the lane that it changes is to finish as the others do.
    """

    words: str
    change: Change | None = None
    patches: Sequence[tuple[Any, str]] = ()
    precision: str | None = None
    survives: bool = False


def _optimizer(**values: Any) -> Change:
    return lambda config, rng: replace(config, optimizer=replace(config.optimizer, **values))


def _broken_at_first(config: Config, rng: random.Random) -> Config:
    """Let the first logits be no numbers."""
    values = {"alpha": 1e308, "init": "both_normal", "init_std": 10.0, "scaling": "alpha"}
    return replace(config, adapter={**config.adapter, **values})


def _overflowing(config: Config, rng: random.Random) -> Config:
    """Let the squares of the gradients, and only these, be beyond the largest number."""
    alpha, lr = (1e160, 1e-320) if config.hardware.precision == "64-true" else (1e25, 1e-50)
    strong = {"alpha": alpha, "init": "kaiming", "scaling": "alpha", "head": "freeze"}
    config = replace(config, adapter={**config.adapter, **strong})
    return _optimizer(clip_norm=None, lr=lr, weight_decay=0.0)(config, rng)


def _beyond(config: Config, rng: random.Random) -> Config:
    values = {"lr": 1e300, "weight_decay": 1e39, "clip_norm": 1e300}
    if "eps" in config.optimizer.own:
        values |= {"eps": 1e-300}
    name = rng.choice(list(values))
    if name == "eps":
        own = {**config.optimizer.own, "eps": values["eps"]}
        return _optimizer(own=own)(config, rng)
    return _optimizer(**{name: values[name]})(config, rng)


FAULTS = (
    Fault("none: everybody finishes"),
    Fault("a huge rate", _optimizer(lr=1e30)),
    Fault("a huge decay", _optimizer(weight_decay=1e30)),
    Fault("first values that are no numbers", _broken_at_first),
    Fault("a norm that overflows, beside lanes that clip", _overflowing, survives=True),
    Fault("an option that float32 cannot hold", _beyond, precision="32-true"),
    Fault("a run that cannot be started", patches=[(RunFolder, "start")]),
    Fault("an epoch that cannot be reported", patches=[(lifecycle.OpenRun, "report")]),
    Fault(
        "a checkpoint that cannot be written",
        patches=[(trainer, "save_lane"), (loop.Loop, "_save")],
    ),
    Fault("files that cannot be written at the end", patches=[(lifecycle, "write_files")]),
    Fault("none: everybody finishes"),
    Fault("none: everybody finishes"),
)


def tries(setting: Setting) -> Iterator[Trial]:
    """Train studies of two to five lanes alone and packed."""
    with _quick(), mock.patch.dict("os.environ", ADAPTERLAB_ROOT=str(setting.folder)):
        base = _base(setting.root("base"))
        for number in range(setting.count):
            fault = FAULTS[number % len(FAULTS)]
            lanes, wrong = _study(setting.rng, fault, base)
            gap, failed = _gap(lanes, wrong, fault, setting.root(str(number)))
            if gap is None:
                fate = "one fails, the others finish" if failed else "all finish"
                yield Trial(fault.words, True, f"{fate}, as alone")
            else:
                yield Trial(fault.words, False, f"trial {number}, {gap}; {_told(lanes, wrong)}")


def _study(rng: random.Random, fault: Fault, base: Path) -> tuple[list[Config], int]:
    """Draw the lanes of a study, and the number of the one that something is wrong with."""
    kinds, optimizer = rng.sample(STRATEGIES, 2), rng.choice(OPTIMIZERS)
    frozen = rng.random() < 0.3
    if fault.change in (_overflowing, _broken_at_first):
        kinds, frozen = [rng.choice(["lora", "dora"])] * 2, fault.change is _overflowing
    elif fault.change or fault.patches:
        kinds = kinds[:1] * 2  # for the company of the lane that fails
    precision: Any = fault.precision or rng.choice(PRECISIONS)
    fixed: dict[str, Any] = {
        "label_smoothing": rng.choice([0.0, 0.1]),
        "batch_size": rng.choice([16, 48]),
        "epochs": rng.choice([2, 3]),
    }
    head: Any = rng.choice(["new", "keep"])
    lanes = []
    for _ in range(rng.randint(2, 5)):
        config = _composed(kinds[rng.random() < 0.3], optimizer, str(base))
        config = replace(
            config,
            hardware=replace(config.hardware, precision=precision),
            base=replace(config.base, head=head),
            adapter={**config.adapter, **_adapter(config, rng, frozen)},
            optimizer=_drawn(config.optimizer, rng),
            select_on=rng.choice(["accuracy", "macro_f1", "loss"]),
            early_stopping=rng.choice([None, None, 1]),
            init_seed=rng.randrange(2),
            order_seed=rng.randrange(2),
            **fixed,
        )
        lanes.append(config)
    wrong = rng.randrange(len(lanes))
    if fault.change is _overflowing:
        lanes = [_optimizer(clip_norm=0.5)(config, rng) for config in lanes]
    if fault.change is not None:
        lanes[wrong] = fault.change(lanes[wrong], rng)
    # A study does not hold a run twice.
    lanes = [replace(config, seed=number) for number, config in enumerate(lanes)]
    return lanes, wrong


def _adapter(config: Config, rng: random.Random, frozen: bool) -> dict[str, Any]:
    """Draw options of a strategy."""
    stays = frozen and config.adapter["name"] != "head"
    drawn: dict[str, Any] = {"head": "freeze" if stays else "train"}
    if "rank" in config.adapter:
        drawn |= {
            "rank": rng.randint(1, 6),
            "alpha": rng.choice([1.0, 8.0, 20.0]),
            "dropout": rng.choice([0.0, 0.0, 0.3]),
            "scaling": rng.choice(["alpha_over_rank", "alpha_over_sqrt_rank", "alpha"]),
            "init": rng.choice(["kaiming", "gaussian", "both_normal"]),
            "rank_pattern": rng.choice([{}, {"layers.1": 3}]),
        }
        if not frozen:
            drawn["head"] = rng.choice(["train", "train", "adapt"])
    return drawn


def _drawn(optimizer: Optimizer, rng: random.Random) -> Optimizer:
    drawn: dict[str, Any] = {
        "lr": rng.choice([1e-3, 5e-3, 2e-2]),
        "weight_decay": rng.choice([0.0, 0.1]),
        "clip_norm": rng.choice([None, None, 0.05, 1.0, 1e6]),
        "schedule": rng.choice(["constant", "cosine", "linear", "plateau"]),
        "plateau_patience": rng.choice([0, 1]),
        "warmup": rng.choice([0.0, 0.3]),
    }
    own: dict[str, Any] = {}
    if optimizer.name == "sgd":
        momentum = rng.choice([0.0, 0.9])
        own = {"momentum": momentum, "nesterov": momentum > 0 and rng.random() < 0.5}
    else:
        own = {"betas": rng.choice([[0.9, 0.999], [0.0, 0.9], [0.5, 0.99999]])}
    return replace(optimizer, **drawn, own={**optimizer.own, **own})


def _gap(lanes: Sequence[Config], wrong: int, fault: Fault, root: Path) -> tuple[str | None, bool]:
    """Train a study both ways; say where a lane is not as it is alone, and whether any failed."""
    alone_root, packed_root = root / "alone", root / "packed"
    with _failing(fault, lanes[wrong].seed):
        alone = [outcome_of(replace(config, root=str(alone_root))) for config in lanes]
        configs = [replace(config, root=str(packed_root)) for config in lanes]
        planned = plan_packs(configs, [None] * len(configs), memory_gib=16)
        packed: dict[int, Outcome] = {}
        sizes: dict[int, int] = {}
        for pack in planned:
            found = run_pack([configs[job] for job in pack.jobs])
            packed |= dict(zip(pack.jobs, found, strict=True))
            refused = sum(isinstance(outcome, ConfigError) for outcome in found)
            sizes |= dict.fromkeys(pack.jobs, len(found) - refused)
    for job, own in enumerate(alone):
        compared = job != wrong or fault.change is None or fault.survives
        why = _differ(own, packed[job], sizes[job], lanes[job] if compared else None)
        if why is not None:
            return f"lane {job} of {len(lanes)}: {why}", True
    return None, any(isinstance(outcome, Exception) for outcome in alone)


def _differ(own: Outcome, lane: Outcome, size: int, config: Config | None) -> str | None:
    """Say in what a lane is not as it is alone; its figures count where it has a configuration."""
    if isinstance(own, Exception) or isinstance(lane, Exception):
        words = [_words(outcome) for outcome in (own, lane)]
        return None if words[0] == words[1] else f"alone: {words[0]}; packed: {words[1]}"
    if int(lane.tags["pack_size"]) != size:
        return f"planned as one of {size}, trained as one of {lane.tags['pack_size']}"
    precision = config.hardware.precision if config is not None else None
    if precision == "32-true":
        return _apart({"train/loss": own.history[1]["train/loss"]}, lane.history[1], BOUND_32)
    if precision != "64-true":
        return None
    if own.history.keys() != lane.history.keys():
        return f"{len(own.history)} epochs alone, {len(lane.history)} packed"
    for epoch, metrics in own.history.items():
        if (why := _apart(metrics, lane.history[epoch], BOUND)) is not None:
            return f"epoch {epoch}: {why}"
    costless = {k: v for k, v in own.metrics.items() if not k.startswith("cost/")}
    if (why := _apart(costless, lane.metrics, BOUND)) is not None:
        return why
    weights = [load_file(run.folder / "adapter.safetensors") for run in (own, lane)]
    for name, tensor in weights[0].items():
        if not torch.allclose(tensor, weights[1][name], rtol=BOUND * 100, atol=BOUND * 100):
            return f"{name} differs by {float((tensor - weights[1][name]).abs().max()):.1e}"
    return None


def _apart(alone: Mapping[str, float], packed: Mapping[str, float], bound: float) -> str | None:
    for name, value in alone.items():
        if not math.isclose(value, packed[name], rel_tol=bound, abs_tol=bound):
            return f"{name} is {value} alone, {packed[name]} packed"
    return None


def _words(outcome: Outcome) -> str:
    if isinstance(outcome, RunResult):
        return "it finishes"
    return re.sub("/(alone|packed)/", "/root/", f"{type(outcome).__name__}: {outcome}")


def _told(lanes: Sequence[Config], wrong: int) -> str:
    """Say enough about a study to do it again: the seed of the torture draws the rest."""
    first = lanes[0]
    kinds = ", ".join(f"{config.adapter['name']} {config.optimizer.name}" for config in lanes)
    return f"{kinds}; lane {wrong} is wrong; {first.hardware.precision}"


@contextmanager
def _failing(fault: Fault, seed: int) -> Iterator[None]:
    """Let what a fault patches raise for the run of this seed, and only for it."""
    with ExitStack() as stack:
        for owner, name in fault.patches:
            original = getattr(owner, name)

            def patched(*given: Any, original: Any = original, **more: Any) -> Any:
                if seed in (_seed_of(value) for value in given):
                    raise OSError(28, "No space left on device")
                return original(*given, **more)

            stack.enter_context(mock.patch.object(owner, name, patched))
        yield


def _seed_of(value: Any) -> int | None:
    """Find the run that an argument belongs to, by its configuration or its folder."""
    config = value if isinstance(value, Config) else getattr(value, "config", None)
    if isinstance(config, Config):
        return config.seed
    folder = getattr(value, "folder", value)
    found = re.search(r"-seed(\d+)-", str(folder)) if isinstance(folder, str | Path) else None
    return int(found[1]) if found else None


@contextmanager
def _quick() -> Iterator[None]:
    """Leave out the drawing, which takes most of a tiny run's time."""
    with (
        mock.patch.object(pictures, "paint", lambda make, path: path.touch()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # a new head that stays as it is drawn, say
        yield


def _base(root: Path) -> Path:
    """Train the base that all lanes start from."""
    given = (f"root={root}", *TINY, *MODEL, "epochs=3", "adapter=full", "base=scratch")
    config = _compose(*given, "dataset=digits")
    return single.run(config).folder / "adapter.safetensors"


MODEL = ("model.widths=[12,8]", "tracking=none", "hardware.precision=32-true")


@cache
def _composed(strategy: str, optimizer: str, base: str) -> Config:
    return _compose(
        *TINY, *MODEL, f"adapter={strategy}", f"optimizer={optimizer}", "pack=always",
        "base=checkpoint", f"base.path={base}", "study=lanes",
    )  # fmt: skip


def _compose(*overrides: str) -> Config:
    conf_folder.register_resolvers()
    kept = [o for o in overrides if not o.startswith("base.epochs")]  # no base is trained here
    with composing(conf_folder.CONF):
        return parse(hydra.compose("train", kept))
