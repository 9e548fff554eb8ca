"""What a report says in words follows from the comparisons, and from nothing else."""

import re
from dataclasses import replace

import pytest
from synthetic import Made, study

from adapterlab.evidence.verdicts import Verdict
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.reading.study import Arm, Replicate, Run, Status
from adapterlab.reporting.sentences.verdict import verdict
from adapterlab.reporting.tables.arms import arms_table, runs_of, verdict_of

MAJORITY, BASELINE = "data/majority_accuracy", "data/baseline_accuracy"
COST = {"params/total": 101_770.0}


def arm(name: str, accuracy: float, trainable: float, **more: object) -> Made:
    metrics = {"params/trainable": trainable, **COST}
    more = {"seeds": 5, "spread": 0.004, "metrics": metrics} | more
    return Made(name, accuracy, **more)  # type: ignore[arg-type]


def attempt(name: str, seed: int, status: Status, reason: str = "") -> Run:
    tags = {"strategy": name, "dataset": "made up"}
    run_id, replicate = f"{name}-{seed}", Replicate(seed, seed)
    return Run(run_id, name, tags, {}, {}, status=status, reason=reason, replicate=replicate)


def lost(findings: Findings, name: str, *attempts: Run) -> Findings:
    """Give an arm runs that did not finish."""
    arms = tuple(
        replace(one, arm=replace(one.arm, lost=attempts)) if one.name == name else one
        for one in findings.arms
    )
    reference = next(one for one in arms if one.name == findings.reference.name)
    return replace(findings, arms=arms, reference=reference)


@pytest.mark.parametrize(("last", "told"), [(0.80, True), (0.60, False)])
def test_how_far_apart_arms_are_that_are_not_told_apart(last: float, *, told: bool) -> None:
    arms = [arm(f"lora rank={n}", 0.8, 100 * n) for n in (1, 2)]
    findings = study(*arms, arm("full", last, 1000), examples=2000)
    said = verdict(findings)[-1]
    assert findings.family is not None
    assert findings.family.widest is not None
    widest = f"{100 * findings.family.widest:.2f}"
    sentence = (
        f"No two of the 3 arms are told apart, and none are further apart than {widest} points "
        "(95% confidence)."
    )
    assert (said == sentence) is told
    few = study(*arms, arm("full", last, 1000), examples=300)
    assert not any("further apart" in one for one in verdict(few)), "the margin takes 600"
    assert not any("further apart" in one for one in verdict(study(*arms, examples=2000)))


def test_the_best_the_worse_and_the_undecided() -> None:
    answer, leads, differs = verdict(
        study(
            arm("full", 0.90, 101_770, validation=0.95),
            arm("lora rank=8", 0.898, 8_586),
            arm("head", 0.70, 1_290),
            examples=1000,
        )
    )
    assert re.fullmatch(
        r"The best of 3 arms is full or lora rank=8 \(95% confidence\)\. No arm is recommended: "
        r"none was shown to be within 0\.50 points of every other\. Seeds make \d\d% of the "
        r"uncertainty and test examples the rest: it takes more of both\.",
        answer,
    )
    assert re.fullmatch(
        r"full, the best on validation \(accuracy\), has a test accuracy of 90\.\d\d% \(95% "
        r"interval, for the pick of 3 arms: 8\d\.\d\d% to 9\d\.\d\d%; 5 seeds\)\.",
        leads,
    )
    assert re.fullmatch(
        r"full is better than head \(by \d\d\.\d\d points\); between full and lora rank=8 nothing "
        r"is decided \(a true difference of \d\.\d\d points would have been found 4 times in 5\)\.",
        differs,
    )


def test_arms_that_tie_on_validation_are_said_to() -> None:
    made = (arm("lora", 0.9, 8_586, validation=0.9), arm("full", 0.8, 101_770, validation=0.9))
    leads = verdict(study(*made, arm("head", 0.7, 1_290, validation=0.6)))[1]
    said = "full, as good as lora on validation (accuracy) and the first of them by name, has a"
    assert leads.startswith(said)
    unknown = study(*made)
    unknown = replace(unknown, arms=tuple(replace(one, selection=None) for one in unknown.arms))
    unknown = replace(unknown, reference=unknown.arms[1])
    said = "full, the first by name, for none is known to be selected by accuracy, has a"
    assert verdict(unknown)[1].startswith(said)


def test_one_arm_is_better_than_all() -> None:
    answer, _, differs = verdict(
        study(arm("lora", 0.9, 8_586), arm("full", 0.6, 101_770), arm("head", 0.5, 1_290))
    )
    assert answer == (
        "Take lora (8,586 parameters, 8.44% of the model's): it is better than every other arm "
        "(95% confidence)."
    )
    assert "lora is better than full and head" in differs


def test_a_cheaper_arm_is_taken_where_it_was_shown_to_be_as_good() -> None:
    made = (arm("full", 0.9, 101_770, validation=0.95), arm("lora", 0.9, 8_586))
    answer, *_ = verdict(study(*made, margin=0.2))
    assert answer == (
        "Either of the 2 arms may be the best (95% confidence). Take lora (8,586 parameters, 8.44% "
        "of the model's): it was shown to be within 20.00 points of every other arm, or better, "
        "and none trains fewer."
    )
    answer, *_ = verdict(study(*made, margin=0.001))
    assert "No arm is recommended: none was shown to be within 0.10 points" in answer


def test_an_arm_better_than_what_validation_prefers() -> None:
    findings = study(arm("full", 0.6, 101_770, validation=0.95), arm("lora", 0.9, 8_586))
    assert findings.others[0].comparison is not None
    assert findings.others[0].comparison.verdict is Verdict.BETTER
    answer, leads, differs = verdict(findings)
    assert answer.startswith("Take lora (8,586")
    assert leads.startswith("full, the best on validation")
    assert "lora is better than full (by" in differs


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_say_what_is_known_of_the_models(seeds: int) -> None:
    arms = [Made("full", 0.9, seeds=seeds), Made("head", 0.5, seeds=seeds)]
    answer, leads, differs = verdict(study(*arms))
    assert answer == (
        "Which arm is best is not known. To learn it, give each arm 3 seeds or more: "
        "seed=0,1,2,3,4."
    )
    assert ("1 seed, whose luck it does not show" in leads) == (seeds == 1)
    assert differs.startswith("Each trained model of head is worse than each of full (by")
    assert differs.endswith("; other seeds may tell otherwise.")


def test_too_few_seeds_and_a_small_difference_claim_nothing() -> None:
    arms = [Made("full", 0.80, seeds=2), Made("head", 0.79, seeds=2)]
    *_, differs = verdict(study(*arms))
    assert differs == ("Whether head differs from full was not tested: that takes 3 seeds of each.")


def test_one_arm_has_nothing_to_be_compared_with() -> None:
    leads, differs = verdict(study(Made("full", 0.9)))
    assert leads.startswith("full, the only arm, has a test accuracy of 90.00% (95% interval ")
    assert differs.startswith("Other arms would tell what that is worth")


def test_a_named_reference_is_called_so() -> None:
    arms = [Made("full", 0.8), Made("head", 0.5), Made("lora", 0.9)]
    _, leads, *_ = verdict(study(*arms, reference="full"))
    assert leads.startswith("full, the reference that was named, has a test accuracy of 80.00%")


def test_one_arm_with_one_seed_leaves_the_others_their_verdicts() -> None:
    arms = [Made("full", 0.9, seeds=5), Made("head", 0.5, seeds=5), Made("dora", 0.9, seeds=1)]
    answer, _, differs = verdict(study(*arms, reference="full"))
    assert answer == (
        "Take full: it is better than every other arm that could be tested (95% confidence)."
    )
    assert "full is better than head" in differs
    assert "Whether dora differs from full was not tested" in differs


def test_arms_without_predictions_are_not_compared() -> None:
    arms = [Made("full", 0.9, seeds=5), Made("head", 0.5, seeds=5), Made("old", 0.9, tested=False)]
    findings = study(*arms)
    _, _, differs = verdict(findings)
    assert "Not comparable with full: old (the run of seed 0 kept no predictions)." in differs
    assert any("old is compared with no arm" in gap for gap in findings.gaps)


def test_runs_that_did_not_finish_are_said() -> None:
    findings = lost(
        study(arm("full", 0.9, 101_770), arm("head", 0.5, 1_290)),
        "full",
        attempt("full", 5, Status.DIVERGED, "the loss is no longer a number"),
        attempt("full", 6, Status.KILLED),
    )
    answer, *_, said = verdict(findings)
    assert said == (
        "2 runs of 12 did not finish and are in no mean: full (5 finished, 1 diverged, 1 killed)."
    )
    assert answer.startswith(
        "The best of 2 arms is full (95% confidence). full (diverged in 1 of 7) would be good "
    )
    full = next(one for one in findings.arms if one.name == "full")
    assert verdict_of(full) == "reference; diverged in 1 of 7"
    assert runs_of(full.arm) == "5 of 7: 1 diverged, 1 killed"


def test_an_arm_of_which_no_run_finished_stands_in_the_table() -> None:
    gone = Arm("sgd", (), tuple(attempt("sgd", seed, Status.DIVERGED) for seed in range(3)))
    findings = replace(study(Made("full", 0.9), Made("head", 0.5)), lost=(gone,))
    table = arms_table(findings)
    (row,) = [row for row in table.rows if row[0] == "sgd"]
    assert dict(zip(table.header, row, strict=True))["verdict"] == "all 3 diverged"
    assert dict(zip(table.header, row, strict=True))["runs"] == "0 of 3: 3 diverged"
    assert "sgd (all 3 diverged)" in verdict(findings)[-1]


def test_an_arm_that_answers_one_class_is_said_and_never_taken() -> None:
    def made(name: str, accuracy: float, answered: float) -> Made:
        own = {"params/trainable": 10.0, "test/classes_answered": answered, MAJORITY: 0.65, **COST}
        own |= {"test/recall/neg": 1.0, "test/recall/pos": 0.0}
        return arm(name, accuracy, 10, metrics=own)

    findings = study(made("full", 0.65, 1.0), made("head", 0.5, 2.0))
    assert verdict_of(findings.arm("full")) == "reference; answers one class only in 5 of 5"
    assert verdict_of(findings.arm("head")) == "worse"
    answer, *_, said = verdict(findings)
    assert said == ("Runs that answer one class only, whatever they are shown: full (5 of 5).")
    assert "Take full" not in answer
    assert "full (answers one class only in 5 of 5) would be good enough" in answer


def test_a_test_of_one_class_has_one_answer_that_is_right() -> None:
    own = {"test/classes_answered": 1.0, MAJORITY: 1.0, "test/recall/neg": 1.0}
    assert study(arm("full", 1.0, 10, metrics=own)).arm("full").collapsed == 0


def test_floors_stand_in_the_table_and_under_arms_that_are_no_better() -> None:
    own = {"params/trainable": 10.0, MAJORITY: 0.4, BASELINE: 0.7153, **COST}
    low = study(
        *(arm(name, mean, 10, metrics=own) for name, mean in (("full", 0.7), ("head", 0.6)))
    )
    rows = {
        row[0]: dict(zip(arms_table(low).header, row, strict=True)) for row in arms_table(low).rows
    }
    assert rows["floor: the most frequent class"]["test accuracy"] == "40.00%"
    assert rows["floor: a linear model"]["test accuracy"] == "71.53%"
    assert verdict(low)[-1] == (
        "No arm's mean accuracy is above that of a linear model on the same rows, 71.53%."
    )
    high = study(arm("full", 0.8, 10, metrics=own), arm("head", 0.6, 10, metrics=own))
    assert not any("linear model" in sentence for sentence in verdict(high))
    # On test splits, or of limits, of their own: each arm has the floor of its own rows.
    above, below = own | {BASELINE: 0.5}, own | {BASELINE: 0.9}
    apart = study(arm("full", 0.8, 10, metrics=below), arm("head", 0.6, 10, metrics=above))
    assert not any("linear model" in sentence for sentence in verdict(apart))


def test_many_names_are_cut() -> None:
    arms = [arm("full", 0.9, 100), *(arm(f"lora rank={rank}", 0.5, 10) for rank in range(1, 9))]
    assert "full is better than all 8 others (by" in verdict(study(*arms, reference="full"))[2]
    close = [*arms, arm("dora", 0.9, 10)]
    assert "and 4 more (by" in verdict(study(*close, reference="full"))[2]
    level = [arm(f"lora rank={rank}", 0.8, 10) for rank in range(1, 12)]
    answer, *_ = verdict(study(*level, arm("head", 0.2, 5)))
    assert answer.startswith("The best of 12 arms is one of 11 (95% confidence): lora rank=")
    assert " and 7 more. No arm is recommended" in answer


@pytest.mark.parametrize("arms", [2, 5, 12])
def test_no_sentence_is_empty_or_claims_nothing_ever(arms: int) -> None:
    """Equal seeds, on few examples: no ±0.00, no difference under 0.00."""
    made = [arm(f"lora rank={n}", 0.95, 1000 + n, spread=0.0) for n in range(arms)]
    said = " ".join(verdict(study(*made, examples=20)))
    assert "0.00 points" not in said
    assert "100.00% to 100.00%" not in said
