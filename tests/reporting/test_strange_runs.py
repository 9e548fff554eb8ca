"""Runs that measured no numbers, or were selected, named or asked otherwise than most."""

import itertools
import re
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from adapterlab.base.errors import AdapterLabError, ConfigError
from adapterlab.reporting.overall import on_questions
from adapterlab.reporting.report import Report, make_report, parse_request, read_report
from adapterlab.tracking.client import connect

COUNTER = itertools.count(1)


@pytest.fixture(scope="module")
def client(lab_root: Path) -> Any:
    return connect(None, lab_root / "mlruns")


class Strange:
    """Puts runs into a store, with answers, and reports on them."""

    def __init__(self, client: Any, root: Path, study: str, files: Path) -> None:
        self.client, self.root, self.study, self.files = client, root, study, files

    def put(self, arm: str, *, right: float = 0.9, seeds: int = 3, examples: int = 60,
            classes: str = "abc", **values: Any) -> None:  # fmt: skip
        found = self.client.get_experiment_by_name("strange")
        identity = found.experiment_id if found else self.client.create_experiment("strange")
        for seed in range(seeds):
            tags = {"study": self.study, "kind": "run", "arm": arm, "strategy": arm}
            tags |= {"seed": str(seed), "config_hash": f"{arm}{seed}"}
            tags |= {"dataset": "d", "test_hash": "t"}
            run = self.client.create_run(identity, start_time=next(COUNTER), tags=tags)
            run_id = run.info.run_id
            labels = np.arange(examples) % 3
            wrong = np.arange(examples) < round((1 - right) * examples) + seed
            logits = 3.0 * np.eye(3, dtype=np.float32)[np.where(wrong, (labels + 1) % 3, labels)]
            table = pa.table({"label": labels, "prediction": logits.argmax(1),
                              "logits": pa.array(list(logits))})  # fmt: skip
            file = self.files / "predictions.parquet"
            told = table.replace_schema_metadata({"classes": "\n".join(classes)})
            pq.write_table(told, file)
            self.client.log_artifact(run_id, str(file), "predictions")
            metrics = {"test/accuracy": 1 - wrong.mean(), "best/val_accuracy": right}
            for name, value in (metrics | values.get("metrics", {})).items():
                if value is not None:
                    self.client.log_metric(run_id, name, value)
            params = {"init_seed": seed, "order_seed": seed, "adapter.name": arm}
            for name, value in (params | values.get("params", {})).items():
                self.client.log_param(run_id, name, value)
            self.client.set_terminated(run_id)

    def report(self, **asked: Any) -> Report:
        values = {"study": self.study, "experiment": "strange", "tracking_uri": None}
        return read_report(parse_request(values | {"root": str(self.root)} | asked))


@pytest.fixture
def strange(client: Any, lab_root: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Strange:
    """A study of two arms."""
    made = Strange(client, lab_root, request.node.name.split("[")[0], tmp_path)
    made.put("full")
    made.put("lora", right=0.8)
    return made


def test_a_metric_that_is_no_number_was_not_measured(strange: Strange) -> None:
    """It ended in a traceback."""
    strange.put("dora", metrics={"test/auroc": float("nan")})
    report = strange.report()
    assert "not measured in 3 of 9 runs, test/auroc: it was nan" in report.page.notes
    assert len(report.findings.arms) == 3


@pytest.mark.parametrize("name", ["test/accuracy", "best/val_accuracy"])
def test_a_run_without_a_number_to_be_compared_by_diverged(strange: Strange, name: str) -> None:
    strange.study += name.partition("/")[0].upper()
    strange.put("full")
    strange.put("dora", metrics={name: float("inf")})
    report = strange.report()
    assert any(f"it finished, but its {name} is no number" in one for one in report.page.notes)
    assert "3 runs of 6 did not finish and are in no mean: dora (all 3 diverged)." in (
        report.page.verdict
    )


def test_a_run_without_a_score_is_named(strange: Strange) -> None:
    strange.put("dora", metrics={"test/accuracy": None})
    with pytest.raises(AdapterLabError, match="dora: the run of seed 0 finished and has no test"):
        strange.report()


def test_arms_selected_by_another_metric_are_said_and_are_no_reference(strange: Strange) -> None:
    """It ended in an AssertionError."""
    metrics = {"best/val_accuracy": None, "best/val_macro_f1": 0.99}
    strange.put("dora", right=0.95, params={"select_on": "macro_f1"}, metrics=metrics)
    report = strange.report()
    assert report.findings.reference.name == "full"
    assert (
        "epochs of dora were selected by macro_f1, those of other arms by accuracy: what differs "
        "may come from that, and validation does not rank them"
    ) in report.page.notes


@pytest.mark.parametrize(
    ("compared", "why"),
    [
        ("macro_f1", "runs selected by it (select_on=macro_f1) might come out otherwise"),
        ("f1/b", "runs selected by it (select_on=f1/b) might come out otherwise"),
        ("recall/b", "no epoch can be selected by that"),
        ("brier", "no epoch can be selected by that"),
    ],
)
def test_what_selects_no_epoch_is_not_said_to(strange: Strange, compared: str, why: str) -> None:
    strange.study += compared.replace("/", "-")
    strange.put("full")
    strange.put("dora")
    line = f"epochs were selected by accuracy on validation, arms are compared on {compared}: {why}"
    assert line in strange.report(compare_on=compared).page.notes


def test_the_same_labels_of_other_classes_are_other_examples(strange: Strange) -> None:
    """Recall of b was compared with that of another class which the run called b."""
    strange.put("dora", classes="bac")
    report = strange.report(compare_on="recall/b")
    said = " ".join(report.page.notes)
    assert "dora was tested on other examples, or other classes (60 examples)" in said


def test_a_margin_that_is_changed_after_the_runs_is_said(strange: Strange) -> None:
    strange.put("dora", params={"margin": "1.0"})
    strange.put("vera", params={"margin": "5.0"})
    report = strange.report()
    assert report.findings.margin == pytest.approx(0.01)
    assert "runs state margins of 1 and 5 points: that of the first run counts" in report.page.notes
    asked = strange.report(margin=20.0)
    assert asked.findings.margin == pytest.approx(0.2)
    assert (
        "the runs state a margin of 1.00 points, this report was asked with 20.00 points: a margin "
        "that is chosen after results were seen shows no equivalence"
    ) in asked.page.notes


@pytest.mark.parametrize(
    ("metric", "margin", "most"), [("accuracy", 100, "100 points"), ("mcc", 2, "2")]
)
def test_a_margin_wider_than_any_difference_is_refused(
    strange: Strange, metric: str, margin: float, most: str
) -> None:
    """All arms were equivalent, whatever they had answered."""
    with pytest.raises(ConfigError, match=f"margin={margin} should be below {most}: no two arms"):
        strange.report(compare_on=metric, margin=margin)


def test_no_difference_is_larger_than_can_be(client: Any, lab_root: Path, tmp_path: Path) -> None:
    """One test row: it was 0.00 (-232.62 to +232.62), and 351.63 points would have been found."""
    one = Strange(client, lab_root, "one-row", tmp_path)
    for arm in ("full", "lora"):
        one.put(arm, right=1.0, seeds=3, examples=1)
    report = one.report()
    (other,) = report.findings.others
    assert other.comparison is not None
    assert other.comparison.interval is not None
    assert other.comparison.interval.low == -1
    assert other.comparison.interval.high == 1
    assert other.comparison.smallest_detectable is None
    assert "would have been found" not in " ".join(report.page.verdict)


def test_what_a_study_was_asked_before_is_said(strange: Strange) -> None:
    """Twelve metrics at 5% each were twelve chances, of which nothing was said."""
    experiment = strange.client.get_experiment_by_name("strange").experiment_id
    strange.client.create_run(experiment, tags={"study": strange.study, "kind": "study"})
    assert not any("in this report or before" in note for note in strange.report().page.notes)
    for _ in range(2):
        assert (
            "arms were compared on accuracy and mcc, in this report or before: each by itself at "
            "5%, so that a false difference in any has a chance of up to 10%; say beforehand which "
            "decides"
        ) in strange.report(compare_on="mcc").page.notes
    assert any("on accuracy and mcc" in note for note in strange.report().page.notes)
    assert on_questions(("accuracy",), 3, 0.05)[0].startswith("arms were compared on 3 data sets")


def test_two_reports_of_one_study_wait_for_each_other(strange: Strange) -> None:
    """Each took the other's pictures away, and what both wrote was of either."""
    asked = {"study": strange.study, "experiment": "strange", "tracking_uri": None}
    request = parse_request(asked | {"root": str(strange.root)})
    written: list[Report] = []
    other = Thread(target=lambda: written.append(make_report(request)))
    with FileLock(strange.root / "mlruns" / "reports" / f".{strange.study}.lock"):
        other.start()
        other.join(1.0)
        assert not written
    other.join()
    assert written[0].html is not None
    assert written[0].html.is_file()


def test_a_loss_that_a_few_errors_make_is_said(strange: Strange) -> None:
    said = " ".join(strange.report(compare_on="nll").page.notes)
    assert re.search(r"nll hangs on few test examples, as if \d+ carried all of its spread", said)
    assert "hangs on few test examples" not in " ".join(strange.report().page.notes)
