"""One LoRA run as a script without libraries: torch and a loop, with AdapterLab's arithmetic.

    python scripts/benchmarks/sides/bare_loop.py TASK.pt

Images and the base's weights are read from a file; LoRA of rank 8 on the hidden layers, the head
trained; AdamW; the order of an epoch drawn anew; validation after each, the best epoch kept, tested
at the end and saved.
"""

import copy
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import taken
import torch
import torch.nn.functional as F
from image_task import Rows, Task, device
from torch import Tensor, nn

RANK, ALPHA, EVALUATED = 8, 16, 1024


class LoRA(nn.Module):
    """y = W x + b + alpha/rank B A x, of which A and B are trained."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.empty(RANK, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, RANK))
        nn.init.kaiming_uniform_(self.A, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out]`` for ``[B, in]``."""
        y: Tensor = self.base(x) + (x @ self.A.T) @ self.B.T * (ALPHA / RANK)
        return y


def network(weights: dict[str, Tensor]) -> nn.Sequential:
    """Return linear layers with ReLU between them, all but the last adapted."""
    names = [name.removesuffix(".weight") for name in weights if name.endswith("weight")]
    layers = []
    for name in names:
        layer = nn.Linear(*weights[f"{name}.weight"].shape[::-1])
        layer.load_state_dict({k: weights[f"{name}.{k}"] for k in ("weight", "bias")})
        layers.append(layer)
    adapted: list[nn.Module] = [LoRA(layer) for layer in layers[:-1]]
    between = [
        module for layer, _ in pairwise([*adapted, layers[-1]]) for module in (layer, nn.ReLU())
    ]
    return nn.Sequential(*between, layers[-1])


def correct(model: nn.Module, rows: Rows) -> float:
    """Return the accuracy."""
    model.eval()
    with torch.no_grad():
        parts = [torch.split(part, EVALUATED) for part in rows]
        right = [(model(x).argmax(1) == y).sum() for x, y in zip(*parts, strict=True)]
    return int(torch.stack(right).sum()) / len(rows[1])


def train(task: Task, model: nn.Module) -> None:
    """Train, and leave the model at its best epoch on validation."""
    images, labels = task.train
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=task.lr, weight_decay=task.weight_decay)
    best, kept = -1.0, copy.deepcopy(model.state_dict())
    for _ in range(task.epochs):
        model.train()
        order = torch.randperm(len(labels), device=labels.device)
        for rows in torch.split(order, task.batch_size):
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        accuracy = correct(model, task.validation)
        if accuracy > best:
            best, kept = accuracy, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)


def load_optimizer() -> None:
    """Let torch load what a first step loads, its compiler: that is no training."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    torch.optim.AdamW([weight]).step()


def main() -> None:
    taken.begin()
    path = Path(sys.argv[1])
    torch.manual_seed(0)
    task, where = Task.load(path), device()
    assert task.test is not None
    parts = [task.train, task.validation, task.test]
    moved = [(images.to(where), labels.to(where)) for images, labels in parts]
    task = replace(task, train=moved[0], validation=moved[1], test=moved[2])
    model = network(task.weights).to(where)
    load_optimizer()
    with taken.training():
        train(task, model)
    print(f"test accuracy {correct(model, moved[2]):.4f}")
    torch.save(model.state_dict(), path.with_name("bare_loop.pt"))


if __name__ == "__main__":
    main()
