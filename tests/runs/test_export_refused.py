"""What is no exact copy of a run is not exported, and what is there is not overwritten."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split


from exported import asked, export

from adapterlab.adapters import merge
from adapterlab.app import cli
from adapterlab.base.errors import AdapterLabError
from adapterlab.runs.export import merged
from adapterlab.runs.export.folder import ExportError, TextModelFolder, model_folder
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.saved import rebuild
from lab import Outcome

pytestmark = pytest.mark.usefixtures("no_pictures")


def tampered(adapted: Any) -> nn.Module:
    """Merge, but for one layer, whose update is halved."""
    model = merge(adapted)
    name, layer = next((n, m) for n, m in adapted.model.named_modules() if hasattr(m, "lora_B"))
    with torch.no_grad():
        model.get_submodule(name).weight -= 0.5 * layer.scale * layer.lora_B @ layer.lora_A
    return model


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_a_wrong_merge_is_refused_and_leaves_nothing(
    kind: str,
    request: pytest.FixtureRequest,
    run_cli: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = request.getfixturevalue(f"of_{kind}")
    monkeypatch.setattr(merged, "merge", tampered)
    to = tmp_path / "models" / "wrong"
    arguments = [f"run={result.folder}", f"to={to}", "hardware=cpu", "hardware.threads=1"]
    root = result.folder.parents[3]
    outcome = run_cli(*arguments, program=cli.export, root=root)
    assert outcome.code == 1
    (line,) = outcome.err.splitlines()
    pattern = r"error: nothing was written to .*wrong: .* by up to (\S+) from .*; allowed: (\S+) \("
    found = re.match(pattern, line)
    assert found is not None, line
    assert float(found[1]) > float(found[2]) > 0
    assert list(to.parent.iterdir()) == []

    # A tolerance that takes anything shows that this was the one objection.
    assert run_cli(*arguments, "tolerance=1e9", program=cli.export, root=root).code == 0
    before = {path.name: path.read_bytes() for path in to.iterdir()}
    assert run_cli(*arguments, "overwrite=true", program=cli.export, root=root).code == 1
    assert {path.name: path.read_bytes() for path in to.iterdir()} == before


def test_a_logit_that_is_no_number_is_refused(
    of_images: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(adapted: Any) -> nn.Module:
        model = merge(adapted)
        cast(Any, model).head.bias.fill_(float("nan"))
        return model

    monkeypatch.setattr(merged, "merge", broken)
    with pytest.raises(ExportError, match="by up to nan from"):
        export(of_images, tmp_path / "model", tolerance=1e9)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_tokenizer_is_refused(
    of_texts: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here one that cuts later than the run did."""
    write = TextModelFolder.write

    def longer(self: TextModelFolder, merged: nn.Module, folder: Path) -> None:
        write(self, merged, folder)
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 17}))

    monkeypatch.setattr(TextModelFolder, "write", longer)
    with pytest.raises(ExportError, match="other tokens when read back, for") as caught:
        export(of_texts, tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_unless_overwritten(
    of_images: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "model"
    to.mkdir()
    export(of_images, to)  # an empty folder is as good as none
    (to / "stale.txt").write_text("of the model before")
    with monkeypatch.context() as patch:
        patch.setattr(merged, "rebuild", lambda _: pytest.fail("something was loaded"))
        with pytest.raises(AdapterLabError, match=r"is not empty \(README.md\); .*overwrite=true"):
            export(of_images, to)
    assert (to / "stale.txt").is_file()
    export(of_images, to, overwrite=True)
    assert sorted(p.name for p in to.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert list(tmp_path.iterdir()) == [to]
    modes = {path.stat().st_mode for path in to.iterdir()}
    assert len(modes) == 1  # nobody can read the card and not the weights


@pytest.mark.parametrize("what", ["file", "other", "model_with_folder", "run"])
def test_only_exported_models_are_overwritten(
    what: str, of_images: RunResult, tmp_path: Path
) -> None:
    to = tmp_path / "precious"
    if what == "run":
        to = of_images.folder
    elif what == "file":
        to.write_text("mine")
    else:
        to.mkdir()
        names = ["thesis.tex"] if what == "other" else ["config.json", "model.safetensors"]
        for name in names:
            (to / name).write_text("mine")
        if what == "model_with_folder":
            (to / ".git").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AdapterLabError, match=r"is a file|nothing but exported models"):
        export(of_images, to, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert of_images.folder.is_dir()


def test_what_was_there_is_put_back_if_the_move_fails(
    of_images: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "model"
    export(of_images, to)
    before = (to / "model.safetensors").read_bytes()
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "model" and Path(target) == to and self != to:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        export(of_images, to, overwrite=True)
    assert (to / "model.safetensors").read_bytes() == before
    assert list(tmp_path.iterdir()) == [to]


def test_mistakes_are_one_line(
    of_images: RunResult, run_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    def error(*arguments: str) -> str:
        return run_cli(*arguments, program=cli.export).error

    to, done = f"to={tmp_path / 'model'}", f"run={of_images.folder}"
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.yaml").write_text((of_images.folder / "config.yaml").read_text())
    assert "no finished run in this folder" in error(f"run={unfinished}", to)
    assert "neither a run folder nor a finished MLflow run" in error("run=0123abcd", to)
    assert error(done) == "to is missing: set to=..."
    assert error(to) == "run is missing: set run=..."
    assert error(done, to, "examples=0").startswith("examples=0 should be")
    assert error(done, to, "tolerance=-1").startswith("tolerance=-1 should be")
    assert error(done, to, "overwrite=maybe").startswith("overwrite='maybe' should be")
    assert "did you mean overwrite?" in error(done, to, "overwrit=true")
    assert not (tmp_path / "model").exists()


def test_a_text_model_that_is_none_of_transformers(of_texts: RunResult, tmp_path: Path) -> None:
    rebuilt = rebuild(asked(of_texts, tmp_path))
    cast(Any, rebuilt.assembly.adapted).model = nn.Identity()
    with pytest.raises(AdapterLabError, match="model=bert_tiny cannot be exported"):
        model_folder(rebuilt)
