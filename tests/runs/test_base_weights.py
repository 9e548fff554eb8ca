"""Where base weights come from: trained once for everybody, a file, or nowhere."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file
from torch import nn

from adapterlab.adapters import Full
from adapterlab.base.errors import AdapterLabError, CheckpointError, ConfigError
from adapterlab.models import MLP
from adapterlab.runs.assembly import assemble, source_model
from adapterlab.runs.base_weights import BaseWeights, base_run, keeps_head, load_into
from adapterlab.runs.folders.folder import RunFolder
from adapterlab.runs.single import run
from lab import tiny

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def base_file(lab_root: Path) -> Path:
    """The weights of a base that was trained on digits: 64-128-10."""
    base = base_run(tiny(lab_root))
    assert base is not None
    return run(base).folder / "adapter.safetensors"


def test_a_base_is_trained_once(tmp_path: Path) -> None:
    config = tiny(tmp_path, "adapter=head")
    base = base_run(config)
    assert base is not None
    run(config)
    weights = RunFolder.of(base).adapter
    first = weights.stat().st_mtime_ns
    run(tiny(tmp_path, "adapter=full", "seed=1", "batch_size=16"))
    assert weights.stat().st_mtime_ns == first
    assert len(list((tmp_path / "mlruns" / "runs" / "bases").iterdir())) == 1
    run(tiny(tmp_path, "adapter=head", "base.seed=1"))
    assert len(list((tmp_path / "mlruns" / "runs" / "bases").iterdir())) == 2


def test_a_base_is_a_run_of_its_own(tmp_path: Path) -> None:
    config = tiny(tmp_path, "adapter=dora", "label_smoothing=0.1", "early_stopping=1", "seed=5")
    base = base_run(config)
    assert base is not None
    assert base.dataset.name == "digits"
    assert base.adapter["name"] == "full"
    assert (base.seed, base.init_seed, base.order_seed) == (0, 0, 0)
    assert (base.label_smoothing, base.early_stopping) == (0.0, None)
    assert base.optimizer == config.base.optimizer  # type: ignore[union-attr]
    assert base_run(base) is None
    assert RunFolder.of(base_run(tiny(tmp_path, "seed=6"))) == RunFolder.of(base)  # type: ignore[arg-type]


def _run_in_child(config: Any) -> None:
    torch.set_num_threads(1)
    run(config)


@pytest.mark.slow
def test_two_processes_that_want_a_base_train_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # spares each the seconds of importing torch
    configs = [tiny(tmp_path, f"adapter={name}", "tracking=mlflow") for name in ("head", "bitfit")]
    children = [context.Process(target=_run_in_child, args=(config,)) for config in configs]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("adapterlab")
    runs = client.search_runs([experiment.experiment_id])
    kinds = sorted((each.data.tags["kind"], each.info.status) for each in runs)
    assert kinds == [(kind, "FINISHED") for kind in ("base", "run", "run", "study")]
    (base,) = [each for each in runs if each.data.tags["kind"] == "base"]
    assert len(client.get_metric_history(base.info.run_id, "val/loss")) == 2  # an epoch each


def test_an_interrupted_base_is_finished_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tmp_path, "adapter=head", "base.epochs=3")
    with monkeypatch.context() as patch:
        patch.setattr("adapterlab.runs.lifecycle.write_files", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(config)
    assert run(config).metrics["source/accuracy_before"] > 0


@pytest.mark.parametrize("kind", ["safetensors", "state dict", "lightning"])
def test_a_base_from_a_file_is_the_same_base(
    kind: str, base_file: Path, lab_root: Path, tmp_path: Path
) -> None:
    path = base_file
    if kind != "safetensors":
        path, weights = tmp_path / "weights.pt", load_file(base_file)
        torch.save(weights if kind == "state dict" else {"state_dict": weights}, path)
    digits = "[" + ",".join(f"'{digit}'" for digit in range(10)) + "]"
    loaded = assemble(
        tiny(lab_root, "base=checkpoint", f"base.path={path}", f"base.classes={digits}"), run
    )
    trained = assemble(tiny(lab_root), run)
    assert loaded.head_kept
    assert trained.head_kept
    for name, tensor in trained.adapted.model.state_dict().items():
        assert torch.equal(tensor, loaded.adapted.model.state_dict()[name])
    assert loaded.adapted.base_hash == trained.adapted.base_hash


def test_a_file_without_class_names_gets_a_new_head(base_file: Path, lab_root: Path) -> None:
    config = tiny(lab_root, "base=checkpoint", f"base.path={base_file}")
    assembly = assemble(config, run)
    assert not assembly.head_kept
    result = run(config)
    assert "its source data are not known" in result.missing["source/accuracy_after"]
    kept = assemble(
        tiny(lab_root, "base=checkpoint", f"base.path={base_file}", "base.head=keep"), run
    )
    assert kept.head_kept
    told = ("base=checkpoint", f"base.path={base_file}", "base.head=keep")
    others = tiny(lab_root, *told, "dataset.classes=[a,b,c,d,e,f,g,h,i,j]")
    with pytest.raises(ConfigError, match="they should agree by name and in their order"):
        assemble(others, run)


def test_a_head_is_not_kept_for_its_classes_in_another_order() -> None:
    base = BaseWeights("some", weights={"head.bias": torch.zeros(2)}, classes=("a", "b"))
    with pytest.raises(ConfigError, match="tells apart a, b, and the data set the same in another"):
        keeps_head(base, ("b", "a"), "keep")
    assert not keeps_head(base, ("b", "a"), "auto")
    assert keeps_head(base, ("c", "d"), "keep")


def test_a_base_has_what_is_tied_once() -> None:
    class Tied(MLP):
        def __init__(self) -> None:
            super().__init__((1, 2, 2), 3, widths=(4, 4))
            self.twin = nn.Linear(4, 4, bias=False)
            self.twin.weight = self.get_submodule("layers.1").weight  # type: ignore[assignment]

    trained = Full().apply(Tied()).state()
    assert "twin.weight" not in trained
    assert load_into(model := Tied(), BaseWeights("x", weights=trained), (), "keep")
    assert torch.equal(model.twin.weight, trained["layers.1.weight"])
    lacking = {name: tensor for name, tensor in trained.items() if name != "layers.1.weight"}
    with pytest.raises(CheckpointError, match=r"layers\.1\.weight is not in them"):
        load_into(Tied(), BaseWeights("x", weights=lacking), (), "keep")


def _narrow(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {"layers.0.weight": weights["layers.0.weight"][:, :32].clone()}


def _renamed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("layers.0", "fc1"): tensor for name, tensor in weights.items()}


def _fewer_classes(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n: t[:3].clone() if n.startswith("head") else t for n, t in weights.items()}


@pytest.mark.parametrize(
    ("change", "overrides", "error", "message"),
    [
        (
            _narrow,
            [],
            CheckpointError,
            r"layers.0.weight is \[128, 32\] there and \[128, 64\] here",
        ),
        (_renamed, [], CheckpointError, "layers.0.bias is not in them"),
        (_fewer_classes, ["base.head=keep"], ConfigError, r"base.head=keep: .* allowed: new, auto"),
        (dict, ["model.widths=[64,64]"], CheckpointError, "not this model's"),
        (dict, ["base.classes=[a,b]", "base.head=keep"], ConfigError, "2 classes, the data set 10"),
    ],
)
def test_weights_of_another_model_are_refused(
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    overrides: list[str],
    error: type[AdapterLabError],
    message: str,
    base_file: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(change(load_file(base_file)), path)
    with pytest.raises(error, match=message):
        assemble(tiny(tmp_path, "base=checkpoint", f"base.path={path}", *overrides), run)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.pt", None, "no such file"),
        ("weights.safetensors", b"broken", "cannot be read"),
        ("weights.pt", b"broken", "cannot be read"),
        ("empty.pt", b"", "cannot be read"),
    ],
)
def test_a_damaged_file_is_named(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        assemble(tiny(tmp_path, "base=checkpoint", f"base.path={path}"), run)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("saved", [[1, 2], {"state_dict": 3}, torch.zeros(3)])
def test_a_file_that_holds_something_else(saved: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(saved, path)
    with pytest.raises(CheckpointError, match="no state dict of tensors"):
        assemble(tiny(tmp_path, "base=checkpoint", f"base.path={path}"), run)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "trapped",))

    path = tmp_path / "weights.pt"
    torch.save({"w": Trap()}, path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        assemble(tiny(tmp_path, "base=checkpoint", f"base.path={path}"), run)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("adapter", ["lora", "dora", "full", "head"])
def test_a_new_head_is_swapped_for_the_bases_own_on_the_source_task(
    adapter: str, lab_root: Path
) -> None:
    config = tiny(lab_root, f"adapter={adapter}", "base.head=new")
    assembly = assemble(config, run)
    assert not assembly.head_kept
    head = assembly.adapted.model.get_submodule("head").weight
    assert not torch.equal(head, assembly.base.weights["head.weight"])
    judged = source_model(config, assembly)
    assert torch.equal(judged.get_submodule("head").weight, assembly.base.weights["head.weight"])
    result = run(config)
    # A frozen body under the base's own head is the base.
    unchanged = result.metrics["source/accuracy_after"] == result.metrics["source/accuracy_before"]
    assert unchanged or adapter != "head"


def test_scratch_starts_from_the_init_seed(lab_root: Path) -> None:
    def weights(*overrides: str) -> torch.Tensor:
        assembly = assemble(tiny(lab_root, "base=scratch", *overrides), run)
        return assembly.adapted.model.get_submodule("head").weight.detach()

    assert torch.equal(weights(), weights("order_seed=3"))
    assert not torch.equal(weights(), weights("init_seed=3"))


def test_the_base_is_not_trained_for_data_that_are_missing(tmp_path: Path) -> None:
    config = tiny(tmp_path, "dataset=image_folder", "dataset.loader.path=x", "base.source=digits")
    with pytest.raises(AdapterLabError, match="no folder x"):
        run(replace(config, tracking=config.tracking))
    assert not (tmp_path / "mlruns" / "runs" / "bases").exists()
