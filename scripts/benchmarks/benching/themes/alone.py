"""A run alone: over a bare loop, and over the ordinary script of Lightning, PEFT and MLflow."""

from collections.abc import Mapping
from pathlib import Path

from benching.rows import Race, Row, Side, memory, training, whole
from benching.setting import Setting

OURS, BARE, LIGHTNING = "AdapterLab", "bare loop", "Lightning + PEFT + MLFlowLogger"
RUN = ("model.widths=[128]", "batch_size=64", "epochs=3")


def images(setting: Setting) -> tuple[str, ...]:
    """Return the options of a data set of images that is there, and of a run on it."""
    return (f"dataset={setting.images}", *RUN, *setting.base(setting.images))


def ready(setting: Setting) -> Path:
    """Return the task of scripts, with decoded images and a store for AdapterLab in `images`."""

    def make() -> Path:
        place, root = setting.folder / "images.pt", setting.folder / "images"
        limit = () if setting.limit is None else (f"limit={setting.limit}",)
        own = (f"root={root}", "adapter=lora", *images(setting), *limit)
        setting.program("image_task.py", place, *own)
        # What is made once for a data set, such as its linear model, is there before.
        first = (*images(setting), "adapter=lora", "epochs=1", "study=first")
        setting.train("images", *first)
        return place

    made: Path = setting.once("images", make)
    return made


def _sides(setting: Setting) -> Mapping[str, Side]:
    task = ready(setting)
    store = setting.folder / "lightning"
    store.mkdir(exist_ok=True)
    script = Path("..") / "rivals.py"
    one = (task, "--one", "8", "16", "--store", store)
    if not (store / "mlflow.db").is_file():
        setting.program(str(script), *one)  # ours finds its store made as well
    run = ("adapter=lora", *images(setting), "study=alone")
    return {
        OURS: lambda: setting.train("images", *run),
        BARE: lambda: setting.program("bare_loop.py", task),
        LIGHTNING: lambda: setting.program(str(script), *one),
    }


RACES = [Race("alone", "LoRA of rank 8 on a 784-128-10 MLP, batch 64, 3 epochs", _sides)]

_LEAVES = (
    "Ours also leaves MLflow's run, a linear model's baseline, pictures and predictions; "
    "the loop prints one accuracy."
)
_SCRIPT = "Torchmetrics at every step, logged every 50; a DataLoader over tensors in memory."

ROWS = [
    Row(
        "lone_lora",
        "One LoRA run over a bare loop",
        "alone",
        whole(OURS),
        whole(BARE),
        1.40,
        _LEAVES,
    ),
    Row(
        "lone_lora_training",
        "The same, training only",
        "alone",
        training(OURS),
        training(BARE),
        1.25,
        "Both validate after each epoch and keep the best; ours writes checkpoints to go on from. "
        "What torch loads at a first step is before the loop's training, and in ours.",
    ),
    Row(
        "lone_lora_memory",
        "The same, peak of memory",
        "alone",
        memory(OURS),
        memory(BARE),
    ),
    Row(
        "lone_lora_lightning",
        "The same run over Lightning + PEFT + MLFlowLogger",
        "alone",
        whole(OURS),
        whole(LIGHTNING),
        0.40,
        _SCRIPT,
    ),
    Row(
        "lone_lora_lightning_training",
        "The same, training only",
        "alone",
        training(OURS),
        training(LIGHTNING),
        None,
        _SCRIPT,
    ),
]
