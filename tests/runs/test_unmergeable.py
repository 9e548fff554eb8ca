"""A run whose adapter cannot be merged: it runs to the end, is read back, and is not exported."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from adapterlab.adapters import AdapterLayer
from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.runs import saved
from adapterlab.runs.assembly import assemble, source_model
from adapterlab.runs.check import check
from adapterlab.runs.evaluation import Request, evaluate_saved
from adapterlab.runs.export import merged
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.single import run
from lab import ONE_THREAD, tiny

OPTIONS = ("adapter=bottleneck", "adapter.size=2", "base.head=new")

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(tiny(tmp_path_factory.mktemp("lab"), *OPTIONS))


def options(result: RunResult) -> dict[str, object]:
    return {
        "run": str(result.folder),
        "root": str(result.folder.parents[3]),
        "data_dir": None,
        "tracking_uri": None,
        "hardware": ONE_THREAD,
    }


def test_it_runs_to_the_end_and_is_evaluated_again(result: RunResult) -> None:
    assert 0 <= result.metrics["source/accuracy_after"] <= 1
    for split, metric in (("test", "test"), ("source", "source")):
        again = evaluate_saved(Request(split=split, **options(result)))
        wanted = "source/accuracy_after" if metric == "source" else "test/accuracy"
        assert again.metrics["accuracy"] == result.metrics[wanted]


def test_it_is_not_exported_and_nothing_is_loaded_to_find_that_out(
    result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the run was assembled")

    monkeypatch.setattr(saved, "assemble", refuse)
    request = merged.Request(
        to=str(tmp_path / "model"), overwrite=False, examples=8, tolerance=1e-4, **options(result)
    )
    with pytest.raises(AdapterLabError) as caught:
        merged.export_saved(request)
    assert "adapter=bottleneck cannot be exported: its adapter cannot be merged" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ({"name": "prompt", "_target_": "adapterlab.adapters.Prompt"}, "run's folder peft/"),
        ({"name": "prefix", "_target_": "adapterlab.adapters.Prefix"}, "offset_positions=true"),
        ({"name": "bottleneck", "_target_": "adapterlab.adapters.Bottleneck"}, "the same"),
    ],
)
def test_a_refusal_says_where_a_model_of_pefts_is(
    adapter: dict[str, str], said: str, tmp_path: Path
) -> None:
    config = replace(tiny(tmp_path), adapter=adapter)
    with pytest.raises(AdapterLabError, match=f"adapter={adapter['name']} cannot") as caught:
        merged.require_mergeable(config)
    assert str(caught.value).endswith(said) or f"{said} does" in str(caught.value)


def test_another_head_is_put_on_a_copy_of_what_was_adapted(tmp_path: Path) -> None:
    for adapter in (OPTIONS, ("adapter=dora", "base.head=new")):
        config = tiny(tmp_path, *adapter)
        assembly = assemble(config, train=run)
        with torch.no_grad():
            for parameter in assembly.adapted.trainable().values():
                parameter += 0.1
        model = source_model(config, assembly)
        assert isinstance(model.layers[0], AdapterLayer)
        own, theirs = model.state_dict(), assembly.adapted.model.state_dict()
        assert own.keys() == theirs.keys()
        for name in own:
            wanted = assembly.base.weights if name.startswith("head.") else theirs
            assert torch.equal(own[name], wanted[name]), name
        assert isinstance(model.head, nn.Linear)
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert set(assembly.adapted.trainable()) > {"head.weight"}


def test_it_is_refused_an_mlflow_model_before_it_is_trained(tmp_path: Path) -> None:
    config = tiny(tmp_path, *OPTIONS, "mlflow_model=true")
    with pytest.raises(ConfigError, match=r"mlflow_model=true: .* has no merged model"):
        check(config)
