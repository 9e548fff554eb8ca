"""An exported model as a base: `base.head=keep` goes on with its head, or says why not."""

import json
from pathlib import Path

import pytest
import torch

from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config
from adapterlab.runs.assembly import assemble
from adapterlab.runs.base_weights import load_base
from adapterlab.runs.check import check
from adapterlab.runs.data import load_data
from adapterlab.runs.evaluation import Request, evaluate_saved
from adapterlab.runs.export.merged import Request as ExportRequest
from adapterlab.runs.export.merged import export_saved
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.identity import config_hash
from adapterlab.runs.plan_checks import plan_on_data
from adapterlab.runs.single import run
from lab import ONE_THREAD, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

WORDS = {"bad": "grey rain", "good": "sunny day", "so-so": "tall tower"}
TEXTS = ("dataset=text_files", "dataset.max_length=12", "epochs=1", "batch_size=8")


def write(folder: Path, words: dict[str, str]) -> Path:
    folder.mkdir()
    for name, ends in (("train", " and"), ("test", " more")):
        lines = [
            json.dumps({"text": f"{word} {'and more ' * (i % 5)}{i}{ends}", "label": label})
            for i in range(16)
            for label, word in words.items()
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A root with texts, a run on them, and its exported model in `model`."""
    root = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        write(root / "own", WORDS)
        small = ("model=bert_tiny", "model.hidden_size=32", "model.vocab_size=300", "base=scratch")
        learn = ("adapter=full", "epochs=8", "optimizer.lr=0.003")
        config = tiny(root, *TEXTS, f"dataset.loader.path={root / 'own'}", *small, *learn)
        result = run(config)
        export(root, result, root / "model")
        return root, result


def export(root: Path, result: RunResult, to: Path) -> None:
    common = {"tracking_uri": None, "root": str(root), "data_dir": None, "hardware": ONE_THREAD}
    asked = {"run": str(result.folder), "to": str(to), "overwrite": False}
    export_saved(ExportRequest(**common, **asked, examples=8, tolerance=1e-4))


def over(root: Path, *options: str, data: str = "own") -> Config:
    """A run over the exported model, with its own head unless an option says otherwise."""
    return tiny(
        root,
        *(*TEXTS, f"dataset.loader.path={root / data}", "model=hf"),
        *(
            f"model.name_or_path={root / 'model'}",
            "adapter=lora",
            "base=pretrained",
            "base.head=keep",
            *options,
        ),
    )


def test_the_run_begins_where_the_exported_model_was(lab: tuple[Path, RunResult]) -> None:
    root, before = lab
    assert before.metrics["test/accuracy"] > 0.6
    config = over(root)
    assembly = assemble(config, run)
    assert assembly.head_kept
    new = assemble(over(root, "base.head=new"), run)
    for assembled, alike in ((assembly, True), (new, False)):
        weights = assembled.adapted.model.get_submodule("model.classifier").weight
        (own,) = [t for k, t in assembly.base.weights.items() if k.endswith("classifier.weight")]
        assert torch.equal(weights, own) == alike
    result = run(config)
    assert result.metrics["target/accuracy_before"] == before.metrics["test/accuracy"]
    assert result.tags["base_head"] == "kept"
    common = {"tracking_uri": None, "root": str(root), "data_dir": None, "hardware": ONE_THREAD}
    again = evaluate_saved(Request(run=str(result.folder), split="test", **common))
    assert again.differences() == {}
    export(root, result, root / "again")
    config_json = json.loads((root / "again" / "config.json").read_text())
    assert list(config_json["id2label"].values()) == list(WORDS)


def test_a_head_of_other_classes_is_one_line(lab: tuple[Path, RunResult]) -> None:
    root, _ = lab
    write(root / "fewer", {"bad": "grey rain", "good": "sunny day"})
    write(root / "other", {"bad": "grey rain", "good": "sunny day", "neutral": "tall tower"})
    with pytest.raises(
        ConfigError, match=r"3 classes and the data set 2, .* only the head has 'so"
    ):
        assemble(over(root, data="fewer"), run)
    with pytest.raises(ConfigError, match="agree by name: only the data set has 'neutral'"):
        assemble(over(root, data="other"), run)
    with pytest.raises(ConfigError, match="only the data set has 'neutral'"):
        plan_on_data(over(root, data="other"))
    turned = over(root, "dataset.classes=[good,bad,so-so]")
    with pytest.raises(ConfigError, match=r"another order; dataset.classes=\[bad,good,so-so\]"):
        check(turned)
    assert assemble(over(root, "dataset.classes=[bad,good,so-so]"), run).head_kept


def test_a_model_without_a_head_or_without_names_is_one_line(
    lab: tuple[Path, RunResult],
) -> None:
    root, _ = lab
    with pytest.raises(ConfigError, match="model=minilm comes without a head"):
        check(tiny(root, "model=minilm", "base=pretrained", "base.head=keep", "dataset=emotion"))
    path = root / "model" / "config.json"
    before = path.read_text()
    values = json.loads(before)
    try:
        values["id2label"] = {str(i): f"LABEL_{i}" for i in range(3)}
        path.write_text(json.dumps(values))
        with pytest.raises(ConfigError, match="does not name the classes of its head"):
            assemble(over(root), run)
    finally:
        path.write_text(before)


def test_a_new_head_is_what_it_always_was(lab_root: Path) -> None:
    usual = tiny(lab_root, "model=minilm", "base=pretrained", "dataset=emotion")
    assert config_hash(usual) == config_hash(
        tiny(lab_root, "model=minilm", "base=pretrained", "dataset=emotion", "base.head=new")
    )


def test_an_exported_network_of_images_keeps_its_head_by_name(
    lab_root: Path, tmp_path: Path
) -> None:
    result = run(tiny(lab_root, "adapter=lora", "study=exported"))
    export(lab_root, result, tmp_path / "model")
    told = ("base=checkpoint", f"base.path={tmp_path / 'model' / 'model.safetensors'}")
    config = tiny(lab_root, *told, "base.head=keep")
    assembly = assemble(config, run)
    assert assembly.head_kept
    named = tiny(lab_root, *told, "base.head=keep", "dataset.classes=[a,b,c,d,e,f,g,h,i,j]")
    with pytest.raises(ConfigError, match="they should agree by name and in their order"):
        load_base(named, load_data(named), run)
    auto = tiny(lab_root, *told)
    assert not assemble(auto, run).head_kept  # as before: the file does not say its classes
