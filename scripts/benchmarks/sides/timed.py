"""The program `src/train.py`, which tells besides what its training took.

    python scripts/benchmarks/sides/timed.py adapter=lora ...

Nothing is loaded that the program would not load, nor earlier: functions are wrapped when their
module is.
"""

import functools
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))

import taken

TRAINING = {
    "adapterlab.runs.single": ("fit", "frozen_prefix", "fit_pack"),
    "adapterlab.runs.packs.pack": ("frozen_prefix", "fit_pack"),
}
"""Functions that are training, with its validation, by the module that they are called from."""

PEAK = ("adapterlab.training.hardware", "_reset_peak_rss")
"""What forgets the peak of memory, which is told before."""


def counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Count what a function takes as training, once where one calls another."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with taken.training():
            return function(*arguments, **options)

    return function if hasattr(function, "__wrapped__") else call


def keeping_peak(function: Callable[[], Any]) -> Callable[[], Any]:
    """Tell the peak of memory before it is forgotten."""

    @functools.wraps(function)
    def call() -> Any:
        taken.forget_peak()
        return function()

    return call


def wrap(module: ModuleType) -> None:
    """Wrap what is counted of a module that has just been loaded."""
    for name in TRAINING.get(module.__name__, ()):
        setattr(module, name, counted(getattr(module, name)))
    if module.__name__ == PEAK[0]:
        setattr(module, PEAK[1], keeping_peak(getattr(module, PEAK[1])))


class Wrapping(MetaPathFinder):
    """Loads modules as ever, and wraps what is counted of them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the usual spec of a module that has something to count."""
        if name not in TRAINING and name != PEAK[0]:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        spec.loader = _Wrapped(spec.loader)
        return spec


class _Wrapped(Loader):
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        wrap(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def main() -> None:
    taken.begin()
    from adapterlab.app.cli import train

    train()


sys.meta_path.insert(0, Wrapping())

if __name__ == "__main__":
    main()
