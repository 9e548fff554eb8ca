"""`adapter.rank=auto`: ranks by layer that are part of the run as if they had been written."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapterlab.config.ranks import Ranks
from adapterlab.config.schema import Config
from adapterlab.runs import auto_ranks
from adapterlab.runs.folders.folder import read_config
from adapterlab.runs.identity import arm_hash, config_hash, what_it_computes
from lab import ONE_PROCESS, TINY, Outcome

pytestmark = pytest.mark.usefixtures("no_pictures")

DEEP = ("model.widths=[24,16,8]", "budget=1500")
AUTO = ("adapter.rank=auto", *DEEP)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many batches each look at a base had, as a new process would take it."""
    taken: list[int] = []
    watched = auto_ranks.watched

    def counted(model: Any, layers: Any, batches: Any, kind: Any) -> Any:
        taken.append(len(batches))
        return watched(model, layers, batches, kind)

    monkeypatch.setattr(auto_ranks, "watched", counted)
    monkeypatch.setattr(auto_ranks, "_known", {})
    return taken


def runs_of(root: Path, study: str) -> list[tuple[Path, Config]]:
    folders = sorted((root / "mlruns" / "runs" / study).iterdir())
    return [(folder, read_config(folder / "config.yaml")) for folder in folders]


@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_a_study_has_one_look(
    launcher: str, lab_root: Path, run_cli: Callable[..., Outcome], looks: list[int]
) -> None:
    study = f"auto-{launcher}"
    outcome = run_cli(
        "-m", f"hydra/launcher={launcher}", *ONE_PROCESS[launcher], *TINY, *AUTO,
        "adapter=lora,dora", "seed=0,1", f"study={study}", "ranks.batches=1",
        "ranks.rho=3", "report=false", root=lab_root,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert "adapter.rank=auto by lora-" in outcome.err
    assert len(looks) <= 1, "the second study of the session finds it in the cache"
    runs = runs_of(lab_root, study)
    assert len(runs) == 4
    assert len({arm_hash(config) for _, config in runs}) == 2
    for folder, config in runs:
        assert config.ranks.asked is not None
        assert config.ranks.asked["rank"] == "auto"
        rows = list(csv.DictReader((folder / "choice" / "explained_variance.csv").open()))
        ranks = {row["layer"]: int(row["rank"]) for row in rows}
        mean = config.adapter["rank"]
        assert len(set(ranks.values())) > 1
        assert max(ranks.values()) <= 3 * mean
        assert {n: r for n, r in ranks.items() if r not in (0, mean)} == {
            **config.adapter["rank_pattern"]
        }
        trained = json.loads((folder / "result.json").read_text())["metrics"]
        assert 0.9 < trained["budget/near"] <= 1


def test_what_comes_out_is_written_and_the_arm_is_how_it_was_asked(
    lab_root: Path, run_cli: Callable[..., Outcome], looks: list[int]
) -> None:
    outcome = run_cli(*TINY, *AUTO, "seed=7", root=lab_root)
    assert outcome.code == 0, outcome
    (folder,) = (lab_root / "mlruns" / "runs" / "single").glob("*-auto-seed7-*")
    config = read_config(folder / "config.yaml")
    own = config.adapter
    ranks = own["rank_pattern"]
    strengths = {name: alpha / ranks[name] for name, alpha in own["alpha_pattern"].items()}
    assert set(strengths.values()) == {2} == {own["alpha"] / own["rank"]}
    written = replace(config, ranks=Ranks())
    assert config_hash(config) != config_hash(written), "it is another arm's, so another run"
    assert arm_hash(config) != arm_hash(written)
    cut = replace(config.dataset, validation_seed=3)
    other = replace(config, seed=8, init_seed=8, dataset=cut, adapter={**own, "rank_pattern": {}})
    assert arm_hash(other) == arm_hash(config), "ranks that come out otherwise are no other arm"
    taken = len(looks)
    outcome = run_cli(*TINY, *AUTO, "seed=7", "resume=true", root=lab_root)
    assert "this run had finished" in outcome.err
    assert len(looks) == taken


def test_a_plan_looks_at_a_base_that_is_there(
    lab_root: Path, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    options = [*TINY, *AUTO, "plan=true"]
    before = run_cli(*options, root=tmp_path)
    assert before.code == 0, before
    assert "the plan has the mean rank" in before.err
    assert not (tmp_path / "mlruns" / "runs").exists()
    assert run_cli(*TINY, *AUTO, "seed=7", "resume=true", root=lab_root).code == 0
    after = run_cli(*options, root=lab_root)
    assert "mean rank" not in after.err
    assert "adapter.rank=auto by lora-" in after.err


def test_ranks_by_gradients(lab_root: Path, run_cli: Callable[..., Outcome]) -> None:
    """GoRA: none below half of the mean rank, none above four times; an arm of its own."""
    outcome = run_cli(
        *TINY, *AUTO, "ranks.by=gradients", "adapter.init=gora", "seed=9", root=lab_root
    )
    assert outcome.code == 0, outcome
    (folder,) = (lab_root / "mlruns" / "runs" / "single").glob("*-auto-seed9-*")
    config = read_config(folder / "config.yaml")
    rows = list(csv.DictReader((folder / "choice" / "gradient_importance.csv").open()))
    ranks = {row["layer"]: int(row["rank"]) for row in rows}
    mean = config.adapter["rank"]
    assert {n: r for n, r in ranks.items() if r != mean} == config.adapter["rank_pattern"]
    assert all(mean // 2 <= rank <= 4 * mean for rank in ranks.values())
    assert all(float(row["importance"]) > 0 for row in rows)
    inputs = replace(config, ranks=replace(config.ranks, by="inputs"))
    assert arm_hash(inputs) != arm_hash(config)
    as_before = {"budget": 1500, "batches": 8, "rho": 2.0}
    assert what_it_computes(inputs)["ranks"] == as_before
    explicit = replace(inputs, ranks=replace(inputs.ranks, rho=2.0, floor=0.0))
    assert config_hash(explicit) == config_hash(inputs)


def test_an_adapted_head_keeps_a_rank(lab_root: Path, run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli(*TINY, *AUTO, "adapter.head=adapt", "budget=45", "seed=8", root=lab_root)
    assert outcome.code == 0, outcome
    assert re.search(r"layers\.0 0, .*head [12]\b", outcome.err), outcome.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("adapter.rank=auto",), "gives out the parameters of a budget; say budget=10000"),
        ((*AUTO, "base=scratch"), "base=scratch has random weights"),
        ((*AUTO, "adapter.rank_pattern={layers.0: 2}"), "does not go with adapter.rank=auto"),
        ((*AUTO, "adapter=vera"), "vera has no rank by layer; such as adapter=lora"),
        ((*AUTO, "adapter.targets=[nowhere]"), "'nowhere' matches no layer"),
        ((*AUTO, "budget=100"), "the budget leaves 10 parameters for ranks, and the least is 24"),
        (("+ranks.asked={name: x}",), "ranks.asked is what adapter.rank=auto fills in"),
        (("ranks.by=grads",), "ranks.by='grads' should be 'inputs' or 'gradients'"),
        (("ranks.rho=0.5",), "ranks.rho=0.5 should be greater than or equal to 1"),
        (("adapter.rank=automatic",), "adapter.rank='automatic'"),
    ],
)
def test_mistakes_get_one_line(
    options: tuple[str, ...], said: str, lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    scratch = "base=scratch" in options
    kept = [option for option in TINY if not (scratch and option.startswith("base."))]
    assert said in run_cli(*kept, *options, root=lab_root).error


def test_a_plan_without_a_base_refuses_what_no_look_would_allow(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    least = run_cli(*TINY, *AUTO, "budget=114", "plan=true", root=tmp_path)
    assert least.code == 0, least
    said = run_cli(*TINY, *AUTO, "budget=113", "plan=true", root=tmp_path).error
    assert "the least is 24; a budget of 1 more allows it" in said
    assert not (tmp_path / "mlruns" / "runs").exists()


def test_ranks_that_are_not_given_out_are_said(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    plan = (*TINY, "plan=true", "adapter.rank=3")
    assert "ranks." not in run_cli(*plan, root=tmp_path).err
    said = run_cli(*plan, "ranks.by=gradients", "ranks.rho=3", root=tmp_path).err
    assert "ranks.by=gradients, ranks.rho=3.0 has no effect: adapter.rank=auto gives out" in said
