"""What a report says in words follows from the tests, and from nothing else."""

import re

import pytest
from synthetic import Made, study

from adapterlab.evidence.verdicts import Verdict
from adapterlab.reporting.verdict import verdict

COST = {"params/total": 101_770.0}


def arm(name: str, accuracy: float, trainable: float, **more: object) -> Made:
    metrics = {"params/trainable": trainable, **COST}
    return Made(name, accuracy, seeds=5, spread=0.004, metrics=metrics, **more)  # type: ignore[arg-type]


def test_the_best_the_worse_and_the_tie() -> None:
    leads, differs, advice = verdict(
        study(
            arm("full", 0.90, 101_770, validation=0.95),
            arm("lora rank=8", 0.898, 8_586),
            arm("head", 0.70, 1_290),
            examples=1000,
        )
    )
    assert re.fullmatch(
        r"On the test split, full reaches 90\.\d\d% \(95% interval 8\d\.\d\d% to 9\d\.\d\d% over "
        r"5 seeds\); validation prefers it among 3 arms\.",
        leads,
    )
    assert re.fullmatch(
        r"By tests at 5%, corrected for all comparisons, full is better than head \(by \d\d\.\d\d "
        r"points\); lora rank=8 is tied with it, where differences under \d\.\d\d points could "
        r"have gone unseen\.",
        differs,
    )
    assert re.fullmatch(
        r"Of the arms not told apart, lora rank=8 trains the fewest parameters: 8,586 parameters, "
        r"8\.44% of the model's\. It may be worse than full by up to \d\.\d\d points \(95% "
        r"interval\); if that is too much, add seeds\.",
        advice,
    )


def test_one_arm_is_better_than_all() -> None:
    _, differs, advice = verdict(
        study(arm("lora", 0.9, 8_586), arm("full", 0.6, 101_770), arm("head", 0.5, 1_290))
    )
    assert "lora is better than full and head" in differs
    assert (
        advice
        == "Take lora, which trains 8,586 parameters, 8.44% of the model's: all others are worse."
    )


def test_a_tie_that_costs_more_changes_nothing() -> None:
    _, _, advice = verdict(
        study(arm("lora", 0.8, 8_586, validation=0.9), arm("full", 0.8, 101_770))
    )
    assert advice.startswith("Take lora, which trains 8,586 parameters")
    assert advice.endswith("no arm tied with it trains fewer.")


def test_an_arm_better_than_what_validation_prefers() -> None:
    findings = study(arm("full", 0.6, 101_770, validation=0.95), arm("lora", 0.9, 8_586))
    assert findings.others[0].comparison is not None
    assert findings.others[0].comparison.verdict is Verdict.BETTER
    _, differs, advice = verdict(findings)
    assert "lora is better than full (by" in differs
    assert advice.startswith("Validation and test disagree on who leads: lora, which trains 8,586")


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_claim_nothing(seeds: int) -> None:
    arms = [Made("full", 0.9, seeds=seeds), Made("head", 0.5, seeds=seeds)]
    leads, differs, advice = verdict(study(*arms))
    assert ("one seed, so its spread is not known" in leads) == (seeds == 1)
    assert "was not tested, which takes 3 seeds an arm" in differs
    assert "better" not in differs
    assert advice == "To learn which arm is better, add seeds: seed=0,1,2,3,4."


def test_one_arm_has_nothing_to_be_compared_with() -> None:
    leads, differs, _ = verdict(study(Made("full", 0.9)))
    assert leads.endswith("it is the only arm, so there is nothing to compare it with.")
    assert differs.startswith("What that is worth, other arms would tell")


def test_a_named_reference_is_called_so() -> None:
    arms = [Made("full", 0.8), Made("head", 0.5), Made("lora", 0.9)]
    leads, _, _ = verdict(study(*arms, reference="full"))
    assert leads.endswith("it was named as what 2 other arms are compared with.")


def test_some_had_too_few_seeds() -> None:
    arms = [Made("full", 0.9, seeds=5), Made("head", 0.5, seeds=5), Made("dora", 0.9, seeds=1)]
    _, differs, _ = verdict(study(*arms, reference="full"))
    assert "full is better than head" in differs
    assert "dora had fewer than 3 seeds and was not tested" in differs


def test_many_names_are_cut() -> None:
    arms = [Made("full", 0.9), *(Made(f"lora rank={rank}", 0.5) for rank in range(1, 9))]
    _, differs, _ = verdict(study(*arms, reference="full"))
    assert "lora rank=8 and 4 more (by" in differs or "and 4 more (by" in differs
