"""What packs are compared with, PEFT one configuration after another, and how sides take turns.

`packs.py` calls what is here. Run as a program, this is the ordinary script whose whole process is
timed:

    python scripts/benchmarks/rivals.py TASK.pt --strategy lora

They are scripts as people write them (PEFT's model called as PEFT returns it, torch's AdamW as it
comes), with what does not concern the comparison left out: images are normalised and the base is
loaded before the clock starts, there are no checkpoints, and no check of the validation loop.
"""

import gc
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
sys.path.insert(0, str(Path(__file__).parent / "sides"))

import adapterlab.base.torchvision_compat  # noqa: F401  # before PEFT, which imports torchvision

try:
    import peft
except ModuleNotFoundError:
    sys.exit("error: PEFT is missing: pip install peft, or make install")
import pytorch_lightning as pl
import taken
from image_task import Task
from pytorch_lightning.loggers import MLFlowLogger
from rich.console import Console
from rich.table import Table
from torchmetrics.classification import MulticlassAccuracy

from adapterlab.app.script_options import Parser

RANKS, ALPHA_OVER_RANK = (1, 4, 8, 16), (1, 2)
CLASSES = 10

WHOLE, TRAINING = "whole", "training"

Measure = tuple[str, str, float | None]
"""What a row compares: a field of `Took` of either side, and the most that the ratio should be."""


@dataclass(frozen=True)
class Took:
    """Seconds that a side took: of everything on the clock, and of training alone."""

    whole: float
    training: float


@dataclass(frozen=True)
class Row:
    """Seconds of both sides, by repeat, and the most that their ratio should be."""

    name: str
    ours: list[float]
    theirs: list[float]
    target: float | None


def race(
    repeats: int,
    name: str,
    ours: Callable[[], Took],
    theirs: Callable[[], Took],
    measures: Sequence[Measure],
) -> list[Row]:
    """Let two sides take turns."""
    took: tuple[list[Took], list[Took]] = ([], [])
    for repeat in range(repeats):
        for side, times in zip((ours, theirs), took, strict=True):
            gc.collect()
            times.append(side())
        print(f"{name}: {repeat + 1} of {repeats}", file=sys.stderr)
    return [
        Row(
            f"{name}: {our}" + (f" over {their}" if our != their else ""),
            [getattr(one, our) for one in took[0]],
            [getattr(one, their) for one in took[1]],
            target,
        )
        for our, their, target in measures
    ]


def show(title: str, rows: list[Row], ours: str, theirs: str) -> None:
    """Print medians, their ratio, the ratios of single repeats, and the target."""
    table = Table("", title=title, title_justify="left")
    for heading in (ours, theirs, "ratio", "of repeats", "at most"):
        table.add_column(heading, justify="right")
    for row in rows:
        ratios = [our / their for our, their in zip(row.ours, row.theirs, strict=True)]
        mine, rival = median(row.ours), median(row.theirs)
        table.add_row(
            row.name,
            f"{mine:.2f} s",
            f"{rival:.2f} s",
            f"{mine / rival:.3f}",
            f"{min(ratios):.3f} to {max(ratios):.3f}",
            "" if row.target is None else f"{row.target:.2f}",
        )
    Console(width=120).print(table)


def process(*arguments: str | Path) -> Took:
    """Time a whole process of Python."""
    start = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if ended.returncode:
        sys.exit((ended.stderr.strip().splitlines() or [f"error: exit {ended.returncode}"])[-1])
    return Took(seconds, float("nan"))


class MLP(nn.Module):
    """Linear layers with ReLU between them, of the sizes of their weights.

    Shapes: x ``[B, D]``, logits ``[B, classes]``.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        shapes = [tensor.shape for name, tensor in weights.items() if name.endswith("weight")]
        sizes = [shapes[0][1], *(shape[0] for shape in shapes)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes[:-1]))
        self.head = nn.Linear(sizes[-2], sizes[-1])
        self.load_state_dict(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        for layer in self.layers:
            x = F.relu(layer(x))
        return cast(Tensor, self.head(x))


def adapted(task: Task, strategy: str, rank: int, alpha: int) -> nn.Module:
    """Return the base under PEFT's LoRA or DoRA on all layers but the head, which is trained."""
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=r"layers\.\d+",
        modules_to_save=["head"],
        use_dora=strategy == "dora",
    )
    return cast(nn.Module, peft.get_peft_model(MLP(task.weights), config))


def optimizer_of(model: nn.Module, task: Task) -> torch.optim.Optimizer:
    """Return AdamW over what is trained."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=task.lr, weight_decay=task.weight_decay)


def grid() -> Iterator[tuple[int, int]]:
    """Yield rank and alpha of the eight configurations."""
    for rank, ratio in product(RANKS, ALPHA_OVER_RANK):
        yield rank, ratio * rank


def bare_loop(task: Task, strategy: str) -> Took:
    """Train the configurations in a plain loop, without validation."""
    start_of_all = time.perf_counter()
    torch.set_num_threads(1)
    (images, labels), seconds = task.train, 0.0
    for rank, alpha in grid():
        torch.manual_seed(0)
        model = adapted(task, strategy, rank, alpha).train()
        optimizer = optimizer_of(model, task)
        start = time.perf_counter()
        for _ in range(task.epochs):
            order = torch.randperm(len(labels))
            for first in range(0, len(order), task.batch_size):
                rows = order[first : first + task.batch_size]
                loss = F.cross_entropy(model(images[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        seconds += time.perf_counter() - start
    return Took(time.perf_counter() - start_of_all, seconds)


class Module(pl.LightningModule):
    """An ordinary classifier: cross-entropy, accuracies by torchmetrics, everything logged."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task
        self.train_accuracy = MulticlassAccuracy(CLASSES, average="micro")
        self.val_accuracy = MulticlassAccuracy(CLASSES, average="micro")
        self.test_accuracy = MulticlassAccuracy(CLASSES, average="micro")

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        logits = self.model(images)
        loss = F.cross_entropy(logits, labels)
        self.train_accuracy(logits, labels)
        self.log("train/loss", loss)
        self.log("train/accuracy", self.train_accuracy)
        return loss

    def validation_step(self, batch: list[Tensor], batch_index: int) -> None:
        """Count a batch."""
        images, labels = batch
        logits = self.model(images)
        self.val_accuracy(logits, labels)
        self.log("val/loss", F.cross_entropy(logits, labels))
        self.log("val/accuracy", self.val_accuracy)

    def test_step(self, batch: list[Tensor], batch_index: int) -> None:
        """Count a batch of the test split."""
        images, labels = batch
        self.test_accuracy(self.model(images), labels)
        self.log("test/accuracy", self.test_accuracy)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Set up AdamW."""
        return optimizer_of(self.model, self.task)


def lightning(
    task: Task,
    strategy: str,
    configurations: Iterable[tuple[int, int]] | None = None,
    store: str | None = None,
) -> Took:
    """Train the configurations with Lightning, torchmetrics and MLflow.

    Args:
        task: what is trained; where it has rows to test on, they are tested on.
        strategy: lora or dora.
        configurations: ranks and alphas; those of `grid` by default.
        store: a folder for MLflow's sqlite store; by default a new one.
    """
    start_of_all = time.perf_counter()
    torch.set_num_threads(1)
    quieten()
    train = DataLoader(TensorDataset(*task.train), batch_size=task.batch_size, shuffle=True)
    validation = DataLoader(TensorDataset(*task.validation), batch_size=1024)
    seconds = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = store or temporary
        for rank, alpha in configurations or grid():
            pl.seed_everything(0, verbose=False)
            logger = MLFlowLogger(
                experiment_name="rival",
                tracking_uri=f"sqlite:///{folder}/mlflow.db",
                artifact_location=f"{folder}/artifacts",
            )
            logger.log_hyperparams({"strategy": strategy, "rank": rank, "alpha": alpha})
            trainer = pl.Trainer(
                accelerator="auto",
                devices=1,
                max_epochs=task.epochs,
                logger=logger,
                log_every_n_steps=50,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                num_sanity_val_steps=0,
                default_root_dir=folder,
            )
            module = Module(adapted(task, strategy, rank, alpha), task)
            start = time.perf_counter()
            with taken.training():
                trainer.fit(module, train, validation)
            seconds += time.perf_counter() - start
            if task.test is not None:
                trainer.test(module, DataLoader(TensorDataset(*task.test), 1024), verbose=False)
    return Took(time.perf_counter() - start_of_all, seconds)


def quieten() -> None:
    """Leave out what Lightning and MLflow say on the way."""
    for name in ("pytorch_lightning", "lightning_utilities", "mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (".*does not have many workers.*", ".*LeafSpec.*", ".*in eval mode.*"):
        warnings.filterwarnings("ignore", message)


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("task", type=Path, help="as Task.save writes it")
    parser.add_argument("--strategy", choices=("lora", "dora"), default="lora")
    parser.add_argument("--one", type=int, nargs=2, metavar=("RANK", "ALPHA"), help="only this")
    parser.add_argument("--store", help="folder of MLflow's store; by default a new one")
    arguments = parser.parse_args()
    taken.begin()
    only = [tuple(arguments.one)] if arguments.one else None
    took = lightning(Task.load(arguments.task), arguments.strategy, only, arguments.store)
    print(f"{took.training:.2f} s of training")


if __name__ == "__main__":
    main()
