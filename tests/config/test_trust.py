"""A config names code of this program, or of packages that the user's own configuration allows."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterlab.app import cli
from adapterlab.base.errors import ConfigError
from adapterlab.config.trust import target
from adapterlab.runs.folders.folder import read_config
from adapterlab.runs.single import run
from lab import Outcome, compose, tiny

NET = '''
from pathlib import Path
from adapterlab.data.splits import ImageSplits
from adapterlab.models import MLP

Path(__file__).with_suffix(".imported").touch()

class Net(MLP):
    """A model of a user's own."""

def loaded(context) -> ImageSplits: ...

def unannotated(context): ...

def clean_up(path: str) -> None: ...

def unreadable(context) -> "Nowhere": ...
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of a user's own, on the path; named anew each time."""
    name = f"users_{abs(hash(str(tmp_path))):x}"
    (tmp_path / f"{name}.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def imported(package: str, tmp_path: Path) -> bool:
    return (tmp_path / f"{package}.imported").exists() or package in sys.modules


def test_a_name_that_is_not_trusted_is_not_even_imported(package: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not run: a model is named from adapterlab\.models"):
        target(f"{package}.Net", "model")
    assert not imported(package, tmp_path)
    assert target(f"{package}.Net", "model", [package]).__name__ == "Net"
    assert imported(package, tmp_path)


@pytest.mark.parametrize(
    ("where", "name", "message"),
    [
        ("adapter", "Net", "is not a strategy"),
        ("dataset.loader", "Net", "is not a data source"),
        ("dataset.loader", "unannotated", "annotated to return one"),
        ("dataset.loader", "clean_up", "is not a data source"),
        ("dataset.loader", "unreadable", "annotations that cannot be read"),
        ("model", "loaded", "is not a model"),
        ("model", "MLP", None),  # it passes through, and is ours
        ("model", "Path", "it is defined in pathlib"),
        ("model", "Path.touch", "cannot be imported"),
    ],
)
def test_in_a_trusted_package_only_the_kind_that_the_place_takes(
    where: str, name: str, message: str | None, package: str
) -> None:
    if message is None:
        target(f"{package}.{name}", where, [package])
        return
    with pytest.raises(ConfigError, match=message) as caught:
        target(f"{package}.{name}", where, [package])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch.optim.NAdam", None),
        ("torch.optim.nadam.NAdam", None),
        ("torch.optim.nadam.nadam", "is not an optimizer"),  # a function that takes a step
        ("torch.optim.lr_scheduler.LambdaLR", "is not an optimizer"),
        ("torch.optim.optimizer.deepcopy", "is not run: it is defined in copy"),
        ("torch.optim.Optimizer", "is abstract"),
        ("torch.optim.nadam.torch.load", "cannot be imported"),
        ("torch.load", r"is not run: an optimizer is named from torch\.optim, or from a package"),
        ("torch.hub.load", "is not run"),
        ("torch.nn.Linear", "is not run"),
        ("torch.optimizers.Mine", "is not run"),
    ],
)
def test_of_torch_only_optimizers(name: str, message: str | None) -> None:
    if message is None:
        assert target(name, "base.optimizer").__name__ == "NAdam"
        for where in ("model", "adapter", "dataset.loader"):
            with pytest.raises(ConfigError, match="is not run"):
                target(name, where)
        return
    with pytest.raises(ConfigError, match=message):
        target(name, "optimizer")


@pytest.mark.parametrize("entry", ["", "a b", "a..b", "../x", "a.", "os;x"])
def test_an_entry_is_a_package(entry: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="should be the dotted name of a package or module"):
        compose(tmp_path, f"allow_targets=['{entry}']")


@pytest.mark.usefixtures("no_pictures")
def test_what_a_run_allows_itself_does_not_count(
    package: str, lab_root: Path, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    options: Any = (f"model._target_={package}.Net", f"allow_targets=[{package}]", "base=scratch")
    result = run(tiny(lab_root, *options))
    assert package in (result.folder / "config.yaml").read_text()
    assert read_config(result.folder / "config.yaml").allow_targets == []
    saved = (f"run={result.folder}", "hardware=cpu", "hardware.threads=1")
    outcome = run_cli(*saved, program=cli.evaluate, root=lab_root)
    assert "is not run: a model is named from adapterlab.models" in outcome.error
    outcome = run_cli(*saved, f"allow_targets=[{package}]", program=cli.evaluate, root=lab_root)
    assert "equal to the logged metrics" in outcome.out, outcome
