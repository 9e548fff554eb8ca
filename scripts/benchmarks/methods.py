"""Every method: one step against PEFT's, and eight lanes of a pack against the same runs alone.

    python scripts/benchmarks/methods.py                             # all of it
    python scripts/benchmarks/methods.py --only steps --models mlp --methods vera,oft
    python scripts/benchmarks/methods.py --only packs

*Steps*: forward, backward and AdamW on the same weights and rows: a 3072-512-256-10 MLP, batches
of 128, MiniLM with 16 texts of 48 tokens. *Packs*: training of eight runs of Fashion-MNIST
(ADAPTERLAB_DATA_DIR, or --data-dir) packed, over the same one by one, as `src/train.py -m` carries
them out; the last row is 16 lanes of four methods. Both sides take turns on one thread: CPU seconds
of steps, wall seconds of packs, or CPU seconds by --clock cpu, for a machine that is busy; medians,
and the ratios of single turns.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers

# isort: split

import peft
import torch
import torch.nn.functional as F
from commands import study
from rivals import TRAINING, Row, Took, race, show
from torch import nn

from adapterlab import adapters
from adapterlab.adapters import Strategy
from adapterlab.app.mistakes import mistakes_in_one_line
from adapterlab.app.script_options import Parser, at_least, names_of
from adapterlab.config.conf_folder import CONF
from adapterlab.models import MLP
from adapterlab.models.hub import minilm
from adapterlab.models.protocol import adaptable

STEPS = {"mlp": 40, "minilm": 4}
ROWS, TEXTS, TOKENS = 128, 16, 48
IMAGES = (
    *("dataset=fashion_mnist", "epochs=1", "hardware.threads=1", "base.epochs=1"),
    *("figures=never", "baseline=never"),  # which are no training
)
LANES = "seed=0,1,2,3,4,5,6,7"
PACKED = ("vera", "ia3", "lora_xs", "svft", "oft", "bottleneck", "lora", "dora")
MOST = {"packs": 0.30, "mixed": 0.25}
MIXED = ("adapter=lora,dora,ia3,vera", "seed=0,1,2,3")

Peft = Callable[[list[str], list[str]], peft.PeftConfig]


def _lora(**options: Any) -> Peft:
    return lambda targets, feedforward: peft.LoraConfig(
        r=8, lora_alpha=16, target_modules=targets, **options
    )


METHODS: Mapping[str, tuple[Callable[[], Strategy], Peft]] = {
    "lora": (lambda: adapters.LoRA(rank=8), _lora()),
    "dora": (lambda: adapters.DoRA(rank=8), _lora(use_dora=True)),
    "lora init=pissa": (
        lambda: adapters.LoRA(rank=8, init="pissa"),
        _lora(init_lora_weights="pissa"),
    ),
    "vera": (
        lambda: adapters.VeRA(rank=64),
        lambda targets, feedforward: peft.VeraConfig(r=64, target_modules=targets),
    ),
    "ia3": (
        lambda: adapters.IA3(targets="all-linear"),
        lambda targets, feedforward: peft.IA3Config(target_modules=targets, feedforward_modules=[]),
    ),
    "oft": (
        lambda: adapters.OFT(block_size=16),
        lambda targets, feedforward: peft.OFTConfig(
            r=0, oft_block_size=16, use_cayley_neumann=False, target_modules=targets
        ),
    ),
    "hira": (
        lambda: adapters.HiRA(rank=8),
        lambda targets, feedforward: peft.HiraConfig(r=8, target_modules=targets),
    ),
    "loha": (
        lambda: adapters.LoHa(rank=8),
        lambda targets, feedforward: peft.LoHaConfig(r=8, target_modules=targets),
    ),
    "lokr": (
        lambda: adapters.LoKr(rank=8),
        lambda targets, feedforward: peft.LoKrConfig(r=8, target_modules=targets),
    ),
    "miss": (
        lambda: adapters.MiSS(rank=16),
        lambda targets, feedforward: peft.MissConfig(r=16, target_modules=targets),
    ),
    "delora": (
        lambda: adapters.DeLoRA(rank=8, start="zero"),
        lambda targets, feedforward: peft.DeloraConfig(r=8, target_modules=targets),
    ),
    "fourierft": (
        lambda: adapters.FourierFT(),
        lambda targets, feedforward: peft.FourierFTConfig(target_modules=targets),
    ),
}
"""Ours and PEFT's, on every linear layer of the body. HRA is left out: seconds a step in PEFT."""


def steps(options: argparse.Namespace) -> None:
    """Compare steps with PEFT's."""
    torch.set_num_threads(1)
    for model in options.models:
        rows: list[Row] = []
        for name in options.methods or METHODS:
            ours, theirs = METHODS[name]
            mine, rival = partial(_steps, model, ours()), partial(_steps, model, theirs)
            rows += race(options.repeats, name, mine, rival, [("whole", "whole", None)])
        show(f"{STEPS[model]} steps of {model}, CPU seconds", rows, "AdapterLab", "PEFT")


def _steps(model: str, how: Strategy | Peft) -> Took:
    """Train for some steps; what comes before is not counted."""
    train = ready(model, how)
    start = time.process_time()
    train()
    return Took(time.process_time() - start, 0.0)


def ready(model: str, how: Strategy | Peft) -> Callable[[], None]:
    """Return training for some steps, of which one has been made; on a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(0)
    base = MLP((3, 32, 32), 10, widths=(512, 256)) if model == "mlp" else minilm(10)
    inputs: Any = torch.randn(ROWS, 3, 32, 32, generator=generator).to(device)
    if model == "minilm":
        ids = torch.randint(1000, 20000, (TEXTS, TOKENS), generator=generator).to(device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    labels = torch.arange(ROWS if model == "mlp" else TEXTS, device=device) % 10
    adapted = how.apply(base) if isinstance(how, Strategy) else _of_peft(base, how)
    adapted.to(device).train()
    trained = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)

    def train(count: int = STEPS[model]) -> None:
        for _ in range(count):
            loss = F.cross_entropy(adapted(inputs), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    train(1)
    return train


def _of_peft(base: nn.Module, config: Peft) -> nn.Module:
    heads = adaptable(base).head_modules
    targets = [
        name
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(heads)
    ]
    adapted = cast(nn.Module, peft.get_peft_model(cast(Any, base), config(targets, [])))
    for name in heads:
        base.get_submodule(name).requires_grad_(True)
    return adapted


def packs(options: argparse.Namespace) -> None:
    """Compare the training of packs with that of their runs one by one."""
    packed = ("hydra/launcher=packed", "hydra.launcher.processes=1")
    basic = "hydra/launcher=basic"
    if options.clock == "cpu":
        time.perf_counter = time.process_time  # by which runs measure their training
    own = (*IMAGES, *([] if options.limit is None else [f"limit={options.limit}"]))
    with tempfile.TemporaryDirectory(prefix="adapterlab-") as folder:
        cache = Path(folder) / "mlruns" / "cache"
        cache.mkdir(parents=True)
        on_it = partial(study, *own, cache=cache)
        on_it("adapter=lora", basic, "limit=640")  # what is run first is slower
        rows: list[Row] = []
        sweeps = {
            f"8 {name} lanes": ((f"adapter={name}", LANES), MOST["packs"])
            for name in options.methods or PACKED
        }
        sweeps["16 lanes of lora, dora, ia3 and vera"] = (MIXED, MOST["mixed"])
        for name, (sweep, most) in sweeps.items():
            ours, theirs = partial(on_it, *sweep, *packed), partial(on_it, *sweep, basic)
            rows += race(options.repeats, name, ours, theirs, [(TRAINING, TRAINING, most)])
        show("Fashion-MNIST, 784-128-10 MLP, batch 64, one epoch", rows, "packed", "one by one")


SECTIONS = {"steps": steps, "packs": packs}


def main() -> None:
    options = parsed()
    if options.data_dir is not None:
        os.environ["ADAPTERLAB_DATA_DIR"] = str(options.data_dir.resolve())
    with mistakes_in_one_line():
        for section in options.only:
            SECTIONS[section](options)


def parsed() -> argparse.Namespace:
    layout = argparse.RawTextHelpFormatter
    parser = Parser(description=__doc__, formatter_class=layout)
    parser.add_argument("--only", type=names_of(SECTIONS), default=[*SECTIONS])
    parser.add_argument("--models", type=names_of(STEPS), default=[*STEPS])
    parser.add_argument("--methods", help="by default all")
    parser.add_argument("--data-dir", type=Path, help="by default ADAPTERLAB_DATA_DIR")
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="of packs")
    parser.add_argument(
        "--limit", type=at_least(1), help="images of each split, of packs; by default all"
    )
    options = parser.parse_args()
    if options.methods is not None:
        known = {path.stem for path in (CONF / "adapter").glob("*.yaml")}
        if "steps" in options.only:  # those that PEFT has, of which some are options of others
            known = known & METHODS.keys() if "packs" in options.only else {*METHODS}
        try:
            options.methods = names_of(sorted(known))(options.methods)
        except argparse.ArgumentTypeError as error:
            parser.error(f"--methods: {error}")
    return options


if __name__ == "__main__":
    main()
