"""A run that is selected and compared on the F1 of one class, alone and as a lane."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapterlab.app import cli
from adapterlab.base.errors import ConfigError
from adapterlab.runs.check import check
from adapterlab.runs.folders.folder import RunResult
from adapterlab.runs.packs.pack import run_pack
from adapterlab.runs.single import run
from lab import TINY, Outcome, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = (
    "epochs=4", "optimizer.lr=0.05", "dataset.classes=[no,'a/b',c,d,e,f,g,h,i,j]",
)  # fmt: skip


def test_the_epoch_is_the_best_in_that_f1_alone_and_in_a_pack(lab_root: Path) -> None:
    asked = ("accuracy", "f1/no", "f1/a_b")
    lanes = run_pack(
        [tiny(lab_root, *OPTIONS, "study=pack", f"select_on={name}") for name in asked]
    )
    for name, lane in zip(asked, lanes, strict=True):
        assert isinstance(lane, RunResult), lane
        alone = run(tiny(lab_root, *OPTIONS, "study=alone", f"select_on={name}"))
        assert {m for m in lane.metrics if m.startswith("best/val_f1/")} == (
            {f"best/val_{name}"} if name != "accuracy" else set()
        )
        for result in (lane, alone):
            history = {epoch: metrics[f"val/{name}"] for epoch, metrics in result.history.items()}
            best = max(history, key=lambda epoch: (round(history[epoch], 6), -epoch))
            assert result.metrics["best/epoch"] == best
            assert result.metrics[f"best/val_{name}"] == history[best]
            seen = {m for metrics in result.history.values() for m in metrics if "f1/" in m}
            assert seen == ({f"val/{name}"} if name != "accuracy" else set())
        assert alone.metrics[f"best/val_{name}"] == pytest.approx(
            lane.metrics[f"best/val_{name}"], abs=1e-6
        )
        assert {"test/f1/no", "test/f1/a_b"} <= alone.metrics.keys()


def test_a_class_that_there_is_not_is_refused_before_training(lab_root: Path) -> None:
    with pytest.raises(ConfigError) as error:
        check(tiny(lab_root, *OPTIONS, "select_on=f1/a/b"))
    assert str(error.value) == (
        "select_on=f1/a/b is no metric; allowed: f1/no, f1/a_b, f1/c, f1/d, f1/e, f1/f, f1/g, "
        "f1/h, f1/i, f1/j (did you mean f1/a_b?)"
    )
    with pytest.raises(ConfigError, match="select_on=f1/cat is no metric; allowed: f1/0, f1/1"):
        run(tiny(lab_root, "dataset.classes=null", "select_on=f1/cat"))


def test_arms_are_compared_on_it(lab_root: Path, run_cli: Callable[..., Outcome]) -> None:
    tracked = [option for option in TINY if option != "tracking=none"]
    configs = [
        tiny(lab_root, *tracked, *OPTIONS, "tracking=mlflow", "study=f1", "select_on=f1/no",
             f"adapter={name}", f"seed={seed}")
        for name in ("head", "lora")
        for seed in (0, 1, 2)
    ]  # fmt: skip
    for name in (0, 3):
        run_pack(configs[name : name + 3])
    done = run_cli("study=f1", "compare_on=f1/no", program=cli.report, root=lab_root)
    assert done.code == 0, done
    assert "f1/no" in done.out
    page = (lab_root / "mlruns" / "reports" / "f1" / "report.html").read_text()
    assert "F1 of no" in page
    wrong = run_cli("study=f1", "compare_on=f1/cat", program=cli.report, root=lab_root)
    assert "compare_on=f1/cat is no metric; allowed: accuracy" in wrong.err
