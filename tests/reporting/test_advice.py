"""What a report recommends, how wide its headline is, and what it says beside the tables."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from synthetic import Made, study

from adapterlab.app import console
from adapterlab.evidence.verdicts import Verdict, compare_all
from adapterlab.reporting.comparing.compare import replicates
from adapterlab.reporting.comparing.data_sets import _shortened
from adapterlab.reporting.comparing.over_seeds import figure_of
from adapterlab.reporting.content import _merged, page_of, study_metrics
from adapterlab.reporting.figures.ranks import rank_alpha_figure
from adapterlab.reporting.findings import Findings, estimate, headline
from adapterlab.reporting.formatting import listed, percents, points, signed, titled, with_interval
from adapterlab.reporting.overall import Overall, luck_in, only_luck
from adapterlab.reporting.reading.logged import read_answers
from adapterlab.reporting.reading.stored import DIVERGED
from adapterlab.reporting.reading.study import Arm, Replicate, Run, Status
from adapterlab.reporting.report import Report
from adapterlab.reporting.sentences.advice import advice, winner
from adapterlab.reporting.sentences.notes import notes
from adapterlab.reporting.sentences.verdict import verdict
from adapterlab.training.outcome import TrainingDivergedError
from adapterlab.training.predictions import Predictions


def planned(findings: Findings, name: str) -> Findings:
    """Compare with one arm only, as if that had been planned."""
    values = [replicates(one, one.answers.correct) for one in findings.arms if one.answers]
    family = compare_all(values, control=name, margin=findings.margin)
    arms = tuple(
        replace(
            one,
            letters="",
            may_be_best=None,
            comparison=None if one.name == name else family.compare(one.name, name),
        )
        for one in findings.arms
    )
    reference = next(one for one in arms if one.name == name)
    return replace(findings, arms=arms, reference=reference, family=family, chosen=True)


def close(**more: object) -> Findings:
    arms = [Made("full", 0.80, **more), Made("lora", 0.80, **more)]  # type: ignore[arg-type]
    return study(*arms, margin=0.0001)


def test_seeds_are_the_remedy_where_they_spread() -> None:
    assert "Seeds make 9" in advice(close(spread=0.1))
    assert "it takes more of them (seed=0,1,...)." in advice(close(spread=0.1))


def test_test_examples_are_the_remedy_where_seeds_agree() -> None:
    said = advice(close(spread=0.001, alike=True))
    assert "of the uncertainty, more than seeds: it takes a larger test split." in said
    limited = advice(close(spread=0.001, alike=True, params={"limit.test": "300"}))
    assert limited.endswith("of the uncertainty, more than seeds: raise limit.test.")
    beyond = advice(
        close(spread=0.001, alike=True, params={"limit": "400"})
    )  # of the 300 that there are
    assert beyond.endswith("of the uncertainty, more than seeds: it takes a larger test split.")
    # Scores agree, and answers do not: more seeds take that off as more examples do.
    assert "it takes more of both." in advice(close(spread=0.001))


def test_the_remedy_is_that_of_tested_pairs_whatever_the_reference() -> None:
    arms = [Made("full", 0.8, seeds=1), Made("lora", 0.8), Made("head", 0.8)]
    said = advice(study(*arms, reference="full", margin=0.0001))
    assert "of the uncertainty" in said


def test_a_plan_that_could_not_be_tested_says_so_in_full() -> None:
    findings = planned(study(Made("full", 0.9), Made("head", 0.5, seeds=1)), "head")
    assert verdict(findings)[0] == (
        "Whether others are better than the reference is not known. To learn it, give each arm 3 "
        "seeds or more: seed=0,1,2,3,4."
    )


def test_a_plan_recommends_what_it_compared() -> None:
    made = study(Made("full", 0.9), Made("head", 0.5), Made("lora", 0.6))
    findings = planned(made, "full")
    assert winner(findings) is not None
    assert verdict(findings)[0].startswith("Take full: it is better than every other arm")
    worse = planned(made, "head")
    said = verdict(worse)[0]
    assert said.startswith("No arm is recommended: the plan compares others with head only")
    assert headline(worse) == (worse.reference.score.interval, 1)


def test_an_arm_that_is_not_better_by_more_than_the_margin_is_not_called_undecided() -> None:
    findings = study(
        Made("full", 0.80, validation=0.95), Made("head", 0.79), margin=0.03, examples=3000
    )
    (head,) = findings.others
    assert head.comparison is not None
    assert head.comparison.verdict is Verdict.UNDECIDED
    said = verdict(findings)[2]
    assert said == "head is not better than full by 3.00 points or more."


def test_the_headline_allows_for_the_choice_among_arms() -> None:
    two, ten = (
        study(*(Made(f"lora rank={n}", 0.8) for n in range(arms)), reference="lora rank=0")
        for arms in (2, 10)
    )
    own = two.reference.score.interval
    narrow, wide = headline(two), headline(ten)
    assert (narrow[1], wide[1]) == (2, 10)
    assert own is not None
    assert narrow[0] is not None
    assert wide[0] is not None
    assert own.half_width < narrow[0].half_width < wide[0].half_width


def test_an_accuracy_over_seeds_ends_at_100_percent_and_equal_seeds_have_no_interval() -> None:
    assert "100.00)" in with_interval(figure_of("source/accuracy_after", [0.97, 0.999, 0.90]))
    assert with_interval(estimate([0.9, 0.9, 0.9, 0.9])) == "90.00%"
    thirds = estimate([0.7431] * 3)
    assert thirds is not None
    assert thirds.interval is None
    for name in ("best/val_macro_f1", "test/f1/cat", "test/mean_average_precision"):
        assert "100.00)" in with_interval(figure_of(name, [0.97, 0.999, 0.90]))
    below = figure_of("test/mcc", [-0.99, -0.97, -0.90])
    assert below is not None
    assert below.interval is not None
    assert below.interval.low == -1
    free = figure_of("cost/train_seconds", [1.0, 3.0])
    assert free is not None
    assert free.interval is not None
    assert free.interval.high > 1


def test_reasons_are_given_once_for_an_arm_and_a_fate() -> None:
    findings = study(Made("full", 0.9), Made("head", 0.5))
    lost = tuple(
        Run(
            *(f"sgd-{seed}", "sgd", {"strategy": "sgd", "dataset": "made up"}, {}, {}),
            status=Status.DIVERGED,
            reason=f"the loss is {loss}",
            replicate=Replicate(seed, seed),
        )
        for seed, loss in enumerate(("inf", "nan"))
    )
    said = notes(replace(findings, lost=(Arm("sgd", (), lost),)))
    assert [note for note in said if "sgd" in note] == ["sgd: diverged: the loss is inf"]
    alone = replace(study(Made("full", 0.9)), lost=(Arm("sgd", (), lost),))
    said = verdict(alone)
    assert any("sgd (all 2 diverged)" in sentence for sentence in said)
    assert not any("Other arms would tell" in sentence for sentence in said), "there are others"


def test_what_all_runs_share_is_said_to_be_in_no_interval() -> None:
    findings = study(Made("full", 0.9), Made("head", 0.5))
    assert not any("in no interval" in note for note in notes(findings))
    arms = tuple(
        replace(
            one,
            arm=replace(
                one.arm,
                runs=tuple(
                    replace(run, replicate=Replicate(seed, 0))
                    for seed, run in enumerate(one.arm.runs)
                ),
            ),
        )
        for one in findings.arms
    )
    said = [note for note in notes(replace(findings, arms=arms)) if "in no interval" in note]
    assert len(said) == 1
    assert said[0].startswith("all runs of an arm share the order of batches")


def test_a_score_that_hangs_on_few_answers_is_said() -> None:
    sure, few = Made("full", 0.9), Made("head", 0.96)
    findings = replace(study(sure, few, examples=300), compared_on="mcc")
    (said,) = [note for note in notes(findings) if "hangs on" in note]
    assert said.startswith("mcc hangs on 12 right or wrong answers a run at the least (head)")
    for metric, examples in (("accuracy", 300), ("nll", 300), ("mcc", 3000)):
        enough = replace(study(sure, few, examples=examples), compared_on=metric)
        assert not any("hangs on" in note for note in notes(enough))


def test_a_test_split_that_keeps_no_level_is_said() -> None:
    for examples, count in ((29, 1), (30, 0)):
        findings = study(Made("full", 0.9), Made("head", 0.8), examples=examples)
        said = [note for note in notes(findings) if "a few answers decide" in note]
        assert len(said) == count, examples
        assert all(note.startswith(f"with {examples} test examples") for note in said)


def test_notes_on_one_data_set_of_several_say_which() -> None:
    assert _merged(["a", "b"], [["x", "y"], ["x"]]) == ["x", "a: y"]


def test_names_of_one_data_set_are_short_where_they_stay_different() -> None:
    arms = [Arm("full dataset=a", (), method="full"), Arm("head dataset=a", (), method="head")]
    assert [arm.name for arm in _shortened(arms)] == ["full", "head"]
    same = [Arm("full model=a", (), method="full"), Arm("full model=b", (), method="full")]
    assert _shortened(same) == same


def test_files_that_are_gone_are_told_from_none_kept(tmp_path: Path) -> None:
    run = Run("1", "full", {}, {}, {}, artifacts=tmp_path.as_uri(), replicate=Replicate(0, 0))
    assert read_answers([run]) == (None, "the run of seed 0 kept no predictions")
    gone = replace(run, artifacts=(tmp_path / "gone").as_uri())
    _, why = read_answers([gone])
    assert why == f"the run of seed 0 has no files in {tmp_path / 'gone'}"


def test_an_interval_without_test_examples_says_so() -> None:
    findings = study(Made("full", 0.9, tested=False))
    assert verdict(findings)[0].endswith("; 3 seeds, not over test examples).")


def test_a_study_of_luck_compares_nothing() -> None:
    arms = [
        Made(f"lora base.seed={n}", 0.9, seeds=1, params={"base.seed": str(n)}) for n in range(4)
    ]
    tags = {"model": "mlp"}
    task = study(*(replace(one, tags=tags) for one in arms))
    assert only_luck(task)
    luck, whose = luck_in(task) or (None, None)
    assert whose == ""
    assert luck is not None
    page = page_of([task], Overall(luck={task.task: luck}, lucky={task.task: whose}))
    said = " ".join(page.verdict)
    assert "The test accuracies of all 4 runs have a mean of 90.00%" in said
    assert "no arms are compared" in said
    assert [table.title for table in page.tables] == ["Where the luck comes from"]
    assert "best_accuracy" not in study_metrics([task])
    other = study(*arms, Made("full", 0.9, seeds=1, params={"adapter.name": "full"}))
    assert not only_luck(other)
    # Runs of two precisions were said to differ in nothing, and were not compared.
    exact = [Made(f"lora {n}-true", 0.9, params={"hardware.precision": f"{n}-true"}) for n in "36"]
    assert not only_luck(study(*exact))
    told = [replace(one, params={}, tags={"precision": one.name}) for one in exact]
    assert not only_luck(study(*told)), "auto, on two machines"


def test_reasons_beyond_those_that_are_written_are_counted() -> None:
    made = study(*(Made(f"lora rank={n}") for n in range(9)))
    failed = replace(made.reference.arm.runs[0], status=Status.FAILED, reason="no memory")
    arms = [replace(arm, arm=replace(arm.arm, lost=(failed,))) for arm in made.arms]
    said = notes(replace(made, arms=tuple(arms)))
    assert said.count("1 further reason is in runs.csv") == 1
    assert sum("no memory" in note for note in said) == 8


def test_how_many_may_be_best_is_no_figure_where_nothing_was_tested() -> None:
    few = study(Made("full", 0.9, seeds=2), Made("head", 0.5, seeds=2))
    assert "may_be_best" not in study_metrics([few])
    both = study(Made("full", 0.9), Made("head", 0.5))
    assert study_metrics([both])["may_be_best"] == 1
    # What is still going has not failed.
    more = [replace(both.reference.arm.runs[0], status=Status(s)) for s in ("running", "killed")]
    going = [replace(arm, arm=replace(arm.arm, lost=tuple(more))) for arm in both.arms[1:]]
    metrics = study_metrics([replace(both, arms=(both.arms[0], *going))])
    assert (metrics["runs"], metrics["failed"], metrics["running"]) == (8, 1, 1)


def test_of_arms_equal_on_validation_map_and_table_pick_the_same() -> None:
    made = [
        Made(
            f"lora alpha={alpha} rank={rank}",
            0.7 + rank / 1000,
            validation=0.8,
            params={"adapter.rank": str(rank), "adapter.alpha": str(alpha)},
        )
        for alpha in (8, 16)
        for rank in (2, 5, 11)
    ]
    findings = study(*made)
    figure = rank_alpha_figure(findings)
    assert figure is not None
    (frame,) = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    column, row = round(frame.get_x() + 0.5), round(frame.get_y() + 0.5)
    assert findings.reference.name == f"lora alpha={(8, 16)[row]} rank={(2, 5, 11)[column]}"


def test_a_look_among_several_is_called_so() -> None:
    findings = study(Made("full", 0.9), Made("head", 0.5))
    assert findings.family is not None
    looked = replace(findings, family=replace(findings.family, level=0.04))
    assert verdict(looked)[0].endswith("other arm (96% confidence in this look taken alone).")


def test_answers_that_are_no_numbers_are_a_training_that_diverged() -> None:
    logits = np.array([[0.0, np.inf], [1.0, 0.0]])
    with pytest.raises(TrainingDivergedError, match="1 of 2 examples have logits that are not"):
        Predictions(logits, np.array([0, 1]), ("a", "b")).metrics()
    assert TrainingDivergedError.__name__ == DIVERGED


def test_the_terminal_cuts_no_name_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.console, "width", 100)
    task = study(*(Made(f"full optimizer.lr=0.00000{n}", 0.9) for n in range(1, 4)))
    overall = Overall()
    report = Report(tasks=(task,), overall=overall, page=page_of([task], overall))
    console.print_report(report)
    said = "".join(re.findall(r"│ (\S*)", capsys.readouterr().out))
    for n in range(1, 4):
        assert f"optimizer.lr=0.00000{n}" in said


def test_the_only_arm_that_may_be_best_is_taken_though_pairs_do_not_tell_it_apart() -> None:
    for gap in np.arange(0.02, 0.2, 0.005):
        findings = study(Made("full", 0.8, spread=0.02), Made("head", 0.8 - gap, spread=0.02))
        (head,) = findings.others
        assert head.comparison is not None
        if head.comparison.verdict is Verdict.UNDECIDED and head.may_be_best is False:
            break
    else:
        pytest.fail("no gap between the one-sided and the two-sided answer")
    answer, _, differs = verdict(findings)
    assert answer == "Take full: no other arm may be best (95% confidence)."
    assert differs == (
        "head is not among those that may be best (a one-sided test), yet not told apart from full "
        "(a two-sided one)."
    )
    untested = [Made("full", 0.8, spread=0.02), Made("head", 0.8 - gap, spread=0.02)]
    answer, *_ = verdict(study(*untested, Made("lora", 0.9, seeds=1), reference="full"))
    assert answer == "Take full: no other arm that could be tested may be best (95% confidence)."


def test_many_shares_are_written_as_a_range() -> None:
    assert percents([0.5, 0.25, 0.5], joint="or") == "25.00% or 50.00%"
    assert percents([0.1, 0.09, 0.2, 1.0]) == "9.00% to 100.00%"


def test_words_of_metrics_and_lists() -> None:
    assert [points(one) for one in (-1e-17, 0.0, 0.0021)] == ["0.00", "0.00", "+0.21"]
    assert signed(-1e-9, "nll") == "0.0000"
    assert titled("accuracy") == "a test accuracy"
    assert titled("recall/7") == "a test recall of 7"
    assert titled("source_accuracy") == "an accuracy kept on the source"
    assert listed(["a", "b"], joint="or") == "a or b"
