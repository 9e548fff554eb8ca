"""`base=peft`: a run goes on from an adapter in PEFT's format, or measures it, or says why not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapterlab.base.errors import AdapterLabError
from adapterlab.config.schema import Config
from adapterlab.runs.assembly import assemble
from adapterlab.runs.check import check
from adapterlab.runs.evaluation import Request, evaluate_saved
from adapterlab.runs.export.merged import Request as ExportRequest
from adapterlab.runs.export.merged import export_saved
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.identity import config_hash
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.plan_checks import plan_on_data
from adapterlab.runs.single import run
from lab import ONE_THREAD, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

WORDS = {"bad": "grey rain", "good": "sunny day", "so-so": "tall tower"}


def texts(root: Path, *options: str) -> Config:
    return tiny(
        root,
        *("dataset=text_files", f"dataset.loader.path={root / 'own'}", "dataset.max_length=12"),
        *("epochs=1", "batch_size=8", *options),
    )


def of_folder(root: Path, *options: str) -> Config:
    if not any(option.startswith("base=") for option in options):
        options = ("base=pretrained", *options)
    return texts(root, "model=hf", f"model.name_or_path={root / 'model'}", *options)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A root with texts, a model in a folder, and a run whose adapter is in `adapter`."""
    root = tmp_path_factory.mktemp("lab")
    (root / "own").mkdir()
    for name, ends in (("train", " and"), ("test", " more")):
        lines = [
            json.dumps({"text": f"{word} {'and more ' * (i % 5)}{i}{ends}", "label": label})
            for i in range(16)
            for label, word in WORDS.items()
        ]
        (root / "own" / f"{name}.jsonl").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        small = ("model=bert_tiny", "model.hidden_size=32", "model.vocab_size=300")
        model = run(texts(root, *small, "base=scratch", "adapter=full"))
        common = {"tracking_uri": None, "root": str(root), "data_dir": None}
        asked = {"run": str(model.folder), "to": str(root / "model"), "overwrite": False}
        export_saved(
            ExportRequest(**common, **asked, hardware=ONE_THREAD, examples=8, tolerance=1e-4)
        )
        learn = ("adapter=dora", "adapter.init=olora", "adapter.rank=3", "epochs=6")
        result = run(of_folder(root, *learn, "optimizer.lr=0.01"))
    shutil.copytree(result.folder / "peft", root / "adapter")
    return root, result


def going_on(root: Path, *options: str) -> Config:
    return of_folder(root, "base=peft", f"base.path={root / 'adapter'}", *options)


def test_it_begins_where_the_adapter_was_and_goes_on(lab: tuple[Path, RunResult]) -> None:
    root, before = lab
    assert before.metrics["test/accuracy"] > 0.5
    config = going_on(root, "adapter=lora", "adapter.rank=2")
    check(config)
    plan_on_data(config)
    result = run(config)
    assert result.metrics["target/accuracy_before"] == before.metrics["test/accuracy"]
    assert result.tags["base_head"] == "kept"
    common = {"tracking_uri": None, "root": str(root), "data_dir": None, "hardware": ONE_THREAD}
    again = evaluate_saved(Request(run=str(result.folder), split="test", **common))
    assert again.differences() == {}
    new = assemble(going_on(root, "adapter=lora", "base.head=new"), run)
    assert not new.head_kept
    options = ("adapter=lora", "adapter.rank=2", "study=packed")
    packed = run_pack([going_on(root, *options, f"init_seed={seed}") for seed in (0, 1)])
    for lane in packed:
        assert isinstance(lane, RunResult), lane
        assert lane.metrics["target/accuracy_before"] == before.metrics["test/accuracy"]


def test_the_adapter_itself_is_trained_further(lab: tuple[Path, RunResult]) -> None:
    root, before = lab
    continued = ("adapter=continued", "optimizer.lr=0.001")
    config = going_on(root, *continued)
    check(config)
    plan_on_data(config)
    result = run(config)
    assert result.metrics["target/accuracy_before"] == before.metrics["test/accuracy"]
    twice = before.metrics["params/adapter"]  # less a first update: PEFT's is of twice the rank
    assert twice < result.metrics["params/adapter"] < 2 * twice
    common = {"tracking_uri": None, "root": str(root), "data_dir": None, "hardware": ONE_THREAD}
    again = evaluate_saved(Request(run=str(result.folder), split="test", **common))
    assert again.differences() == {}
    third = run(going_on(root, *continued, f"base.path={result.folder / 'peft'}"))
    assert third.metrics["target/accuracy_before"] == result.metrics["test/accuracy"]
    rates = ("optimizer.lr=0.001", "optimizer.lr=0.002")
    packed = run_pack([going_on(root, "adapter=continued", "study=on", rate) for rate in rates])
    assert isinstance(packed[0], RunResult), packed[0]
    assert packed[0].metrics["test/accuracy"] == result.metrics["test/accuracy"]
    moved = shutil.copytree(root / "adapter", root / "same")
    assert config_hash(going_on(root, *continued, f"base.path={moved}")) == config_hash(config)
    refused(of_folder(root, "adapter=continued"), "goes on from an adapter in PEFT's format; name")
    other = of_folder(root, "adapter=continued", f"adapter.path={moved}")
    refused(other, "adapter=continued goes on from the adapter of base=peft, and base=pretrained")


def test_another_adapter_is_another_run(lab: tuple[Path, RunResult]) -> None:
    root, _ = lab
    first = config_hash(going_on(root))
    moved = shutil.copytree(root / "adapter", root / "moved")
    assert config_hash(going_on(root, f"base.path={moved}")) == first
    weights = moved / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert config_hash(going_on(root, f"base.path={moved}")) != first


def refused(config: Config, message: str) -> None:
    with pytest.raises(AdapterLabError, match=message) as caught:
        check(config)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_merged_is_refused_before_anything_is_loaded(
    lab: tuple[Path, RunResult],
) -> None:
    root, _ = lab
    refused(going_on(root, f"base.path={root / 'none'}"), "base.path=.*none: no such folder")
    refused(going_on(root, f"base.path={root / 'own'}"), "adapter_config.json: no such file")
    plain = tiny(root, "model=mlp", "base=peft", f"base.path={root / 'adapter'}")
    refused(plain, "base=peft: model=mlp comes without weights, which an adapter belongs to")
    other = shutil.copytree(root / "adapter", root / "other")
    path = other / "adapter_config.json"
    values: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"peft_type": "LOHA"}))
    refused(going_on(root, f"base.path={other}"), "holds PEFT's LOHA; allowed: LORA")


def test_a_head_of_other_classes_is_not_kept(lab: tuple[Path, RunResult]) -> None:
    root, _ = lab
    four = "base.classes=[a,b,c,d]"
    with pytest.raises(AdapterLabError, match=r"base.classes names 4 classes, and the he"):
        assemble(going_on(root, four), run)
    others = assemble(going_on(root, "base.classes=[a,b,c]"), run)
    assert not others.head_kept


@pytest.mark.parametrize(
    ("options", "known"),
    [
        (["base=pretrained", "adapter=lora"], True),
        (["base=scratch", "adapter=lora"], False),
        (["base=peft", "adapter=lora"], False),
        (["base=peft", "adapter=continued", "optimizer.lr=0.001"], True),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_file_of_peft_names_a_base_only_by_whose_weights_it_was_trained_over(
    options: list[str], known: bool, lab: tuple[Path, RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = lab
    folder = root / "package"
    if not folder.exists():
        shutil.copytree(root / "model", folder)
        told = json.loads((folder / "config.json").read_text())
        told["_name_or_path"] = "someone/before-it-was-trained-further"
        (folder / "config.json").write_text(json.dumps(told))
    monkeypatch.setattr("adapterlab.models.hub.minilm_source", lambda: str(folder))
    path = [f"base.path={root / 'adapter'}"] if "base=peft" in options else []
    result = run(texts(root, "model=minilm", *options, *path, "study=named"))
    written = json.loads((result.folder / "peft" / "adapter_config.json").read_text())
    expected = "sentence-transformers/all-MiniLM-L6-v2" if known else None
    assert written["base_model_name_or_path"] == expected
