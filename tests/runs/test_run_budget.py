"""Runs with a budget: what is solved is part of the run as if it had been written."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from adapterlab.runs.budget import parse_solved
from adapterlab.runs.folders.folder import read_config
from adapterlab.runs.identity import config_hash
from adapterlab.tracking.stores.uris import default_uri
from lab import ONE_PROCESS, TINY, Outcome, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = tuple(option for option in TINY if option != "tracking=none")


@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_a_study_at_one_budget(
    launcher: str, lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    """64-128-10: 192 a rank and 1,290 in the head; DoRA 128 more."""
    study = f"budget-{launcher}"
    outcome = run_cli(
        "-m", f"hydra/launcher={launcher}", *ONE_PROCESS[launcher], *OPTIONS,
        "adapter=lora,dora,head", "budget=3000", "seed=0,1", f"study={study}", root=lab_root,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert "budget: 3,000 asked, 2,826 trained (94.2%) by lora-r8-a16" in outcome.err
    assert "budget: 3,000 asked, 2,954 trained (98.5%) by dora-r8-a16" in outcome.err
    assert (
        "budget: 3,000 asked, 1,290 trained (43.0%) by head, which has no option that it sets"
        in outcome.err
    )
    assert outcome.err.count("asked") == (3 if launcher == "packed" else 6)
    client = MlflowClient(default_uri(lab_root / "mlruns"))
    experiment = client.get_experiment_by_name("adapterlab").experiment_id
    runs = client.search_runs([experiment], f"tags.study = '{study}' and tags.kind = 'run'")
    assert len(runs) == 6
    for run in runs:
        assert run.data.tags["budget"] == run.data.params["budget"] == "3000"
        assert run.data.metrics["budget/asked"] == 3000
        assert run.data.metrics["budget/near"] == run.data.metrics["params/trainable"] / 3000


def test_the_solved_rank_names_the_run(tmp_path: Path, run_cli: Callable[..., Outcome]) -> None:
    options = [option for option in TINY if not option.startswith("base.")]
    outcome = run_cli(*options, "base=scratch", "budget=25%", "adapter.rank=4")
    assert outcome.code == 0, outcome
    (folder,) = (tmp_path / "mlruns" / "runs" / "single").iterdir()
    assert "lora-r5-a20" in folder.name  # 25% of 9,610 are 2,402; alpha/rank stays 4
    config = read_config(folder / "config.yaml")
    assert (config.budget, config.adapter["rank"], config.adapter["alpha"]) == ("25%", 5, 20)
    written = tiny(tmp_path, "base=scratch", "adapter.rank=5", "adapter.alpha=20")
    assert config_hash(config) == config_hash(written)
    metrics = json.loads((folder / "result.json").read_text())["metrics"]
    assert (metrics["budget/asked"], metrics["params/trainable"]) == (2402, 2250)


def test_the_solved_rank_of_a_part_names_the_run(tmp_path: Path) -> None:
    parts = (
        *("model.widths=[64,64]", "adapter=combined", "adapter.parts.lora.targets=[layers.0]"),
        *("adapter@adapter.parts.full=full", "adapter.parts.full.targets=[layers.1]"),
    )
    # 4,160 of the layer, 650 of the head, 128 a rank: alpha/rank stays 2.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.parse", parse_solved)
        solved = tiny(tmp_path, *parts, "budget=5600")
    lora = solved.adapter["parts"]["lora"]
    assert (lora["rank"], lora["alpha"], solved.adapter["label"]) == (6, 12, "lora-r6-a12-full")
    written = tiny(tmp_path, *parts, "adapter.parts.lora.rank=6", "adapter.parts.lora.alpha=12")
    assert config_hash(solved) == config_hash(written)


def test_a_plan_says_it(run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli("plan=true", "budget=1500")
    assert "LoRA rank 1, scale 2" in outcome.out
    assert outcome.err.splitlines() == ["budget: 1,500 asked, 1,482 trained (98.8%) by lora-r1-a2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["budget=1"],
            "budget=1: lora-r1-a2 trains 1,482 parameters on this model, and adapter.rank=1 is the "
            "least; allowed: 1482 or more",
        ),
        (["budget=1%", "adapter=last_layers"], "adapter.n=1 is the least; allowed: 9610 or more"),
        (["budget=9", "adapter=oft"], "adapter.block_size=2 is the least; allowed: 1322 or more"),
        (["budget=1", "adapter=combined"], "adapter.parts.lora.rank=1 is the least; allowed: 1482"),
    ],
    ids=str,
)
def test_what_no_setting_is_within_is_refused(
    options: list[str], message: str, run_cli: Callable[..., Outcome]
) -> None:
    """Before anything is trained: also by a study that others of are within it."""
    assert message in run_cli("plan=true", *options).error
    assert message in run_cli("-m", *TINY, *options, "seed=0,1").error


def test_an_arm_without_a_dial_is_not_within_the_budget(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    """Full trains all 9,610; that is said as loudly as of a dial that cannot go lower."""
    options = [option for option in TINY if not option.startswith("base.")]
    outcome = run_cli(*options, "base=scratch", "adapter=full", "budget=3000")
    assert outcome.code == 0, outcome
    assert (
        "warning: budget=3000: full has nothing to turn down, and trains 6,610 more parameters "
        "than asked: it is not within the budget"
    ) in outcome.err
    assert "note: not within budget=3000: 6,610 more parameters are trained" in outcome.out


def test_what_only_files_tell_is_read(tmp_path: Path, run_cli: Callable[..., Outcome]) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("down", "up", "left"):
            folder = tmp_path / "pictures" / split / label
            folder.mkdir(parents=True)
            for number in range(20):
                pixels = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    options = ["dataset=image_folder", f"dataset.loader.path={tmp_path / 'pictures'}"]
    outcome = run_cli("plan=true", "base=scratch", *options, "budget=5000")
    assert outcome.code == 0, outcome
    # 432-128-3: 560 a rank and 387 in the head.
    assert "budget: 5,000 asked, 4,867 trained (97.3%) by lora-r8-a16" in outcome.err


@pytest.mark.parametrize("budget", ["abc", "0%", "101%", "1.%", "-1%"])
def test_what_is_no_budget(budget: str, run_cli: Callable[..., Outcome]) -> None:
    assert run_cli("plan=true", f"budget={budget}").error == (
        f"budget={budget} should be a number of parameters, such as 10000, or a share of the "
        "base, such as 1%"
    )
