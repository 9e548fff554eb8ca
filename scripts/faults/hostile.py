"""What attacks share: a finished run to copy, a canary, and commands that read others' files."""

import random
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import yaml

from adapterlab.base.errors import AdapterLabError
from adapterlab.base.redaction import shown
from adapterlab.config import conf_folder
from adapterlab.config.hydra_versions import composing
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config
from faults.trying import Setting

SMALL = ("dataset=digits_rotated", "limit=64", "epochs=1", "base.epochs=1", "hardware=cpu",
         "hardware.threads=1", "hardware.precision=32-true")  # fmt: skip

HARDWARE: Mapping[str, Any] = {
    "accelerator": "cpu", "device": 0, "precision": "auto", "workers": 0, "threads": 1,
    "compile": False, "frozen_prefix": "auto", "prefix_gib": 1.0,
}  # fmt: skip

MODULE = "strangers_module"
"""On the path of this process, as what lies in the working folder may be."""


@dataclass
class Lab:
    """Where attacks are made.

    Attributes:
        root: of finished runs.
        run: the folder of one of them.
        run_id: its MLflow run.
        rng: all chance of attacks.
        canary: appears if code of a stranger's runs; each attack has its own.
    """

    root: Path
    run: Path
    run_id: str
    rng: random.Random
    canary: Path = field(default_factory=Path)

    @classmethod
    def prepared(cls, setting: Setting) -> "Lab":
        """Train a run, and let a stranger's module be importable."""
        root = setting.root("prepared")
        result = trained(root)
        assert result.run_id is not None
        path = root / "path"
        path.mkdir()
        sys.path.insert(0, str(path))
        return cls(root, result.folder, result.run_id, setting.rng)

    def module(self) -> str:
        """Write a module whose import, and whose functions, leave the canary; return its name."""
        name = f"{MODULE}_{self.rng.getrandbits(60):x}"
        (self.root / "path" / f"{name}.py").write_text(
            "from pathlib import Path\n"
            f"Path({str(self.canary)!r}).touch()\n"
            "def run(**options): raise SystemExit(3)\n"
        )
        return name

    def copied(self, folder: Path) -> Path:
        """Return a copy of the finished run's folder."""
        return Path(shutil.copytree(self.run, folder / "run"))

    def changed(self, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
        """Return a copy of the finished run's folder with another configuration."""
        run = self.copied(folder)
        path = run / "config.yaml"
        values = yaml.safe_load(path.read_text())
        change(values)
        path.write_text(yaml.safe_dump(values))
        return run

    def trap(self) -> "Trap":
        """Return what leaves the canary when it is unpickled."""
        return Trap(self.canary)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (Path.touch, (self.canary,))


def trained(root: Path, *options: str) -> Any:
    """Carry out a small run in this process."""
    from adapterlab.runs.single import run

    return run(composed(root, *SMALL, *options))


def composed(root: Path, *options: str) -> Config:
    """Compose a configuration as the command line does."""
    conf_folder.register_resolvers()
    with composing(conf_folder.CONF):
        return parse(hydra.compose("train", [f"root={root}", *options]))


def evaluated(lab: Lab, run: Path | str, *, root: Path | None = None, **options: Any) -> str:
    """Do what ``evaluate.py run=`` does."""
    from adapterlab.runs.evaluation import evaluate_saved, parse_request

    values = _request(run, root or lab.root) | {"split": "test"} | options
    return refused(lambda: evaluate_saved(parse_request(values)).name)


def exported(lab: Lab, run: Path | str, to: Path) -> str:
    """Do what ``export.py run=`` does."""
    from adapterlab.runs.export.merged import export_saved, parse_request

    values = _request(run, lab.root)
    values |= {"to": str(to), "overwrite": False, "examples": 8, "tolerance": 1e-3}
    return refused(lambda: export_saved(parse_request(values)).name)


def refused(command: Callable[[], str]) -> str:
    """Carry out a command; return its one line of an error, or that it had nothing to refuse.

    Raises:
        AssertionError: its error is no line.
    """
    try:
        made = command()
    except AdapterLabError as error:
        line = shown(str(error))
        assert line.isprintable(), "control characters in an error"
        assert "\n" not in line
        assert "Traceback" not in line
        return "refused in one line"
    return f"done without harm ({type(made).__name__})" if made else "done without harm"


def must_refuse(line: str) -> str:
    """Return what `refused` said, if that was a refusal.

    Raises:
        AssertionError: it was not.
    """
    assert line == "refused in one line", line
    return line


def _request(run: Path | str, root: Path) -> dict[str, Any]:
    return {
        "run": str(run),
        "tracking_uri": None,
        "root": str(root),
        "data_dir": None,
        "hardware": dict(HARDWARE),
    }
