"""Measure how fast this machine multiplies large matrices, and count the rows of a task.

python scripts/benchmarks/sides/products.py TASK.pt
"""

import sys
import time
from pathlib import Path

import taken
import torch
from image_task import Task, device

SIZE, ROUNDS, REPEATS = 1024, 5, 8


def rate() -> float:
    """Return operations a second, two for each multiplication: of the best of some rounds."""
    a, b = torch.randn(2, SIZE, SIZE, device=device()).unbind()
    best = float("inf")
    for _ in range(ROUNDS + 1):  # the first loads what there is to load
        start = time.process_time() if a.device.type == "cpu" else time.perf_counter()
        for _ in range(REPEATS):
            a @ b
        if a.device.type == "cpu":
            best = min(best, time.process_time() - start)
        else:
            torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
    return REPEATS * 2 * SIZE**3 / best


def main() -> None:
    taken.begin()
    task = Task.load(Path(sys.argv[1]))
    images, _ = task.train
    taken.tell(
        operations_a_second=rate(),
        rows=float(len(images)),
        validated=float(len(task.validation[0])),
        features=float(images.shape[1]),
    )


if __name__ == "__main__":
    main()
