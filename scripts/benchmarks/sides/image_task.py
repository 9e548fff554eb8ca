"""What is trained on images, and on what, for scripts that do without AdapterLab.

    python scripts/benchmarks/sides/image_task.py TO.pt root=... adapter=lora dataset=...

writes the splits, the base's weights and the options of a run that AdapterLab would carry out.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """What is trained, and on what.

    Attributes:
        train: normalised images ``[N, D]``, float32, and their labels ``[N]``, int64.
        validation: likewise.
        weights: state dict of the MLP: ``layers.0.weight``, ..., ``head.bias``.
        batch_size: rows.
        epochs: of each configuration.
        lr, weight_decay: of AdamW.
        test: like `train`; None where nothing is tested.
    """

    train: Rows
    validation: Rows
    weights: dict[str, Tensor]
    batch_size: int
    epochs: int
    lr: float
    weight_decay: float
    test: Rows | None = None

    def first(self, count: int) -> "Task":
        """Return the task with fewer training images."""
        images, labels = self.train
        return replace(self, train=(images[:count], labels[:count]))

    def save(self, path: Path) -> None:
        """Write what `load` reads."""
        torch.save(vars(self), path)

    @classmethod
    def load(cls, path: Path) -> "Task":
        """Read what `save` or this program wrote; images that are whole numbers are normalised."""
        values: dict[str, Any] = torch.load(path, weights_only=True)
        mean, std = values.pop("mean", 0.0), values.pop("std", 1.0)
        for name in ("train", "validation", "test"):
            rows = values.get(name)
            if rows is not None and rows[0].dtype == torch.uint8:
                images = rows[0].flatten(1).float().div_(255).sub_(mean).div_(std)
                values[name] = (images, rows[1])
        return cls(**values)


def device() -> torch.device:
    """Return where scripts compute, as people write it."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    import hydra

    from adapterlab.config import conf_folder
    from adapterlab.config.hydra_versions import composing
    from adapterlab.config.parsing import parse
    from adapterlab.runs.assembly import assemble
    from adapterlab.runs.single import run

    place, *overrides = sys.argv[1:]
    conf_folder.register_resolvers()
    with composing(conf_folder.CONF):
        config = parse(hydra.compose("train", overrides))
    assembly = assemble(config, run)
    data: Any = assembly.data
    splits = {name: (split.images, split.labels) for name, split in data.splits.items()}
    base = {
        name.replace(".base.", "."): tensor
        for name, tensor in assembly.adapted.model.state_dict().items()
        if "lora" not in name
    }
    (mean,), (std,) = data.normalize.mean, data.normalize.std
    values = {
        **{name: splits[name] for name in ("train", "validation", "test")},
        "weights": base,
        "batch_size": config.batch_size,
        "epochs": config.epochs,
        "lr": config.optimizer.lr,
        "weight_decay": config.optimizer.weight_decay,
        "mean": float(mean),
        "std": float(std),
    }
    torch.save(values, place)


if __name__ == "__main__":
    main()
