"""A run's floor: beside it, once for its rows, and missing with a reason."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from adapterlab.runs.assembly import assemble
from adapterlab.runs.data import load_data
from adapterlab.runs.results import floor
from adapterlab.runs.results.feature_floor import _of_rows, begin_feature_floor
from adapterlab.runs.results.measurements import Measurements
from adapterlab.runs.single import run
from adapterlab.training.hardware import choose_device
from adapterlab.training.outcome import Training
from adapterlab.training.predictions import Predictions
from lab import TINY, compose, tiny


def test_a_run_has_its_floor_and_the_next_one_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tmp_path, "baseline=auto", "adapter=head", "epochs=1")
    first = run(config)
    value = first.metrics["data/baseline_accuracy"]
    assert value > first.metrics["data/majority_accuracy"]
    assert first.tags["baseline"].startswith("logistic regression on the pixels")
    monkeypatch.setattr(floor, "submit", lambda *_: pytest.fail("it is known"))
    second = run(tiny(tmp_path, "baseline=auto", "adapter=lora", "epochs=1"))
    assert second.metrics["data/baseline_accuracy"] == value


def test_other_rows_have_another_floor(tmp_path: Path) -> None:
    config = tiny(tmp_path, "baseline=auto")
    read = load_data(config)
    one = floor.begin_floor(config, read, "test")
    other = floor.begin_floor(tiny(tmp_path, "baseline=auto", "limit=48"), read, "test")
    assert one is floor.begin_floor(config, read, "test")
    assert one.score() != other.score()


def test_why_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(tiny(tmp_path, "adapter=head", "epochs=1"))
    assert "data/baseline_accuracy" not in {**result.metrics, **result.missing}
    config = tiny(tmp_path, "baseline=auto")
    monkeypatch.setattr(floor, "submit", lambda *_: None)
    dead = floor.begin_floor(config, load_data(config), "test")
    assert dead.score() is None
    assert "no process" in dead.why


def test_what_fails_beside_says_so_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tmp_path, "baseline=auto", "adapter=head", "epochs=1")

    monkeypatch.setattr(floor, "submit", lambda *_: _Failed())
    result = run(config)
    assert result.missing["data/baseline_accuracy"] == "the linear model failed: no words"


class _Failed:
    def result(self) -> float:
        raise ValueError("no words")


@pytest.mark.parametrize("labels", [[0, 1, 1], [1, 1, 1]])
def test_a_run_that_answers_one_class_says_so(labels: list[int]) -> None:
    test = Predictions(np.array([[0.0, 1.0]] * 3), np.array(labels), ("neg", "pos"))
    epoch = {"val/loss": 1.0, "val/accuracy": 0.5, "val/macro_f1": 0.5}
    training = Training({1: epoch}, 1, seconds=0.0, samples_per_second=None, why="")
    measured = Measurements()
    measured.add_outcome(training, test)
    assert measured.values["test/classes_answered"] == 1
    expected = [
        "answers 'pos' for all 3 test examples: nothing that tells classes apart was learnt"
    ]
    assert measured.notes == (expected if 0 in labels else [])


def test_a_floor_on_the_features_of_the_base(
    lab_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("baseline=features", "epochs=1", "limit=200")
    first = run(tiny(lab_root, *options, "adapter=head"))
    assert first.tags["baseline"] == "logistic regression on what the base gives its head"
    value = first.metrics["data/baseline_accuracy"]
    pixels = run(tiny(lab_root, *options, "baseline=auto", "adapter=head", "seed=1"))
    assert value != pixels.metrics["data/baseline_accuracy"]
    # By hand: the hidden layer of the base, which the source task has trained.
    config = tiny(lab_root, *options, "adapter=lora", "seed=2")
    assembly = assemble(config, run)
    data, layer = assembly.data, assembly.adapted.model.get_submodule("layers.0").base
    features, labels = [], []
    for split in ("train", "test"):
        of_split = list(data.batches(split))
        x = torch.cat([batch.inputs for batch in of_split]).flatten(1)
        features.append(torch.relu(layer(x)).detach().double().numpy())
        labels.append(torch.cat([batch.labels for batch in of_split]).numpy())
    scale = StandardScaler().fit(features[0])
    fitted = LogisticRegression(max_iter=200).fit(scale.transform(features[0]), labels[0])
    by_hand = fitted.score(scale.transform(features[1]), labels[1])
    assert value == pytest.approx(by_hand, abs=0.02)  # float32 there
    # The base is the same whatever the strategy is, and where the adapter does not start at zero.
    monkeypatch.setattr(floor, "submit", lambda *_: pytest.fail("it is known"))
    again = run(tiny(lab_root, *options, "adapter=lora", "adapter.init=both_normal", "seed=3"))
    assert again.metrics["data/baseline_accuracy"] == value


def test_other_weights_of_a_base_have_other_features(lab_root: Path) -> None:
    fixed = ("base=scratch", "baseline=features", "limit=100", "adapter=head")
    options = [option for option in TINY if not option.startswith(("base.", "baseline"))]
    read, found = None, []
    for seed in (0, 1, 0):
        config = compose(lab_root, *options, *fixed, f"seed={seed}")
        assembly, device = assemble(config, run, read=read), choose_device(config.hardware)
        read = assembly.read
        found.append(begin_feature_floor(config, assembly, device, "test"))
    assert found[0] is found[2]
    assert found[0].score() != found[1].score()


def test_features_of_tokens_leave_padding_out() -> None:
    features = torch.arange(12.0).view(1, 4, 3)
    inputs = {"attention_mask": torch.tensor([[1, 1, 0, 0]])}
    assert _of_rows(features, inputs).tolist() == [[1.5, 2.5, 3.5]]
    assert _of_rows(features, torch.zeros(1)).tolist() == [[4.5, 5.5, 6.5]]
    places = torch.arange(8.0).view(1, 2, 2, 2)
    assert _of_rows(places, torch.zeros(1)).tolist() == [[1.5, 5.5]]
