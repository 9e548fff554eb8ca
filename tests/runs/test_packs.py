"""The law of packs for whole runs: what a run leaves does not depend on its company."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from adapterlab.config.schema import Config
from adapterlab.runs import single
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs.pack import run_pack
from lab import tiny
from reviews import small, write_reviews

pytestmark = pytest.mark.usefixtures("no_pictures")

IMAGES = (
    "hardware.precision=64-true",
    "limit=640",
    "epochs=8",
    "optimizer.lr=0.002",
    "base.head=new",
)
TEXTS = ("hardware.precision=64-true", "epochs=6", "optimizer.lr=0.002", "model.hidden_size=32")

SPREAD: dict[str, Sequence[str]] = {
    "head": ["optimizer.lr=0.004", "optimizer.weight_decay=0.1", "SEED"],
    "last_layers": ["optimizer.lr=0.001", "optimizer.clip_norm=0.1", "SEED"],
    "bitfit": ["optimizer.lr=0.004", "optimizer.clip_norm=0.1", "SEED"],
    "lora": ["adapter.rank=2", "adapter.dropout=0.3", "SEED"],
    "dora": ["adapter.rank=2", "adapter.scaling=alpha_over_sqrt_rank", "SEED"],
    "full": ["optimizer.lr=0.001", "optimizer.schedule=cosine", "SEED"],
}
"""In what the lanes of each strategy differ."""


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("texts") / "reviews")


def overrides(strategy: str, count: int, seed: str) -> list[list[str]]:
    """Return what each lane overrides: any of a strategy's options, or several of them."""
    lanes = []
    for lane in range(count):
        chosen = [o for bit, o in enumerate(SPREAD[strategy]) if (lane + 1) >> bit & 1]
        chosen = [option.replace("SEED", f"{seed}={1 + lane // 4}") for option in chosen]
        if lane >= 7:  # by then all combinations have been used
            chosen.append(f"{seed}=5")
        lanes.append(
            [f"adapter={strategy}", *chosen, f"select_on={['accuracy', 'loss'][lane % 2]}"]
        )
    return lanes


def assert_same_runs(alone: RunResult, lane: RunResult, bound: float) -> None:
    """Compare all that a run leaves: history, metrics, predictions, adapter."""
    assert alone.history.keys() == lane.history.keys()
    for epoch, metrics in alone.history.items():
        assert lane.history[epoch] == pytest.approx(metrics, rel=bound, abs=bound)
    measured = {name for name in alone.metrics if not name.startswith("cost/")}
    assert measured == {name for name in lane.metrics if not name.startswith("cost/")}
    for name in measured:
        assert lane.metrics[name] == pytest.approx(alone.metrics[name], rel=bound, abs=bound), name
    sources = [run.folder / "source_predictions.parquet" for run in (alone, lane)]
    if "source/accuracy_after" in measured:
        assert pq.read_table(sources[0]).equals(pq.read_table(sources[1]))
    tables = [
        pq.read_table(run.folder / "predictions.parquet").to_pandas() for run in (alone, lane)
    ]
    assert (tables[0].prediction == tables[1].prediction).all()
    logits = [np.stack(list(table.logits)) for table in tables]
    np.testing.assert_allclose(logits[1], logits[0], rtol=bound * 100, atol=bound * 100)
    adapters = [load_file(run.folder / "adapter.safetensors") for run in (alone, lane)]
    assert adapters[0].keys() == adapters[1].keys()
    for name, tensor in adapters[0].items():
        np.testing.assert_allclose(adapters[1][name], tensor, rtol=bound * 100, atol=bound * 100)


def assert_the_law(configs: Sequence[Config], bound: float, *counts: int) -> list[RunResult]:
    """Train runs alone, then as packs of the first of them; return the lanes of the last pack."""
    # Their folders are the same; what the runs alone left is read before a pack replaces it.
    alone = [_kept(single.run(config)) for config in configs]
    lanes: list[RunResult] = []
    for count in counts or (len(configs),):
        packed = run_pack(configs[:count])
        lanes = [lane for lane in packed if isinstance(lane, RunResult)]
        assert len(lanes) == count, packed
        for own, lane in zip(alone, lanes, strict=False):
            assert_same_runs(own, lane, bound)
    return lanes


def _kept(result: RunResult) -> RunResult:
    elsewhere = result.folder.with_name(f"alone-{result.folder.name}")
    result.folder.rename(elsewhere)
    return replace(result, folder=elsewhere)


@pytest.mark.parametrize("strategy", SPREAD)
def test_images(strategy: str, lab_root: Path) -> None:
    lanes = overrides(strategy, 9, "seed")
    study = f"study=law-{strategy}"
    assert_the_law([tiny(lab_root, study, *IMAGES, *lane) for lane in lanes], 1e-10, 2, 9)


@pytest.fixture(scope="module")
def base_of_texts(lab_root: Path, reviews: Path) -> RunResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapterlab.drawing.pictures.paint", lambda make, path: path.touch())
        return single.run(small(lab_root, reviews, *TEXTS, "adapter=full", "epochs=1"))


@pytest.mark.parametrize("strategy", ["head", "last_layers", "bitfit", "lora", "dora"])
def test_texts(strategy: str, lab_root: Path, reviews: Path, base_of_texts: RunResult) -> None:
    study, base = f"study=law-texts-{strategy}", base_of_texts
    fixed = ["base=checkpoint", f"base.path={base.folder / 'adapter.safetensors'}", "base.head=new"]
    lanes = overrides(strategy, 9, "init_seed")
    configs = [small(lab_root, reviews, study, *fixed, *TEXTS, *lane) for lane in lanes]
    assert_the_law(configs, 1e-10, 2, 9)


MIXED = ("lora", "dora", "lora", "full", "bitfit", "dora")


def test_several_methods_in_one_pack(lab_root: Path) -> None:
    """Rates, clipping, orders and an early end are each lane's own, whatever trains beside it."""
    options = [
        [f"adapter={method}", f"seed={lane % 3}", "epochs=6", f"optimizer.lr={0.001 * (1 + lane)}"]
        for lane, method in enumerate(MIXED)
    ]
    options[1].append("optimizer.clip_norm=0.05")
    options[3] += ["optimizer.clip_norm=0.1", "early_stopping=1"]
    options[5] += ["adapter.dropout=0.2", "optimizer.schedule=plateau"]
    configs = [tiny(lab_root, *IMAGES, "study=mixed", *own) for own in options]
    lanes = assert_the_law(configs, 1e-9, len(configs))
    shares = [lane.metrics["cost/lane_seconds"] for lane in lanes]
    assert 0 < sum(shares) <= lanes[0].metrics["cost/pack_seconds"]
