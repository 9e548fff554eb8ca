"""Studies that add seeds look by look, until they are certain or their budget is spent."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.core.utils import JobReturn, JobStatus
from mlflow import MlflowClient
from omegaconf import OmegaConf

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.evidence.sequential import levels, obrien_fleming
from adapterlab.studies.sequential import study as module
from adapterlab.studies.sequential.study import Design, SequentialStudy
from adapterlab.tracking.client import connect
from adapterlab.tracking.looks import LookPlan, keep_plan, look_at, read_looks
from adapterlab.tracking.stores.uris import default_uri
from lab import TINY, Outcome

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = tuple(o for o in TINY if o != "tracking=none")
SEQUENTIAL = ("-m", "hydra/sweeper=sequential")


def sweeper(*arms: str, looks: str = "[3,4,5]") -> list[str]:
    return [
        *SEQUENTIAL, f"hydra.sweeper.arms={json.dumps(arms)}", f"hydra.sweeper.looks={looks}"
    ]  # fmt: skip


def client(root: Path) -> Any:
    return MlflowClient(default_uri(root / "mlruns"))


def runs(root: Path, study: str) -> list[Any]:
    experiment = client(root).get_experiment_by_name("adapterlab").experiment_id
    query = f"tags.study = '{study}' and tags.kind = 'run'"
    return list(client(root).search_runs([experiment], query))


@pytest.mark.parametrize(
    ("looks", "most", "planned"),
    [([3, 5, 8], None, (3, 5, 8)), ([3, 5, 8], 6, (3, 5, 6)), ([3, 5], 9, (3, 5, 9)),
     ([3, 5], 5, (3, 5)), ([4, 5], 3, (3,))],
)  # fmt: skip
def test_the_budget_is_the_last_look(
    looks: list[int], most: int | None, planned: tuple[int, ...]
) -> None:
    design = Design.of(looks, most, 0.05, 0.5, "pocock")
    assert design.looks == planned
    assert design.plan.most == planned[-1]
    assert design.margin == 0.005


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"looks": []}, r"looks=\[\] should be growing counts, 3 or more"),
        ({"looks": [2, 3]}, r"looks=\[2, 3\] should be growing"),
        ({"looks": [5, 3]}, r"looks=\[5, 3\] should be growing"),
        ({"max_seeds": 2}, "max_seeds=2 should be 3 or more"),
        ({"level": 1.0}, r"level=1.0 should be above 0 and at most 0\.5"),
        ({"level": 0.999}, r"level=0.999 should be above 0 and at most 0\.5"),
        ({"level": 95}, r"level=95 should be above 0 and at most 0\.5"),
        ({"margin": 0}, "margin=0 should be points, above 0"),
        ({"spending": "pococ"}, r"spending=pococ is unknown; allowed: .*did you mean pocock"),
    ],
)
def test_what_is_no_design(changed: dict[str, Any], message: str) -> None:
    options = {"looks": [3], "max_seeds": None, "level": 0.05, "margin": 0.5, "spending": "pocock"}
    with pytest.raises(ConfigError, match=message):
        Design.of(**options | changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*SEQUENTIAL], "hydra/sweeper=sequential compares arms: sweep over options"),
        ([*sweeper("adapter=head")], "hydra/sweeper=sequential compares arms"),
        ([*SEQUENTIAL, "adapter=head,full", "seed=0,1"], "seed=0,1: seed comes from hydra.sweeper"),
        ([*sweeper("adapter=head", "adapter=full"), "epochs=1,2"], "epochs=1,2: hydra.sweeper"),
        ([*sweeper("adapter=head", "adapter=full seed=1")], "seed=1 is the same for all arms"),
        ([*sweeper("adapter=head", "adapter=head")], "adapter=head comes 2 times"),
        ([*sweeper("adapter=head", "adapter=lora,full")], "adapter=lora,full is several arms"),
        ([*sweeper("adapter=head", "adapter='full")], "adapter='full: No closing quotation"),
        ([*sweeper("adapter=head", "adapter=full"), "adapter.rank=2"], "no arm has this option"),
        ([*SEQUENTIAL, "optimizer.lr=interval(1,2)"], "an arm has one value; list the values"),
        ([*SEQUENTIAL, "adapter=head,full", "hydra.sweeper.looks=[2]"], "looks=[2] should be"),
        ([*SEQUENTIAL, "dataset=digits,digits_rotated"],
         "dataset=digits is on digits and dataset=digits_rotated on digits_rotated: scores on two"),
    ],
)  # fmt: skip
def test_mistakes_are_found_before_anything_is_trained(
    options: list[str], message: str, tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    outcome = run_cli(*options, *OPTIONS[:1])
    assert outcome.code == 2
    assert message in outcome.err.splitlines()[-1]
    assert not (tmp_path / "mlruns" / "runs").exists()


def test_seeds_go_to_the_arms_that_are_left(
    lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    """Two arms that are almost the same, and one that learns nothing."""
    arms = ("adapter=full", "adapter=full optimizer.weight_decay=0.011", "adapter=head")
    hopeless = "adapter=head optimizer.lr=1e-9"
    command = [
        *sweeper(*arms[:2], hopeless), "hydra/launcher=packed", "hydra.launcher.processes=1",
        *OPTIONS, "study=sequential",
        "limit=null", "epochs=3", "hydra.sweeper.level=0.2",
    ]  # fmt: skip
    outcome = run_cli(*command, root=lab_root)
    assert outcome.code == 0, outcome
    found = Counter(run.data.tags["arm"] for run in runs(lab_root, "sequential"))
    assert sorted(found.values()) == [3, 5, 5]
    assert f"{hopeless} leaves: worse than adapter=full" in outcome.err
    assert "look 3 of 3 at 5 seeds an arm" in outcome.err
    assert "13 runs, where all seeds of all arms would be 15" in outcome.err
    assert f"left, not told apart by this study: {arms[0]}; {arms[1]}" in outcome.err

    kept = read_looks(client(lab_root), "sequential", "adapterlab")
    assert [look.seeds for look in kept.looks] == [(3, 3, 3), (4, 4, 3), (5, 5, 3)]
    assert [look.level for look in kept.looks] == levels([3, 4, 5], 5, 0.2, arms=3)
    assert str(kept.plan) == "at most 5 seeds an arm, level 0.2, spending pocock"
    look, said = look_at(client(lab_root), "sequential", "adapterlab", [5, 3, 5])
    assert look == kept.looks[-1]
    assert said is not None
    assert said.startswith("Look 3 of a study that may have 5 seeds an arm (so far 3, 4 and 5 ")

    again = run_cli(*command, "resume=true", root=lab_root)
    assert again.code == 0, again
    assert len(runs(lab_root, "sequential")) == 13
    assert read_looks(client(lab_root), "sequential", "adapterlab") == kept
    changed = run_cli(*command, "hydra.sweeper.max_seeds=6", root=lab_root)
    assert changed.error.startswith(
        "study=sequential was planned with at most 5 seeds an arm, level 0.2, spending pocock, and "
    )


@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_an_arm_that_diverges_leaves_and_is_said(
    launcher: str, lab_root: Path, run_cli: Callable[..., Outcome]
) -> None:
    options = ["tracking=none", "adapter=full", f"study=diverges-{launcher}"]
    outcome = run_cli(
        *SEQUENTIAL, f"hydra/launcher={launcher}", *OPTIONS, *options, "optimizer=sgd",
        "optimizer.lr=0.1,0.05,1e30", "hydra.sweeper.looks=[3,4]",
        "hydra.sweeper.level=1e-5",  # so that the other two go on
        root=lab_root,
    )  # fmt: skip
    assert outcome.code == 1, outcome
    assert outcome.err.count("failed: ") == 3
    assert "optimizer.lr=1e+30 leaves: it has fewer than 3 finished runs" in outcome.err
    assert "look 2 of 2 at 4 seeds an arm" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_plan_is_that_of_the_first_look(tmp_path: Path, run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli(
        *SEQUENTIAL, *OPTIONS, "adapter=head,full", "plan=true", "hydra/launcher=packed", "study=p"
    )
    assert outcome.code == 0, outcome
    assert "looks at 3, 5, 8, 10, 15, 20 seeds an arm, 2 arms in study p" in outcome.err
    assert "What is trained together" in outcome.out
    assert not (tmp_path / "mlruns" / "runs").exists()


def test_the_sweep_of_an_experiment_says_the_arms(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    outcome = run_cli(
        *SEQUENTIAL, "experiment=demo", "plan=true", "study=p", "hydra/launcher=basic",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert "4 arms in study p" in outcome.err


class _TwoArms:
    """Arms that need no composing."""

    labels = ("a", "b")

    def job(self, arm: int, *fixed: str) -> list[str]:
        return [self.labels[arm], *fixed]


def test_the_report_of_an_interrupted_first_look_knows_the_plan(tmp_path: Path) -> None:
    """Else it would count as a look without a plan, after which none can be made."""
    tracking = {"enabled": True, "uri": None, "experiment": "interrupted"}
    values = {"study": "cut", "plan": False, "root": str(tmp_path), "tracking": tracking}
    store = connect(None, tmp_path / "mlruns")

    def launch(jobs: list[list[str]], initial_job_idx: int) -> Any:
        assert jobs == [[arm, f"seed={n}", "study=cut"] for arm in "ab" for n in range(3)]
        assert initial_job_idx == 0
        experiment = store.create_experiment("interrupted")
        store.create_run(experiment, tags={"study": "cut", "kind": "study"})
        raise KeyboardInterrupt

    design = Design.of([3, 5], None, 0.05, 0.5, "obrien_fleming")
    study = SequentialStudy(design, _TwoArms(), OmegaConf.create(values), launch)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        study.carry_out()
    assert read_looks(store, "cut", "interrupted").plan == design.plan
    look, _ = look_at(store, "cut", "interrupted", [3, 3])
    assert look.level == levels([3], 5, spending=obrien_fleming)[0]
    SequentialStudy(design, _TwoArms(), OmegaConf.create(values), launch)  # type: ignore[arg-type]


def test_arms_tested_on_other_examples_with_the_same_labels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two columns of texts have one column of labels: a report does not compare them either."""
    answers = pa.table({"label": [0, 1, 0], "prediction": [0, 1, 1]})
    pq.write_table(answers, tmp_path / "answers.parquet")

    def home(config: str, **_: Any) -> Any:
        tags = {"test_hash": f"of {config}"}
        return SimpleNamespace(
            predictions=tmp_path / "answers.parquet", finished=lambda: SimpleNamespace(tags=tags)
        )

    def launch(jobs: Any, initial_job_idx: int) -> list[JobReturn]:
        return [JobReturn(cfg=job[0], status=JobStatus.COMPLETED) for job in jobs]

    monkeypatch.setattr(module, "parse_solved", lambda config, **_: config)
    monkeypatch.setattr(module, "latest_home", home)
    values = {"study": "s", "plan": False, "tracking": {"enabled": False, "experiment": "e"}}
    design = Design.of([3, 5], None, 0.05, 0.5, "pocock")
    study = SequentialStudy(design, _TwoArms(), OmegaConf.create(values), launch)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="b and a were tested on different examples"):
        study.carry_out()


@pytest.mark.parametrize("other", ["a report", "another plan"])
def test_what_another_command_has_planned_or_seen_meanwhile_holds(
    tmp_path: Path, other: str
) -> None:
    tracking = {"enabled": True, "uri": None, "experiment": "both"}
    values = {"study": "both", "plan": False, "root": str(tmp_path), "tracking": tracking}
    store, at = connect(None, tmp_path / "mlruns"), ("both", "both")

    def launch(jobs: list[list[str]], initial_job_idx: int) -> Any:
        store.create_run(store.create_experiment("both"), tags={"study": "both", "kind": "study"})
        if other == "a report":
            look_at(store, *at, [3, 3])
        else:
            keep_plan(store, read_looks(store, *at), LookPlan(20, 0.05, "pocock"))
        return []

    design = Design.of([3, 5], None, 0.05, 0.5, "pocock")
    study = SequentialStudy(design, _TwoArms(), OmegaConf.create(values), launch)  # type: ignore[arg-type]
    words = {"a report": "was looked at before its looks", "another plan": "was planned with"}
    with pytest.raises(AdapterLabError, match=words[other]):
        study.carry_out()
